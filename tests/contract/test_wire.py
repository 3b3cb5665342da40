"""The recorded exchanges with Langflow 1.13, sent to Keyturn one after the other.

``wire.json`` has what was sent and what came back: the status, and the detail or the names of the fields. What
Keyturn answers differently on purpose is in ``DIFFERENCES``, with the reason.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Flask
from sqlalchemy import URL
from werkzeug.test import TestResponse

from tests.conftest import Clock
from tests.support import flows

Json = dict[str, Any]
EXCHANGES: list[Json] = json.loads((Path(__file__).parent / "wire.json").read_text(encoding="utf-8"))
RECORDED = {exchange["tag"]: exchange for exchange in EXCHANGES}

NOWHERE = "00000000-0000-4000-8000-000000000000"
ADMIN, ADMIN_PASSWORD, NEW_PASSWORD = "admin", "adm-pass-123", "newpw123"


class Ours(NamedTuple):
    """What Keyturn answers instead, and why."""

    status: int
    answer: Json
    reason: str


def problem(place: str, kind: str, text: str) -> Json:
    return {"detail": [{"type": kind, "loc": place.split("."), "msg": text}]}


ONCE = "Langflow lists each problem of a flow twice."
NO_POSITION = "The message is not pydantic's: it does not say which character is wrong."
AS_A_LIST = "Whatever is wrong with a body is told as a list of fields."
NO_RECORDS = "A run leaves its messages, and one row without contents."
SLASHES = "Both slash forms of a collection are served alike."
ENDPOINT = "Value error, Endpoint name must contain only letters, numbers, hyphens, and underscores"

DIFFERENCES = {
    "apikey.create.expired": Ours(
        422, problem("body.expires_at", "value_error", "Value error, expires_at is in the past"),
        "A key that is over before it is made is a mistake of whoever asks for it.",
    ),
    "apikey.list.noslash": Ours(200, RECORDED["apikey.list"]["answer"], SLASHES),
    "apikey.delete.badid": Ours(
        422, problem("path.api_key_id", "uuid_parsing", "Input should be a valid UUID"), NO_POSITION,
    ),
    "users.create.anon": Ours(
        403, {"detail": "Public user registration is disabled."}, "Sign-up is closed unless it is switched on.",
    ),
    "var.create.fernet": Ours(
        201, RECORDED["var.create.generic"]["answer"], "No value is taken for a ciphertext by how it begins.",
    ),
    "var.list.noslash": Ours(200, RECORDED["var.list"]["answer"], SLASHES),
    "flows.create.badendpoint": Ours(422, problem("body.endpoint_name", "value_error", ENDPOINT), ONCE),
    "flows.create.baddata": Ours(422, problem("body.data", "value_error", "Value error, Flow must have nodes"), ONCE),
    "flows.create.noname": Ours(422, problem("body.name", "missing", "Field required"), ONCE),
    "flows.get.badid": Ours(422, problem("path.flow_id", "uuid_parsing", "Input should be a valid UUID"), ONCE),
    "projects.create.emoji": Ours(
        201, RECORDED["projects.create"]["answer"], "A name is text; tools of MCP are named in ASCII whatever it is.",
    ),
    "projects.get.badid": Ours(
        422, problem("path.project_id", "uuid_parsing", "Input should be a valid UUID"), NO_POSITION,
    ),
    "folders.list": Ours(200, RECORDED["projects.list"]["answer"], "A redirect may lose the key."),
    "mcp.servers.none": Ours(200, {"items": []}, "MCP's policy lets anybody ask; nobody in particular has none."),
    "mcp.servers.create.othername": Ours(
        422, problem("body.name", "value_error", "Value error, the name of a server is that of the path"), AS_A_LIST,
    ),
    "mcp.servers.patch.newmask": Ours(
        422, problem("body.headers", "value_error", "Value error, the mask stands for no stored value"), AS_A_LIST,
    ),
    "monitor.builds": Ours(404, {"detail": "Not Found"}, NO_RECORDS),
    "monitor.transactions": Ours(404, {"detail": "Not Found"}, NO_RECORDS),
    "monitor.traces": Ours(404, {"detail": "Not Found"}, NO_RECORDS),
    "run.badinputtype": Ours(
        422, problem("body.input_type", "value_error", "Value error, Input should be one of 'chat', 'text', 'any'"),
        "Langflow puts the default in place of a wrong value, and says nothing.",
    ),
    "run.stream.error": Ours(
        422, RECORDED["run.tweak.code"]["answer"], "What is known before a run has its own status, in a stream too.",
    ),
}  # fmt: skip


#: What Keyturn adds to a key (docs/keys.md); ``created_at`` is Langflow's, which leaves it out of a new key only.
OF_KEYS = {"scopes", "flows", "networks", "rate_limit", "max_parallel_runs", "rotated_at", "former_valid_until",
           "is_expired", "is_stale"}  # fmt: skip


class Replay:
    """Sends the exchanges as the callers of the recording, and keeps what the later ones need."""

    def __init__(self, app: Flask, clock: Clock) -> None:
        self.app, self.clock = app, clock
        self.browser = app.test_client()
        self.names = {"nowhere": NOWHERE, "put": "8e185a48-5cf7-48ab-91c6-07de93a67105"}
        self.secrets: dict[str, str] = {}

    def send(self, exchange: Json) -> TestResponse:
        kwargs: Json = {"headers": dict(exchange.get("headers", {})), "query_string": dict(exchange.get("query", {}))}
        self._authenticate(exchange["as"], kwargs)
        if "form" in exchange:
            kwargs["data"] = exchange["form"]
        elif "file" in exchange:
            kwargs["data"] = {"file": (io.BytesIO(json.dumps(self._filled(exchange["file"])).encode()), "flow.json")}
        elif "json" in exchange:
            kwargs["json"] = self._filled(exchange["json"])
        client = self.browser if exchange["as"] == "cookie" else self.app.test_client(use_cookies=False)
        response = client.open(self._filled(exchange["path"]), method=exchange["method"], **kwargs)
        self._remember(exchange["tag"], response)
        return response

    def _authenticate(self, who: str, kwargs: Json) -> None:
        if who.endswith("token"):
            kwargs["headers"]["Authorization"] = f"Bearer {self.secrets[who]}"
        elif who == "key in query":
            kwargs["query_string"]["x-api-key"] = self.secrets["key"]
        elif who.endswith("key"):
            kwargs["headers"]["x-api-key"] = self.secrets[who]

    def _filled(self, value: Any) -> Any:
        if value == "{echo}":
            return flows.echo()
        if isinstance(value, dict):
            return {key: self._filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        for name, text in self.names.items():
            value = value.replace(f"{{{name}}}", text) if isinstance(value, str) else value
        return value

    def _remember(self, tag: str, response: TestResponse) -> None:
        body = response.get_json(silent=True)
        ids = {"users.create": "user", "flows.create": "flow", "projects.create": "project",
               "var.create.generic": "generic", "var.create.credential": "credential"}  # fmt: skip
        if tag == "session.cookie":
            self.names["admin"] = body["user"]["id"]
        elif tag in ids:
            self.names[ids[tag]] = body["id"]
            self.names |= {"default": body["folder_id"]} if tag == "flows.create" else {}
        elif tag in {"login.ok", "refresh.cookie"}:
            self.secrets |= {"token": body["access_token"], "refresh token": body["refresh_token"]}
        elif tag == "login.newuser":
            self.secrets["user token"] = body["access_token"]
        elif tag == "apikey.create":
            self.secrets["key"] = body["api_key"]
        elif tag == "apikey.create.expired":
            self._let_a_key_expire()
        elif tag == "users.reset.ok":
            self._sign_the_user_in_again()

    def _let_a_key_expire(self) -> None:
        """Langflow makes keys that are over already; here one has to wait for it."""
        soon = datetime.now(UTC) + timedelta(seconds=1)
        bearer = {"Authorization": f"Bearer {self.secrets['token']}"}
        body = {"name": "expired", "expires_at": soon.isoformat()}
        client = self.app.test_client(use_cookies=False)
        made = client.post("/api/v1/api_key/", json=body, headers=bearer).json
        self.names["expired"], self.secrets["expired key"] = made["id"], made["api_key"]
        self.clock.forward(seconds=2)

    def _sign_the_user_in_again(self) -> None:
        """A new password ends every sign-in here, and none in Langflow."""
        form = {"username": RECORDED["users.create"]["json"]["username"], "password": NEW_PASSWORD}
        login = self.app.test_client(use_cookies=False).post("/api/v1/login", data=form)
        self.secrets["user token"] = login.json["access_token"]


def without_additions(tag: str, answer: Json) -> Json:
    """Leave out what Keyturn adds to keys on purpose."""
    if not tag.startswith(("apikey.list", "apikey.create")):
        return answer
    added = OF_KEYS | ({"created_at"} if tag.startswith("apikey.create") else set())
    return {name: [one for one in value if one not in added] if name in {"keys", "items"} else value
            for name, value in answer.items()}  # fmt: skip


def summary(response: TestResponse, names: dict[str, str]) -> Json:
    """Write an answer down as the recording does: the detail, or the names of the fields."""
    if response.mimetype == "text/event-stream":
        return {"events": [json.loads(frame)["event"] for frame in response.text.split("\n\n") if frame]}
    if response.data.startswith(b"PK\x03\x04"):
        return {"zip": True}
    body = response.json if response.data else None
    if body is None:
        return {}
    if isinstance(body, list) and body and isinstance(body[0], str):
        return {"texts": True}
    if isinstance(body, list):
        return {"items": sorted(body[0]) if body else []}
    if list(body) != ["detail"]:
        return {"keys": sorted(body)}
    text = json.dumps(body)
    for name, value in names.items():
        text = text.replace(value, f"{{{name}}}")
    return json.loads(text)


@pytest.fixture
def replay(make_app: Callable[..., Flask], database_url: URL, clock: Clock) -> Replay:
    return Replay(make_app(database_url, superuser=ADMIN, superuser_password=ADMIN_PASSWORD), clock)


def test_every_recorded_exchange_is_answered_as_recorded_or_as_the_table_says(replay: Replay) -> None:
    answered, expected = {}, {}
    for exchange in EXCHANGES:
        tag = exchange["tag"]
        response = replay.send(exchange)
        answered[tag] = (response.status_code, without_additions(tag, summary(response, replay.names)))
        ours = DIFFERENCES.get(tag)
        expected[tag] = (ours.status, ours.answer) if ours else (exchange["status"], exchange["answer"])
    assert {tag: it for tag, it in answered.items() if it != expected[tag]} == {}


@pytest.mark.parametrize("tag", DIFFERENCES)
def test_a_difference_is_one_and_has_a_reason(tag: str) -> None:
    ours, recorded = DIFFERENCES[tag], RECORDED[tag]
    assert (ours.status, ours.answer) != (recorded["status"], recorded["answer"])
    assert ours.reason.endswith(".")
