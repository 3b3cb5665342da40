"""Clients that are slow on purpose, many more than the server has threads: nobody else waits for them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

import pytest
import requests

from service.gunicorn_worker import HEAD_SECONDS, STANDSTILL_SECONDS
from tests.support.raw import ask, connected, read_all, request
from tests.support.server import ROOT, free_port, run, running
from tests.support.waiting import until, wait_until_it_answers

THREADS, CLIENTS = 3, 30
#: Seconds. Whoever had to wait for one of them would wait longer.
SOON = 10


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """The port of a server with few threads, and a key."""
    folder, port = tmp_path_factory.mktemp("slow"), free_port()
    environment = {
        "LANGFLOW_CONFIG_DIR": str(folder), "LANGFLOW_SUPERUSER_PASSWORD": "securepassword",
        "KEYTURN_THREADS": str(THREADS), "KEYTURN_REQUEST_LOG": "false",
    }  # fmt: skip
    key = run(["keyturn", "api-key", "--plain"], folder, **environment).stdout.strip()
    with running(["keyturn", "run", "--port", str(port)], folder, **environment):
        wait_until_it_answers(f"http://127.0.0.1:{port}")
        yield port, key


@contextmanager
def many(port: int, text: bytes, clients: int = CLIENTS) -> Iterator[list[socket.socket]]:
    """Connections that have sent a text and do nothing more."""
    with ExitStack() as stack:
        made = [stack.enter_context(connected(port)) for _ in range(clients)]
        for connection in made:
            connection.sendall(text)
        yield made


def is_answered_soon(port: int) -> bool:
    began = monotonic()
    return ask(port, request("GET /health")).statuses == [200] and monotonic() - began < SOON


SLOW = {
    "nothing at all": b"",
    "the beginning of a line": b"GET /hea",
    "a head without its end": b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "a login without its body": request(
        "POST /api/v1/login", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 60000"
    ) + b"username=",
    "a login that asks first": request(
        "POST /api/v1/login", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 100",
        "Expect: 100-continue",
    ),
    "a large body that nobody reads": request("POST /api/v1/flows/", "Content-Length: 1000000") + b"{",
    "an MCP client without a key and its body": request(
        "POST /api/v1/mcp/streamable", "Content-Type: application/json", "Content-Length: 60000"
    ) + b"{",
    "the next request of many, begun": request("GET /health").replace(b"Connection: close\r\n", b"") + b"GET /hea",
    "an answer that ends with the connection, which stays open": b"GET /health HTTP/1.0\r\n\r\n",
    "a kept connection": request("GET /health").replace(b"Connection: close\r\n", b""),
}  # fmt: skip


@pytest.mark.parametrize("what", SLOW)
def test_nobody_waits_for_clients_that_send(server: tuple[int, str], what: str) -> None:
    port, _ = server
    with many(port, SLOW[what]):
        assert all(is_answered_soon(port) for _ in range(3))


def is_answered_at_once(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=3).ok
    except requests.Timeout:
        return False


def test_a_client_that_does_not_take_its_answers_holds_a_thread_for_a_while_only(server: tuple[int, str]) -> None:
    port, key = server
    kept = request("GET /openapi.json", f"x-api-key: {key}").replace(b"Connection: close\r\n", b"")
    with many(port, kept * 300, THREADS):
        until(lambda: not is_answered_at_once(port), seconds=60)
        until(lambda: is_answered_at_once(port), seconds=STANDSTILL_SECONDS + 60)


def test_a_full_house_makes_room_for_whoever_has_a_request(tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "LANGFLOW_CONFIG_DIR": str(tmp_path), "LANGFLOW_PORT": str(port), "KEYTURN_THREADS": "2",
        "LANGFLOW_SUPERUSER_PASSWORD": "securepassword",
    }  # fmt: skip
    command = ["gunicorn", "-c", "python:service.gunicorn_conf", "--worker-connections", "20", "wsgi:app"]
    with running(command, ROOT, **environment):
        wait_until_it_answers(f"http://127.0.0.1:{port}")
        with many(port, b"GET /health HTTP/1.1\r\n", 60):
            assert is_answered_soon(port)


def test_a_head_that_does_not_come_to_its_end_is_given_up(server: tuple[int, str]) -> None:
    port, _ = server
    with connected(port) as connection:
        began = monotonic()
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        assert read_all(connection).statuses == [408]
        assert monotonic() - began > HEAD_SECONDS - 1


def test_a_large_body_that_does_not_come_is_given_up(server: tuple[int, str]) -> None:
    port, key = server
    head = request(
        "POST /api/v1/flows/", f"x-api-key: {key}", "Content-Type: application/json", "Content-Length: 100000"
    )
    assert ask(port, head + b"{").statuses == [400]


def test_a_client_that_is_slow_and_goes_on_is_answered(server: tuple[int, str]) -> None:
    port, _ = server
    text = request("GET /health")
    with connected(port) as connection:
        for position in range(len(text)):
            connection.sendall(text[position : position + 1])
        assert read_all(connection).statuses == [200]


def test_a_kept_connection_serves_one_request_after_the_other(server: tuple[int, str]) -> None:
    port, _ = server
    with requests.Session() as session:
        statuses = [session.get(f"http://127.0.0.1:{port}/health", timeout=60).status_code for _ in range(50)]
    assert statuses == [200] * 50


def test_requests_that_do_not_wait_for_their_answers_get_them_in_order(server: tuple[int, str]) -> None:
    port, _ = server
    kept = request("GET /health").replace(b"Connection: close\r\n", b"")
    missing = request("GET /nowhere").replace(b"Connection: close\r\n", b"")
    assert ask(port, kept + missing + request("GET /health")).statuses == [200, 404, 200]
