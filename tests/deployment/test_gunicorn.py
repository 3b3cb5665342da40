"""gunicorn as the units start it: on a socket, told to stop, told to reload, and what it believes of a proxy."""

from __future__ import annotations

import http.client
import importlib
import json
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from service.gunicorn_options import options
from service.settings import Settings
from tests.conftest import PASSWORD, SUPERUSER
from tests.deployment.conftest import GUNICORN, environment
from tests.http.api.test_runs import model_flow
from tests.support.provider import Provider
from tests.support.server import BIN, ROOT, clean_environment, free_port, run, running
from tests.support.waiting import until, wait_until_it_answers

CREDENTIAL = {"name": "OPENAI_API_KEY", "value": "sk-of-nobody", "type": "Credential", "default_fields": []}


class Plain(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self.path))


def ask(
    path: Path, target: str, headers: dict[str, str] | None = None, method: str = "GET", body: str | None = None
) -> tuple[int, str]:
    """Send one request over a unix socket; returns the status and the text of the answer."""
    connection = Plain(path)
    try:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def answers(path: Path) -> bool:
    try:
        return bool(ask(path, "/health")[0] == 200)
    except OSError:
        return False


@pytest.fixture
def values(folder: Path, provider: Provider) -> Iterator[dict[str, str]]:
    yield environment(folder, provider)
    (folder / "http.sock").unlink(missing_ok=True)


def test_gunicorn_by_its_own_command_has_the_numbers_of_keyturn_run(
    bare_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANGFLOW_WORKERS", "3")
    module = vars(importlib.reload(importlib.import_module("service.gunicorn_conf")))
    ours = {name: value for name, value in options(Settings.from_env()).items() if not callable(value)}
    assert {name: module[name] for name in ours} == ours
    assert callable(module["on_starting"])
    assert callable(module["pre_request"])


def test_a_socket_is_for_owner_and_group_alone_and_a_proxys_address_is_believed_once(values: dict[str, str]) -> None:
    path = Path(values["KEYTURN_SOCKET"])
    # What a server that was killed has left behind is no obstacle.
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    key = run(["keyturn", "api-key", "--plain"], ROOT, **values).stdout.strip()
    with running(["keyturn", "run"], ROOT, **values):
        until(lambda: answers(path), seconds=60)
        assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO == 0
        taken = run(["keyturn", "run"], ROOT, **values)
        told = {"X-Forwarded-For": "198.51.100.7", "X_Forwarded_For": "203.0.113.9", "x-api-key": key}
        ask(path, "/api/v1/api_key/", told | {"Content-Type": "application/json"}, "POST", '{"name": "here"}')
        audit = ask(path, "/api/v1/audit?limit=1", told)[1]
        odd = {"Host": "[::1]:443", "Origin": "http://127.0.0.1:99"}
        refused = ask(path, "/api/v1/mcp/streamable", odd, "POST")[0]
    assert "198.51.100.7" in audit
    assert "203.0.113.9" not in audit
    assert refused == 403
    assert taken.returncode == 3
    assert taken.stderr.startswith(f"keyturn: cannot listen on {path} (a program answers there)")


def test_a_socket_in_a_folder_that_is_missing_stops_the_start_with_one_line(values: dict[str, str]) -> None:
    refused = run(["keyturn", "run"], ROOT, **values | {"KEYTURN_SOCKET": "/nowhere/http.sock"})
    assert refused.returncode == 3
    assert refused.stderr == "keyturn: KEYTURN_SOCKET /nowhere/http.sock: its folder has to be there, and writable\n"


def test_nobody_on_this_machine_is_believed_about_the_scheme_unless_a_proxy_is_trusted(
    values: dict[str, str],
) -> None:
    port = free_port()
    del values["KEYTURN_SOCKET"]
    login = {"username": SUPERUSER, "password": PASSWORD}
    with running(GUNICORN, ROOT, **values | {"KEYTURN_TRUSTED_PROXIES": "0", "LANGFLOW_PORT": str(port)}):
        wait_until_it_answers(f"http://127.0.0.1:{port}")
        answer = requests.post(
            f"http://127.0.0.1:{port}/api/v1/login", data=login, headers={"X-Forwarded-Proto": "https"}, timeout=30
        )
    assert answer.status_code == 200
    assert "Secure" not in answer.headers["Set-Cookie"]


def test_systemd_is_told_when_the_server_is_ready(values: dict[str, str], folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(folder / "notify"))
        systemd.settimeout(60)
        with running(GUNICORN, ROOT, **values | {"NOTIFY_SOCKET": str(folder / "notify")}):
            assert systemd.recv(1000).startswith(b"READY=1")


def test_a_restart_under_systemds_socket_finishes_what_runs_and_refuses_nobody(
    values: dict[str, str], provider: Provider
) -> None:
    path = Path(values["KEYTURN_SOCKET"])
    key = run(["keyturn", "api-key", "--plain"], ROOT, **values).stdout.strip()
    headers = {"x-api-key": key, "Content-Type": "application/json"}
    flow = {"name": "held", "endpoint_name": "held", "data": model_flow()}

    def start() -> subprocess.Popen[bytes]:
        # As systemd does it: descriptor 3 is the socket, and the process is named by its id.
        script = f'exec 3<&{listener.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
        return subprocess.Popen(
            ["bash", "-c", script, "bash", str(BIN / "keyturn"), "run"],
            cwd=ROOT, env=clean_environment(**values), pass_fds=(listener.fileno(),),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    started = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        try:
            started.append(start())
            ask(path, "/api/v1/variables/", headers, "POST", json.dumps(CREDENTIAL))
            ask(path, "/api/v1/flows/", headers, "POST", json.dumps(flow))
            # A run whose model is held, and meanwhile the server is told to stop.
            provider.go_on.clear()
            provider.arrived.clear()
            held = Plain(path)
            held.request("POST", "/api/v1/run/held?stream=true", '{"input_value": "hi"}', headers)
            assert provider.arrived.wait(60)
            started[0].send_signal(signal.SIGTERM)
            waiting = Plain(path)
            waiting.request("GET", "/api/v1/users/whoami", headers=headers)
            started.append(start())
            assert waiting.getresponse().status == 200
            assert started[0].poll() is None
            provider.go_on.set()
            assert '"event": "end"' in held.getresponse().read().decode()
            held.close()
            assert started[0].wait(60) == 0
            waiting.close()
        finally:
            for process in started:
                process.terminate()
                process.wait(60)
