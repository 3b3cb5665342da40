"""schemathesis against a real server, with all of its checks, on the document that is served."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from sqlalchemy import URL

from tests.conftest import PASSWORD, SECRET, SUPERUSER
from tests.fuzz.conftest import EXAMPLES
from tests.support.server import BIN, ROOT, clean_environment, free_port, running
from tests.support.waiting import until

_CONFIG = Path(__file__).with_name("schemathesis.toml")
#: Always the same, and each case of the coverage once: with what earlier answers brought it is twice as many.
_IN_THE_SUITE = """
[phases.coverage]
generation.deterministic = true
extra-data-sources.responses = false
[phases.fuzzing]
generation.deterministic = true
[phases.stateful]
generation.deterministic = true
"""
_USER, _USER_PASSWORD = "somebody", "pw12345678"


@dataclass(frozen=True, slots=True)
class Described:
    """A server whose document is to be true."""

    address: str
    folder: Path

    def key(self, *, superuser: bool = True) -> str:
        """A key of the superuser, or of an ordinary user who has a flow."""
        key = self._key_of(SUPERUSER, PASSWORD)
        if superuser:
            return key
        made = self._post("/users/", key, json={"username": _USER, "password": _USER_PASSWORD})
        headers = {"x-api-key": key}
        requests.patch(
            f"{self.address}/api/v1/users/{made['id']}", json={"is_active": True}, headers=headers, timeout=60
        )
        return self._key_of(_USER, _USER_PASSWORD)

    def check(self, key: str, *options: str, examples: int) -> None:
        """Run schemathesis with a key; fails with what it has found.

        Args:
            key: of the caller.
            options: of ``schemathesis run``.
            examples: for each operation; ``make fuzz`` decides itself.
        """
        config = self.folder / "schemathesis.toml"
        authorized = f'\n[auth.openapi.key_in_header]\napi_key = "{key}"\n'
        config.write_text(_CONFIG.read_text("utf-8") + authorized + ("" if EXAMPLES else _IN_THE_SUITE), "utf-8")
        command = [str(BIN / "schemathesis"), "--config-file", str(config), "run", f"{self.address}/openapi.json"]
        done = subprocess.run(
            [*command, "--max-examples", EXAMPLES or str(examples), *options], cwd=self.folder, capture_output=True,
            env=clean_environment(PYTHONPATH=str(ROOT)), text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        # A filter that matches nothing, or a run of nothing, is no proof.
        assert re.search(r"[1-9][0-9]* generated", done.stdout), done.stdout

    def _key_of(self, username: str, password: str) -> str:
        form = {"username": username, "password": password}
        token = requests.post(f"{self.address}/api/v1/login", data=form, timeout=60).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return str(requests.post(f"{self.address}/api/v1/api_key/", headers=headers, timeout=60).json()["api_key"])

    def _post(self, path: str, key: str, **body: object) -> dict[str, str]:
        answer = requests.post(f"{self.address}/api/v1{path}", headers={"x-api-key": key}, timeout=60, **body)  # type: ignore[arg-type]
        assert answer.ok, answer.text
        found: dict[str, str] = answer.json()
        return found


@contextmanager
def described(folder: Path, database_url: URL | None = None) -> Iterator[Described]:
    """Start a server with a database of its own and the demo's flows."""
    port = free_port()
    url = database_url.render_as_string(hide_password=False) if database_url else f"sqlite:///{folder / 'keyturn.db'}"
    environment = {
        "LANGFLOW_CONFIG_DIR": str(folder), "LANGFLOW_DATABASE_URL": url, "LANGFLOW_SUPERUSER": SUPERUSER,
        "LANGFLOW_SUPERUSER_PASSWORD": PASSWORD, "LANGFLOW_SECRET_KEY": SECRET, "LANGFLOW_PORT": str(port),
        "LANGFLOW_RATE_LIMIT_ENABLED": "false", "KEYTURN_DEMO_FLOWS": "true", "KEYTURN_REQUEST_LOG": "false",
    }  # fmt: skip
    command = ["gunicorn", "-c", "python:service.gunicorn_conf", "wsgi:app"]
    address = f"http://127.0.0.1:{port}"
    with running(command, ROOT, **environment):
        until(lambda: _is_ready(address), seconds=120)
        yield Described(address, folder)


def _is_ready(address: str) -> bool:
    try:
        return requests.get(f"{address}/ready", timeout=30).ok
    except requests.RequestException:
        return False
