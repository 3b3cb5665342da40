"""A Keyturn on a real port, with two workers, for clients that know nothing of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.provider import Provider, serving
from tests.support.server import ROOT, Process, free_port, run, running
from tests.support.waiting import wait_until_it_answers

USERNAME, PASSWORD = "administrator", "securepassword"


@dataclass
class Place:
    """A running server, and how to reach it."""

    folder: Path
    url: str
    key: str
    provider: Provider
    server: Process

    def call(self, method: str, path: str, **more: Any) -> Any:
        """Ask the API with the key; the answer's JSON."""
        answer = requests.request(
            method, f"{self.url}/api/v1{path}", headers={"x-api-key": self.key}, timeout=30, **more
        )
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def upload_demo(self, demo: str, **changes: Any) -> dict[str, Any]:
        """Store a demo flow ("echo" or "chat"), with changes to its top fields."""
        body = json.loads((ROOT / "service" / "demo" / f"{demo}.json").read_text())
        return dict(self.call("POST", "/flows/", json=body | changes))


@pytest.fixture(scope="module")
def start_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Place]]:
    """Start servers; their models are on loopback."""
    with ExitStack() as stack:

        def start(**environment: str) -> Place:
            folder, port = tmp_path_factory.mktemp("client"), free_port()
            provider = stack.enter_context(serving())
            own = {
                "LANGFLOW_CONFIG_DIR": str(folder),
                "LANGFLOW_SUPERUSER": USERNAME,
                "LANGFLOW_SUPERUSER_PASSWORD": PASSWORD,
                "OPENAI_API_KEY": "sk-not-a-real-key",
                "KEYTURN_OPENAI_BASE_URL": provider.url,
            } | environment
            made = run(["keyturn", "api-key", "--plain"], folder, **own)
            assert made.returncode == 0, made.stderr
            command = ["keyturn", "run", "--port", str(port), "--workers", environment.get("LANGFLOW_WORKERS", "2")]
            server = stack.enter_context(running(command, folder, **own))
            url = f"http://127.0.0.1:{port}"
            wait_until_it_answers(url)
            return Place(folder, url, made.stdout.strip(), provider, server)

        yield start


@pytest.fixture(scope="module")
def place(start_place: Callable[..., Place]) -> Place:
    return start_place()
