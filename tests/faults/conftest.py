"""A server with real workers, and what it depends on, to be broken by each test in its own way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from tests.conftest import NOTHING_MAY_BE_SKIPPED, PASSWORD, SECRET, SUPERUSER
from tests.support.crowd import Answer, send
from tests.support.server import ROOT, Process, free_port, running
from tests.support.services import OwnPostgreSQL, OwnRedis, own_postgresql, postgresql_programs
from tests.support.waiting import wait_until_it_answers

#: As operators start it.
GUNICORN = ("gunicorn", "-c", "python:service.gunicorn_conf", "wsgi:app")


def missing(program: str) -> None:
    reason = f"{program} is not installed"
    pytest.fail(reason) if NOTHING_MAY_BE_SKIPPED else pytest.skip(reason)


@dataclass(frozen=True)
class Server:
    """A running server, and a key of its superuser."""

    url: str
    process: Process
    key: str

    def open(self, method: str, path: str, key: str = "", **kwargs: Any) -> Answer:
        """Send a request with a key; ``/users/whoami`` stands for ``/api/v1/users/whoami``."""
        full = path if path.startswith(("/api/", "/v1/", "/health", "/ready")) else f"/api/v1{path}"
        headers = {"x-api-key": key or self.key} | kwargs.pop("headers", {})
        return send(method, f"{self.url}{full}", headers=headers, **kwargs)

    def get(self, path: str, key: str = "") -> Answer:
        return self.open("GET", path, key)

    def post(self, path: str, **kwargs: Any) -> Answer:
        return self.open("POST", path, **kwargs)


@contextmanager
def serving(url: URL, folder: Path, *options: str, **environment: str) -> Iterator[Server]:
    """A server on a database.

    Args:
        url: of the database.
        folder: for its files.
        options: more of gunicorn's.
        environment: more settings.
    """
    port = free_port()
    own = {
        "LANGFLOW_DATABASE_URL": url.render_as_string(hide_password=False),
        "LANGFLOW_CONFIG_DIR": str(folder),
        "LANGFLOW_SECRET_KEY": SECRET,
        "LANGFLOW_SUPERUSER": SUPERUSER,
        "LANGFLOW_SUPERUSER_PASSWORD": PASSWORD,
        "LANGFLOW_RATE_LIMIT_ENABLED": "false",
        "LANGFLOW_LOG_LEVEL": "warning",
        "LANGFLOW_PORT": str(port),
        "LANGFLOW_WORKERS": "2",
        "KEYTURN_DEMO_FLOWS": "true",
    }
    at = f"http://127.0.0.1:{port}"
    with running([*GUNICORN, *options], ROOT, **(own | environment)) as process:
        wait_until_it_answers(at)
        login = send("POST", f"{at}/api/v1/login", data={"username": SUPERUSER, "password": PASSWORD})
        bearer = {"Authorization": f"Bearer {login.body['access_token']}"}
        key = send("POST", f"{at}/api/v1/api_key/", json={"name": "first"}, headers=bearer).body["api_key"]
        yield Server(at, process, key)


@pytest.fixture(scope="session")
def programs() -> Path:
    found = postgresql_programs()
    if found is None:
        missing("PostgreSQL's initdb")
    return found


@pytest.fixture(scope="module")
def cluster(programs: Path) -> Iterator[OwnPostgreSQL]:
    """A PostgreSQL that belongs to this file's tests; each finds it running."""
    with own_postgresql(programs, max_connections="40") as made:
        yield made


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    program = shutil.which("redis-server")
    if program is None:
        missing("redis-server")
    made = OwnRedis(program, tmp_path)
    made.start()
    yield made
    made.stop()
