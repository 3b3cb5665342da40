"""Making connections while the database is away: few threads wait for it, and the others are told at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, func, select
from sqlalchemy.exc import DBAPIError

from service.storage import outages
from service.storage.engine import create_engine
from service.storage.outages import Door, is_away
from service.storage.statements import for_lookups
from tests.support.clock import Seconds

PID = select(func.pg_backend_pid())


@dataclass
class Dialect:
    """A database that is reached when a test says so; implements the part of SQLAlchemy's that is used."""

    is_there: bool = True
    asked: int = 0
    goes_on: threading.Event = field(default_factory=threading.Event)
    is_asked: threading.Event = field(default_factory=threading.Event)
    loaded_dbapi: Any = psycopg

    def connect(self) -> str:
        self.asked += 1
        self.is_asked.set()
        assert self.goes_on.wait(30)
        if not self.is_there:
            raise psycopg.OperationalError("nobody is there")
        return "a connection"


@pytest.fixture
def seconds() -> Seconds:
    return Seconds(1000.0)


@pytest.fixture
def dialect() -> Iterator[Dialect]:
    made = Dialect()
    made.goes_on.set()
    yield made
    made.goes_on.set()


@pytest.fixture
def knock(dialect: Dialect, seconds: Seconds) -> Callable[[], str]:
    door = Door(seconds)
    return lambda: door(dialect, None, (), {})


def test_a_database_that_is_not_there_is_not_tried_by_everybody(
    dialect: Dialect, knock: Callable[[], str], seconds: Seconds
) -> None:
    dialect.is_there = False
    for _ in range(10):
        with pytest.raises(psycopg.OperationalError):
            knock()
    assert dialect.asked == 1
    seconds.now += 2
    with pytest.raises(psycopg.OperationalError):
        knock()
    assert dialect.asked == 2


def test_while_one_tries_whether_it_is_back_nobody_waits_beside(
    dialect: Dialect, knock: Callable[[], str], seconds: Seconds
) -> None:
    dialect.is_there = False
    with pytest.raises(psycopg.OperationalError):
        knock()
    seconds.now += 2
    dialect.is_there = True
    dialect.goes_on.clear()
    dialect.is_asked.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(knock)
        assert dialect.is_asked.wait(30)
        with pytest.raises(psycopg.OperationalError, match="a moment ago"):
            knock()
        dialect.goes_on.set()
        assert first.result() == "a connection"
    assert knock() == "a connection"


def test_many_who_come_at_once_all_get_their_connection(dialect: Dialect, knock: Callable[[], str]) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert [one.result() for one in [pool.submit(knock) for _ in range(32)]] == ["a connection"] * 32


@pytest.mark.parametrize("lookups", [False, True])
def test_a_connection_that_was_closed_in_the_pool_is_replaced_before_it_is_used(
    postgresql_url: URL, lookups: bool
) -> None:
    engine = create_engine(postgresql_url, pool_size=1)
    used = for_lookups(engine) if lookups else engine
    with used.connect() as connection:
        pid = connection.scalar(PID)
    with psycopg.connect(host=postgresql_url.host, user=postgresql_url.username, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
    with used.connect() as connection:
        assert connection.scalar(PID) != pid
    used.dispose()
    engine.dispose()


def test_what_a_url_says_wins_over_the_defaults(postgresql_url: URL) -> None:
    engine = create_engine(postgresql_url.update_query_dict({"application_name": "elsewhere"}))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW application_name").scalar() == "elsewhere"
    engine.dispose()


def test_a_mistake_of_the_code_is_no_outage(postgresql_url: URL) -> None:
    engine = create_engine(postgresql_url)
    with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.exec_driver_sql("SELECT no_such_column")
    assert not is_away(caught.value)
    assert not outages.is_full(caught.value)
    engine.dispose()
