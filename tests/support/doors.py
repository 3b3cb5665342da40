"""Applications of every policy, each with callers whose credentials are good, bad, expired, or out of use."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import make_url, select, update
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from service.app import create_app
from service.domain import accounts, flows, key_text, keys
from service.domain.audit import BOOT
from service.settings import Settings
from service.storage import ApiKey, User
from service.storage.engine import begin_write
from tests.support.flows import echo

SECRET = "a-secret-for-tests-0123456789-abcdef"
LOOPBACK, STRANGER = "127.0.0.1", "203.0.113.9"

#: Where each kind of endpoint can be asked, and the status of a request that is let in there.
ENDPOINTS = {
    "api": ("GET", "/api/v1/users/whoami", 200),
    "run": ("POST", "/api/v1/run/no-such-flow", 404),
    "superuser": ("GET", "/api/v1/users/", 200),
    "optional": ("GET", "/api/v1/config", 200),
    "public": ("GET", "/health", 200),
    "mcp": ("POST", "/api/v1/mcp/streamable", 200),
    "mcp project": ("POST", "/api/v1/mcp/project/{project}/streamable", 200),
    "mcp alias": ("POST", "/api/v1/mcp-projects/{project}/", 200),
    "mcp head": ("HEAD", "/api/v1/mcp/sse", 200),
    "mcp settings": ("GET", "/api/v1/mcp/project/{project}", 200),
    "webhook": ("POST", "/api/v1/webhook/no-such-flow", 404),
}
#: Flows, by the name of the tool that they are or would be.
TOOLS = {
    "public": {"mcp_enabled": True, "access_type": "PUBLIC"}, "hidden": {"mcp_enabled": True},
    "no_tool": {"access_type": "PUBLIC"}, "private": {},
}  # fmt: skip
CARRIERS = ("header", "query", "bearer")


#: What is sent to the endpoints of MCP.
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


class House:
    """One application of one policy, and the credentials to try on it.

    Args:
        directory: empty, for the database.
        fields: changes to the settings.
    """

    def __init__(self, directory: Path, **fields: object) -> None:
        base: dict[str, object] = {
            "config_dir": directory,
            "database_url": make_url(f"sqlite:///{directory / 'keyturn.db'}"),
            "superuser": "administrator",
            "superuser_password": "securepassword",
            "secret_key": SECRET,
            "rate_limit_enabled": False,
            "log_level": "critical",
        }
        self.app: Flask = create_app(Settings(**(base | fields)))  # type: ignore[arg-type]
        self.services = self.app.extensions["keyturn"]
        with Session(self.services.engine) as session:
            self._make_credentials(begin_write(session))
            session.commit()

    def _make_credentials(self, session: Session) -> None:
        now = datetime.now(UTC)
        owner = session.scalars(select(User)).one()
        gone = User(username="gone", username_key="gone", password_hash="none", is_active=False)
        session.add(gone)
        session.flush()
        _, good = keys.create(session, BOOT, owner.id, keys.NewKey("good", None), now)
        row, expired = keys.create(session, BOOT, owner.id, keys.NewKey("expired", now + timedelta(days=1)), now)
        session.execute(update(ApiKey).where(ApiKey.id == row.id).values(expires_at=now - timedelta(seconds=1)))
        _, deactivated = keys.create(session, BOOT, gone.id, keys.NewKey("of somebody who left", None), now)
        self._make_tools(session, owner.id, gone.id, now)
        tokens = accounts.issue(session, owner.id, self.services.lifetimes, now)
        self.keys = {"good": good, "bad": key_text.generate(), "expired": expired, "deactivated": deactivated}
        self.token, self.owner_id = tokens.access, owner.id

    def _make_tools(self, session: Session, owner_id: uuid.UUID, gone_id: uuid.UUID, now: datetime) -> None:
        """Flows of two users, each a tool or not, public or not."""
        for user_id, mark in ((owner_id, ""), (gone_id, "gone_")):
            for at, (name, fields) in enumerate(TOOLS.items()):
                body = {"name": mark + name, "data": echo(), **fields}
                made = flows.create(session, BOOT, user_id, body, now + timedelta(seconds=at))
                if user_id == owner_id:
                    self.project = str(made.folder_id)

    def tools(self, endpoint: str = "mcp", key: str | None = None, **kwargs: Any) -> list[str]:
        """The tools that whoever asks may use."""
        answer = self.ask(endpoint, key, **kwargs)
        return [tool["name"] for tool in answer.json["result"]["tools"]]

    def ask(
        self,
        endpoint: str,
        key: str | None = None,
        carrier: str = "header",
        *,
        headers: dict[str, str] | None = None,
        address: str = LOOPBACK,
        host: str = "localhost",
        method: str | None = None,
    ) -> TestResponse:
        """Send one request; ``key`` goes where ``carrier`` says."""
        usual, path, _ = ENDPOINTS[endpoint]
        path = path.format(project=self.project)
        sent = dict(headers or {})
        query = {}
        if key is not None and carrier == "header":
            sent["x-api-key"] = key
        elif key is not None and carrier == "bearer":
            sent["Authorization"] = f"Bearer {key}"
        elif key is not None:
            query["x-api-key"] = key
        more = {"json": LIST_TOOLS if endpoint.startswith("mcp") else {}} if usual == "POST" else {}
        return self.app.test_client(use_cookies=False).open(
            path,
            method=method or usual,
            headers=sent,
            query_string=query,
            base_url=f"http://{host}",
            environ_base={"REMOTE_ADDR": address},
            **more,
        )

    def close(self) -> None:
        """Give everything back."""
        self.services.close()


class Houses:
    """One house for each configuration, made when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._made = directory, {}

    def of(self, **fields: object) -> House:
        name = repr(sorted(fields.items()))
        if name not in self._made:
            directory = self._directory / uuid.uuid4().hex
            directory.mkdir()
            self._made[name] = House(directory, **fields)
        return self._made[name]

    def close(self) -> None:
        for house in self._made.values():
            house.close()
