"""The server is told to stop, to start its workers anew, or does so by itself, while clients are busy."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL, create_engine, text

from tests.faults.conftest import Server, serving
from tests.support.crowd import Answer, crowd
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


def test_a_stop_answers_what_was_accepted_and_counts_it(database_url: URL, tmp_path: Path) -> None:
    with serving(database_url, tmp_path) as server:
        key = counted_key(server)
        with crowd(*asking(server, key), pause=0) as busy:
            until(lambda: len(busy.answers) >= 100, seconds=60)
            assert server.process.stop() == 0
    good = sum(answer.status == 200 for answer in busy.answers)
    assert busy.statuses() <= {200, 0}
    assert counted(database_url) == (good, good)


def test_a_reload_refuses_nobody_and_loses_no_count(sqlite_url: URL, tmp_path: Path) -> None:
    with serving(sqlite_url, tmp_path) as server:
        key, former = counted_key(server), set(server.process.workers)
        with crowd(*asking(server, key)) as busy:
            until(lambda: len(busy.answers) >= 50, seconds=60)
            server.process.send(signal.SIGHUP)
            until(lambda: not former & set(server.process.workers), seconds=60)
            seen = len(busy.answers)
            until(lambda: len(busy.answers) >= seen + 50, seconds=60)
        assert busy.statuses() == {200}
    assert counted(sqlite_url) == (len(busy.answers), len(busy.answers))


def test_workers_that_end_after_a_number_of_requests_lose_none(sqlite_url: URL, tmp_path: Path) -> None:
    with serving(sqlite_url, tmp_path, "--max-requests", "40") as server:
        key, former = counted_key(server), set(server.process.workers)
        with crowd(*asking(server, key)) as busy:
            until(lambda: not former & set(server.process.workers), seconds=60)
            seen = len(busy.answers)
            until(lambda: len(busy.answers) >= seen + 50, seconds=60)
        assert busy.statuses() == {200}
    assert counted(sqlite_url) == (len(busy.answers), len(busy.answers))
