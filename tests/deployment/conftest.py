"""Keyturn behind the shipped nginx: gunicorn on a unix socket, TLS in front, a model provider behind."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PASSWORD, SECRET, SUPERUSER
from tests.http.api.test_runs import model_flow
from tests.support import nginx
from tests.support.nginx import Nginx
from tests.support.provider import Provider, serving
from tests.support.server import ROOT, Process, run, running
from tests.support.waiting import until

GUNICORN = ["gunicorn", "-c", "python:service.gunicorn_conf", "wsgi:app"]


@dataclass
class Place:
    """Everything of one installation, and the superuser's key."""

    nginx: Nginx
    server: Process
    provider: Provider
    key: str
    socket: Path

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **kwargs: Any) -> Any:
        """Send a request with the key, through nginx."""
        return self.nginx.ask(method, path, {"x-api-key": self.key, **(headers or {})}, **kwargs)

    def stream(self, text: str = "hi") -> Any:
        """Begin a streamed run, and return the open answer."""
        path = "/api/v1/run/flow?stream=true"
        return self.ask("POST", path, json={"input_value": text}, preload_content=False)


def environment(folder: Path, provider: Provider) -> dict[str, str]:
    """What the units and the page of deployment set, for a server with few threads."""
    return {
        "LANGFLOW_CONFIG_DIR": str(folder),
        "LANGFLOW_SECRET_KEY": SECRET,
        "LANGFLOW_SUPERUSER": SUPERUSER,
        "LANGFLOW_SUPERUSER_PASSWORD": PASSWORD,
        "LANGFLOW_WORKERS": "1",
        "KEYTURN_THREADS": "4",
        "KEYTURN_SOCKET": str(folder / "http.sock"),
        "KEYTURN_TRUSTED_PROXIES": "1",
        "KEYTURN_HEARTBEAT_SECONDS": "1",
        "KEYTURN_OPENAI_BASE_URL": provider.url,
    }


def read_until(stream: Any, text: bytes) -> bytes:
    """Read an open answer until a text has come; returns all that has."""
    seen = b""
    while text not in seen:
        piece = stream.read1(65_536)
        assert piece, f"the stream ended with {seen!r}"
        seen += piece
    return seen


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with a short path: that of a socket may have 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="keyturn-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def provider_at_rest(provider: Provider) -> Iterator[None]:
    yield
    provider.go_on.set()
    provider.pieces = ()


@pytest.fixture(scope="module")
def place(folder: Path, provider: Provider) -> Iterator[Place]:
    nginx.wanted()
    values = environment(folder, provider)
    key = run(["keyturn", "api-key", "--plain"], ROOT, **values).stdout.strip()
    socket = folder / "http.sock"
    with running(GUNICORN, ROOT, **values) as server, nginx.serving(folder, socket) as front:
        until(lambda: front.ask("GET", "/health").status, lambda status: status == 200, 60)
        made = Place(front, server, provider, key, socket)
        credential = {"name": "OPENAI_API_KEY", "value": "sk-of-nobody", "type": "Credential", "default_fields": []}
        flow = {"name": "flow", "endpoint_name": "flow", "data": model_flow()}
        for path, body in (("/api/v1/variables/", credential), ("/api/v1/flows/", flow)):
            answer = made.ask("POST", path, json=body)
            assert answer.status == 201, answer.data
        yield made


def json_of(answer: Any) -> Any:
    return json.loads(answer.data)
