"""Workers are killed while clients make things: what was acknowledged is there, and nothing is there by half."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from tests.faults.conftest import Server, serving
from tests.faults.making import KINDS, Maker
from tests.support.crowd import Crowd, crowd
from tests.support.waiting import until

KILLS = 3

#: Rows that are there without the event that the same transaction writes.
_WITHOUT_EVENT = """
    SELECT '{table}', id FROM {table} WHERE NOT EXISTS
    (SELECT 1 FROM audit_event e WHERE e.subject_id = {table}.id AND e.action = '{action}')
"""


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> URL:
    if request.param == "postgresql":
        return request.getfixturevalue("cluster").url
    return make_url(f"sqlite:///{tmp_path_factory.mktemp('database') / 'keyturn.db'}")


@pytest.fixture(scope="module")
def survived(url: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Maker, Crowd]]:
    """A server whose workers were killed while it was busy."""
    with serving(url, tmp_path_factory.mktemp("server"), LANGFLOW_WORKERS="2") as server:
        made = Maker(server, "survivor")
        acts = [made.variable, made.key, made.user, made.flow, made.message]
        with crowd(*acts, *acts) as busy:
            for _ in range(KILLS):
                kept = made.count
                until(lambda kept=kept: made.count >= kept + 12, seconds=60)
                with suppress(ProcessLookupError, IndexError):
                    os.kill(random.choice(server.process.workers), signal.SIGKILL)
            until(lambda: made.has_each(3, *KINDS), seconds=60)
        yield server, made, busy


def test_everything_that_was_acknowledged_is_there_and_works(survived: tuple[Server, Maker, Crowd]) -> None:
    _, made, _ = survived
    made.look_again()
    assert made.missing == []


def test_clients_saw_cut_connections_and_no_server_error(survived: tuple[Server, Maker, Crowd]) -> None:
    _, _, busy = survived
    assert busy.statuses() - {0} <= {200, 201}


def test_nothing_is_there_by_half(survived: tuple[Server, Maker, Crowd], url: URL) -> None:
    engine = create_engine(url)
    made_by = (("api_key", "key.created"), ("variable", "variable.created"), ('"user"', "user.created"))
    with engine.connect() as connection:
        halves = [
            tuple(row)
            for table, action in made_by
            for row in connection.execute(text(_WITHOUT_EVENT.format(table=table, action=action)))
        ]
        if url.get_backend_name() == "sqlite":
            halves += [tuple(row) for row in connection.execute(text("PRAGMA foreign_key_check"))]
            assert connection.execute(text("PRAGMA integrity_check")).all() == [("ok",)]
        odd = connection.execute(text("SELECT count(*) FROM api_key WHERE length(digest) <> 64")).scalar()
    engine.dispose()
    assert (halves, odd) == ([], 0)
