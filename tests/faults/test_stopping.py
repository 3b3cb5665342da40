"""The server is told to stop, to start its workers anew, or does so by itself, while clients are busy."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text

from tests.faults.conftest import Server, serving
from tests.http.api.test_jobs import hold
from tests.http.api.test_runs import model_flow
from tests.support.crowd import Answer, crowd
from tests.support.provider import Provider
from tests.support.provider import serving as serving_models
from tests.support.waiting import until


def counted(url: URL) -> tuple[int, int]:
    """How many uses of the key of the test the database knows, and how many good answers."""
    engine = create_engine(url)
    with engine.connect() as connection:
        uses = connection.execute(text("SELECT total_uses FROM api_key WHERE name = 'counted'")).scalar()
        good = connection.execute(
            text("SELECT sum(count) FROM key_usage u JOIN api_key k ON k.id = u.key_id WHERE k.name = 'counted' "
                 "AND status = 200")
        ).scalar()  # fmt: skip
    engine.dispose()
    return int(uses or 0), int(good or 0)


def counted_key(server: Server) -> str:
    return str(server.post("/api_key/", json={"name": "counted"}).body["api_key"])


def asking(server: Server, key: str) -> list[Callable[[], Answer]]:
    """Short requests and runs of a flow."""
    return [
        *[lambda: server.get("/users/whoami", key)] * 3,
        *[lambda: server.post("/run/keyturn-echo", key=key, json={"input_value": "hello"})] * 3,
    ]


def test_a_stop_answers_what_was_accepted_and_counts_it(sqlite_url: URL, tmp_path: Path) -> None:
    with serving(sqlite_url, tmp_path) as server:
        key = counted_key(server)
        with crowd(*asking(server, key), pause=0) as busy:
            until(lambda: len(busy.answers) >= 100, seconds=60)
            assert server.process.stop() == 0
    good = sum(answer.status == 200 for answer in busy.answers)
    assert busy.statuses() <= {200, 0}
    assert counted(sqlite_url) == (good, good)


def test_a_reload_refuses_nobody_and_loses_no_count(sqlite_url: URL, tmp_path: Path) -> None:
    with serving(sqlite_url, tmp_path) as server:
        key, former = counted_key(server), set(server.process.workers)
        with crowd(*asking(server, key), pause=0.1) as busy:
            until(lambda: len(busy.answers) >= 20, seconds=60)
            server.process.send(signal.SIGHUP)
            until(lambda: not former & set(server.process.workers), seconds=60)
            seen = len(busy.answers)
            until(lambda: len(busy.answers) >= seen + 20, seconds=60)
        assert busy.statuses() == {200}
    assert counted(sqlite_url) == (len(busy.answers), len(busy.answers))


def test_workers_that_end_after_a_number_of_requests_lose_none(sqlite_url: URL, tmp_path: Path) -> None:
    with serving(sqlite_url, tmp_path, "--max-requests", "60", LANGFLOW_WORKERS="1") as server:
        key, former = counted_key(server), set(server.process.workers)
        with crowd(*asking(server, key), pause=0.1) as busy:
            until(lambda: not former & set(server.process.workers), seconds=60)
            seen = len(busy.answers)
            until(lambda: len(busy.answers) >= seen + 20, seconds=60)
        assert busy.statuses() == {200}
    assert counted(sqlite_url) == (len(busy.answers), len(busy.answers))


Held = tuple[Server, Provider, list["Future[Answer]"]]


@pytest.fixture
def held(sqlite_url: URL, tmp_path: Path) -> Iterator[Held]:
    """A server with a run and a stream of a run under way that wait for their model, and 8 seconds to stop."""
    with serving_models() as provider, ThreadPoolExecutor(2) as clients:
        settings = {"KEYTURN_OPENAI_BASE_URL": provider.url, "LANGFLOW_WORKERS": "1"}
        with serving(sqlite_url, tmp_path, "--graceful-timeout", "8", "--log-level", "info", **settings) as server:
            credential = {"name": "OPENAI_API_KEY", "value": "sk-test", "type": "Credential", "default_fields": []}
            server.post("/variables/", json=credential)
            server.post("/flows/", json={"name": "asking", "endpoint_name": "asking", "data": model_flow()})
            hold(provider)
            body = {"input_value": "hello"}
            asked = [clients.submit(server.post, "/run/asking", json=body)]
            until(lambda: len(provider.requests) == 1, seconds=60)
            # A stream of the model waits after its first word.
            asked.append(clients.submit(server.post, "/run/asking?stream=true", json=body))
            until(lambda: len(provider.requests) == 2, seconds=60)
            yield server, provider, asked
            provider.go_on.set()


def test_runs_and_streams_that_end_in_time_are_finished(held: Held) -> None:
    server, provider, asked = held
    server.process.ask_to_stop()
    server.process.wait_for("Handling signal: term")
    provider.go_on.set()
    run, stream = (one.result() for one in asked)
    assert (run.status, stream.status) == (200, 200)
    assert "You said: hello" in str(run.body)
    assert '"event": "end"' in stream.body
    assert server.process.stop() == 0


def test_runs_and_streams_that_take_longer_are_told_and_not_cut_off(held: Held) -> None:
    server, _, asked = held
    assert server.process.stop() == 0
    run, stream = (one.result() for one in asked)
    assert (run.status, run.headers["retry-after"]) == (503, "1")
    assert "being stopped" in run.body["detail"]
    last = stream.body.strip().splitlines()[-1]
    assert '"event": "error"' in last
    assert "503" in last
