"""What MCP's workers tell each other through the database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import URL, Engine

from service.adapters.mcp_calls import OpenCalls
from service.adapters.mcp_mail import MOST_WAITING, Mailbox
from service.storage import schema
from service.storage.engine import create_engine


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def engine(database_url: URL) -> Iterator[Engine]:
    made = create_engine(database_url)
    with made.begin() as connection:
        schema.upgrade(connection)
    yield made
    made.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mail(engine: Engine, clock: Clock) -> Mailbox:
    return Mailbox(engine, 60, clock)


def test_messages_come_once_and_in_order(mail: Mailbox) -> None:
    mail.open("a")
    assert [mail.put("a", text) for text in ("one", "two")] == [True, True]
    assert (mail.take("a"), mail.take("a")) == (["one", "two"], [])


def test_messages_stay_with_their_stream(mail: Mailbox) -> None:
    mail.open("a")
    mail.open("b")
    mail.put("a", "one")
    assert (mail.take("b"), mail.take("a")) == ([], ["one"])


def test_nothing_is_written_to_a_stream_that_is_not_there(mail: Mailbox) -> None:
    assert (mail.put("a", "one"), mail.has("a"), mail.keep("a")) == (False, False, False)


def test_a_stream_that_nobody_reads_from_takes_only_so_much(mail: Mailbox) -> None:
    mail.open("a")
    assert [mail.put("a", "x") for _ in range(MOST_WAITING + 1)][-2:] == [True, False]


def test_a_stream_whose_holder_died_ends(mail: Mailbox, clock: Clock) -> None:
    mail.open("a")
    clock.now += 61
    assert (mail.has("a"), mail.put("a", "one")) == (False, False)


def test_a_stream_that_is_kept_lives_on(mail: Mailbox, clock: Clock) -> None:
    mail.open("a")
    clock.now += 50
    assert mail.keep("a")
    clock.now += 50
    assert mail.has("a")


def test_what_the_dead_have_left_is_swept_up(mail: Mailbox, clock: Clock, engine: Engine) -> None:
    mail.open("a")
    mail.put("a", "one")
    calls = OpenCalls(engine, 10, clock)
    calls.begin("of a stream", lambda: None, "a")
    calls.begin("of a request", lambda: None)
    clock.now += 61
    mail.open("b")
    with engine.connect() as connection:
        left = [connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() for table in TABLES]
    calls.end("of a request")
    calls.end("of a stream")
    assert left == [1, 0, 0]


def test_many_write_to_one_stream_at_once(mail: Mailbox) -> None:
    mail.open("a")
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda number: mail.put("a", str(number)), range(50)))
    assert (set(written), sorted(map(int, mail.take("a")))) == ({True}, list(range(50)))


def test_a_call_is_stopped_from_elsewhere(engine: Engine) -> None:
    here, there, stopped = OpenCalls(engine, 60), OpenCalls(engine, 60), threading.Event()
    here.begin("a", stopped.set)
    assert there.cancel("a")
    assert stopped.wait(10)
    here.end("a")


def test_a_call_ends_with_its_stream(engine: Engine, mail: Mailbox) -> None:
    calls, stopped = OpenCalls(engine, 60), threading.Event()
    mail.open("a")
    calls.begin("call", stopped.set, "a")
    mail.close("a")
    assert stopped.wait(10)
    calls.end("call")


def test_a_call_that_is_over_is_not_stopped_and_not_known(engine: Engine) -> None:
    calls, stopped = OpenCalls(engine, 60), threading.Event()
    calls.begin("a", stopped.set)
    calls.end("a")
    assert (calls.cancel("a"), stopped.is_set()) == (False, False)


def test_a_second_call_of_one_id_cannot_be_cancelled_and_does_not_disturb_the_first(engine: Engine) -> None:
    calls, stopped = OpenCalls(engine, 60), threading.Event()
    assert calls.begin("a", stopped.set)
    assert not calls.begin("a", lambda: None)
    calls.cancel("a")
    assert stopped.wait(10)
    calls.end("a")


def test_a_call_cannot_answer_to_a_stream_that_is_not_there(engine: Engine) -> None:
    assert not OpenCalls(engine, 60).begin("a", lambda: None, "nothing")


def test_the_table_is_not_asked_while_nothing_runs(engine: Engine) -> None:
    calls = OpenCalls(engine, 60)
    calls.begin("a", lambda: None)
    calls.end("a")
    for thread in threading.enumerate():
        if thread.name == "mcp-calls":
            thread.join(10)
    assert "mcp-calls" not in {thread.name for thread in threading.enumerate()}


TABLES = ("mcp_stream", "mcp_mail", "mcp_call")
