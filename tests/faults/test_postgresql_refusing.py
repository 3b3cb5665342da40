"""A PostgreSQL that answers and refuses: too many connections, read-only, starting, or a host that says nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from tests.conftest import SECRET
from tests.faults.conftest import GUNICORN, Server, serving
from tests.support.gate import Gate
from tests.support.server import ROOT, free_port, run, running
from tests.support.services import OwnPostgreSQL
from tests.support.waiting import until, wait_until_it_answers

pytestmark = pytest.mark.postgresql


@pytest.fixture(scope="module")
def gate(cluster: OwnPostgreSQL) -> Iterator[Gate]:
    made = Gate(("127.0.0.1", cluster.port))
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(cluster: OwnPostgreSQL, gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker with few threads, so that a few that wait would be all of them."""
    folder = tmp_path_factory.mktemp("server")
    url = cluster.url.set(port=gate.port)
    with serving(url, folder, LANGFLOW_WORKERS="1", KEYTURN_THREADS="4") as made:
        yield made


@pytest.fixture(autouse=True)
def it_heals(server: Server) -> Iterator[None]:
    """Whatever a test has done to the database: the same server works again afterwards."""
    yield
    until(lambda: server.get("/ready").status == 200, seconds=30)
    assert server.post("/api_key/", json={"name": "afterwards"}).status == 200


@contextmanager
def taken(cluster: OwnPostgreSQL) -> Iterator[None]:
    """Take every connection that the database gives, and the server's as well."""
    with ExitStack() as stack:

        def connect() -> psycopg.Connection:
            made = psycopg.connect(
                host="127.0.0.1", port=cluster.port, user="postgres", dbname="postgres", autocommit=True
            )
            stack.callback(made.close)
            return made

        def take() -> None:
            with suppress(psycopg.OperationalError):
                while True:
                    connect()

        def none_is_the_servers() -> bool:
            ended = first.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keyturn'"
            ).fetchall()
            take()
            return not ended

        first = connect()
        until(none_is_the_servers)
        yield


def test_too_many_connections_are_503(server: Server, cluster: OwnPostgreSQL) -> None:
    with taken(cluster):
        answer = server.get("/users/whoami")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


@pytest.fixture
def read_only(cluster: OwnPostgreSQL) -> Iterator[None]:
    cluster.set(default_transaction_read_only="on")
    cluster.reload()
    until(lambda: cluster.ask("SHOW default_transaction_read_only") == [("on",)])
    yield
    cluster.set(default_transaction_read_only="off")
    cluster.reload()
    until(lambda: cluster.ask("SHOW default_transaction_read_only") == [("off",)])


@pytest.mark.usefixtures("read_only")
def test_a_standby_is_read_from_and_writes_are_503(server: Server) -> None:
    written = until(
        lambda: server.post("/api_key/", json={"name": "on a standby"}), lambda answer: answer.status != 200
    )
    assert (written.status, written.headers["retry-after"]) == (503, "1")
    assert server.get("/users/whoami").status == 200


def test_a_host_that_says_nothing_does_not_hold_the_threads(server: Server, gate: Gate) -> None:
    gate.mute()
    try:
        with ThreadPoolExecutor(16) as clients:
            asked = [clients.submit(server.get, "/users/whoami") for _ in range(60)]
            assert server.get("/health").status == 200
            assert {one.result().status for one in asked} == {503}
    finally:
        gate.speak()


def test_a_worker_that_is_replaced_meanwhile_waits_for_the_database_like_the_others(
    server: Server, cluster: OwnPostgreSQL
) -> None:
    former = server.process.workers
    cluster.stop()
    try:
        os.kill(former[0], signal.SIGKILL)
        until(lambda: server.process.workers not in ([], former), seconds=60)
        until(lambda: server.get("/health").status == 200, seconds=60)
        assert server.get("/users/whoami").status == 503
    finally:
        cluster.start()


def test_a_start_waits_for_a_database_that_is_starting_too(cluster: OwnPostgreSQL, tmp_path: Path) -> None:
    port = free_port()
    own = {"LANGFLOW_DATABASE_URL": cluster.url.render_as_string(), "LANGFLOW_CONFIG_DIR": str(tmp_path),
           "LANGFLOW_SECRET_KEY": SECRET, "LANGFLOW_PORT": str(port)}  # fmt: skip
    cluster.stop("fast")
    try:
        with running([*GUNICORN], ROOT, **own) as process:
            process.wait_for("Waiting for it, 30 seconds at most.")
            cluster.start()
            process.wait_for("Keyturn")
            wait_until_it_answers(f"http://127.0.0.1:{port}")
    finally:
        if not cluster.is_running:
            cluster.start()


def test_a_start_without_a_database_ends_in_one_line_with_status_3(tmp_path: Path) -> None:
    url = f"postgresql://somebody:canary-password@127.0.0.1:{free_port()}/none"
    own = {"LANGFLOW_DATABASE_URL": url, "LANGFLOW_CONFIG_DIR": str(tmp_path), "KEYTURN_DATABASE_WAIT_SECONDS": "0"}
    ended = run([*GUNICORN], ROOT, **own)
    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1)
    assert "start it, or correct LANGFLOW_DATABASE_URL" in ended.stderr
    assert "canary-password" not in ended.stderr
