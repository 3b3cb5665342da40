"""Four workers with sixteen threads each, all of which write to one SQLite file at once."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from tests.faults.conftest import serving
from tests.faults.making import Maker
from tests.support.crowd import Answer

WRITERS, EACH, READERS = 64, 4, 4

Seen = tuple[Maker, list[Answer], list[Answer], str]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What writers and readers were answered, and what the log has to say."""
    folder: Path = tmp_path_factory.mktemp("server")
    url: URL = make_url(f"sqlite:///{folder / 'keyturn.db'}")
    with serving(url, folder, LANGFLOW_WORKERS="4") as server:
        made = Maker(server, "writer")
        acts = [made.variable, made.key, made.flow]

        def write(number: int) -> list[Answer]:
            return [acts[(number + turn) % len(acts)]() for turn in range(EACH)]

        def read(writers: list[Future[list[Answer]]]) -> list[Answer]:
            found = []
            while not all(one.done() for one in writers):
                found.append(server.get("/flows/?header_flows=true"))
            return found

        with ThreadPoolExecutor(WRITERS) as clients, ThreadPoolExecutor(READERS) as others:
            writers = [clients.submit(write, number) for number in range(WRITERS)]
            readers = [others.submit(read, writers) for _ in range(READERS)]
            written = [answer for one in writers for answer in one.result()]
            read_meanwhile = [answer for one in readers for answer in one.result()]
        made.look_again()
        server.process.stop()
        return made, written, read_meanwhile, server.process.output


def test_no_writer_is_refused(seen: Seen) -> None:
    _, written, _, _ = seen
    assert len(written) == WRITERS * EACH
    assert {answer.status for answer in written} <= {200, 201}


def test_readers_are_answered_meanwhile(seen: Seen) -> None:
    _, _, read, _ = seen
    assert {answer.status for answer in read} == {200}


def test_all_that_was_written_is_there(seen: Seen) -> None:
    made, _, _, _ = seen
    assert (made.count, made.missing) == (WRITERS * EACH, [])


def test_nobody_met_a_locked_database(seen: Seen) -> None:
    _, _, _, log = seen
    assert "locked" not in log
    assert " ERROR " not in log
