"""How long a good client waits while many others are slow on purpose, on our worker and on gunicorn's own.

python -m benchmarks.slow_clients
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from socket import create_connection, socket
from time import monotonic

from tests.support.server import ROOT, clean_environment, free_port
from tests.support.waiting import wait_until_it_answers

THREADS, CLIENTS, PATIENCE = 4, 20, 30
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
KINDS = {
    "say nothing": b"",
    "send half a head": b"GET /health HTTP/1.1\r\nHo",
    "send no body with a login": b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\n"
    + FORM
    + b"Content-Length: 100\r\n\r\n",
    "send no body without a key": b"POST /api/v1/flows/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
    "do not close after HTTP/1.0": b"GET /health HTTP/1.0\r\n\r\n",
}


def waited(port: int) -> str:
    with closing(create_connection(("127.0.0.1", port), timeout=PATIENCE)) as connection:
        began = monotonic()
        try:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            connection.recv(100)
        except TimeoutError:
            return f"more than {PATIENCE} s"
    return f"{monotonic() - began:.2f} s"


def measure(worker: str, text: bytes) -> str:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        environment = clean_environment(
            LANGFLOW_CONFIG_DIR=folder, LANGFLOW_PORT=str(port), KEYTURN_THREADS=str(THREADS),
            LANGFLOW_SUPERUSER_PASSWORD="securepassword", KEYTURN_REQUEST_LOG="false",
        )  # fmt: skip
        command = [str(Path(sys.executable).parent / "gunicorn"), "-c", "python:service.gunicorn_conf", "-k", worker]
        server = subprocess.Popen([*command, "wsgi:app"], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        try:
            wait_until_it_answers(f"http://127.0.0.1:{port}")
            for _ in range(CLIENTS):
                slow: socket = stack.enter_context(closing(create_connection(("127.0.0.1", port))))
                slow.sendall(text)
            return waited(port)
        finally:
            server.terminate()
            stack.close()
            server.wait(60)


def main() -> None:
    print(f"{CLIENTS} clients, {THREADS} threads; /health is answered to another one after\n")
    print(f"{'the clients':<30} {'Keyturn':>16} {'gthread':>16}")
    for name, text in KINDS.items():
        print(
            f"{name:<30}",
            *(f"{measure(worker, text):>16}" for worker in ("service.gunicorn_worker.Worker", "gthread")),
        )


if __name__ == "__main__":
    main()
