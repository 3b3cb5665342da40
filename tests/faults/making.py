"""Making things over HTTP while the server suffers, and looking afterwards for all that it has acknowledged."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.conftest import Server
from tests.support.crowd import Answer, send

PASSWORD = "pw12345678"
KINDS = ("variable", "key", "user", "flow", "message")


@dataclass
class Maker:
    """Makes variables, keys, users, flows and chat messages, and remembers those that the server says are made.

    Args:
        server: is asked; as its superuser.
        prefix: of every name.
    """

    server: Server
    prefix: str
    kept: dict[str, list[Any]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    #: What was acknowledged and is not there, or does not work.
    missing: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def count(self) -> int:
        return sum(map(len, self.kept.values()))

    def has_each(self, least: int, *kinds: str) -> bool:
        return all(len(self.kept[kind]) >= least for kind in kinds or ("variable", "key", "user", "message"))

    def variable(self) -> Answer:
        name = self._name()
        body = {"name": name, "value": f"value of {name}", "type": "Generic", "default_fields": []}
        return self._keep("variable", self.server.post("/variables/", json=body), name)

    def key(self) -> Answer:
        answer = self.server.post("/api_key/", json={"name": self._name()})
        return self._keep("key", answer, answer.body["api_key"] if answer.is_kept else "")

    def user(self) -> Answer:
        name = self._name()
        answer = self.server.post("/users/", json={"username": name, "password": PASSWORD})
        return self._keep("user", answer, (name, answer.body["id"] if answer.is_kept else ""))

    def flow(self) -> Answer:
        name = self._name()
        answer = self.server.post("/flows/", json={"name": name, "data": {"nodes": [], "edges": []}})
        return self._keep("flow", answer, answer.body["id"] if answer.is_kept else "")

    def message(self) -> Answer:
        """Let a flow say something in a session of its own."""
        name = self._name()
        body = {"input_value": name, "session_id": name}
        return self._keep("message", self.server.post("/run/keyturn-echo", json=body), name)

    def look_again(self) -> None:
        """Ask for everything that was acknowledged, and use it."""
        values = {one["name"]: one["value"] for one in self.server.get("/variables/").body}
        self._expect(self.kept["variable"], lambda name: values.get(name) == f"value of {name}")
        self._expect(self.kept["key"], lambda key: self.server.get("/users/whoami", key).status == 200)
        self._expect(self.kept["flow"], lambda one: self.server.get(f"/flows/{one}").status == 200)
        self._expect(self.kept["message"], self._was_said)
        # A sign-in takes tens of milliseconds of a processor, by design: a few stand for all.
        users = {one["username"] for one in self.server.get("/users/?limit=200").body["users"]}
        self._expect(self.kept["user"], lambda user: user[0] in users)
        self._expect(self.kept["user"][-5:], self._can_work)

    def _was_said(self, name: str) -> bool:
        return any(name in one["text"] for one in self.server.get(f"/monitor/messages?session_id={name}").body)

    def _can_work(self, user: tuple[str, str]) -> bool:
        name, user_id = user
        changed = self.server.open("PATCH", f"/users/{user_id}", json={"is_active": True})
        login = send("POST", f"{self.server.url}/api/v1/login", data={"username": name, "password": PASSWORD})
        if changed.status != 200 or login.status != 200:
            return False
        bearer = {"Authorization": f"Bearer {login.body['access_token']}"}
        return send("GET", f"{self.server.url}/api/v1/projects/", headers=bearer).status == 200

    def _expect(self, kept: list[Any], is_there: Callable[[Any], bool]) -> None:
        self.missing += [str(one) for one in kept if not is_there(one)]

    def _keep(self, kind: str, answer: Answer, what: Any) -> Answer:
        if answer.is_kept:
            self.kept[kind].append(what)
        return answer

    def _name(self) -> str:
        return f"{self.prefix}-{next(self._numbers)}"
