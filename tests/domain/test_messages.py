"""The history of one run: its order, and when it is written."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.adapters.messages import MessageWriter
from service.domain.messages import DatabaseHistory
from service.domain.ports import MessageRow, StoredMessage
from tests.adapters.test_messages import new_flow, writer

__all__ = ["writer"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Histories = Callable[..., DatabaseHistory]


@pytest.fixture
def history(engine: Engine, writer: MessageWriter) -> Histories:
    """Makes the histories of runs of one flow; ``sink`` is another worker's."""
    owner, flow = new_flow(engine)

    def make(*, at_once: bool = True, sink: MessageWriter = writer) -> DatabaseHistory:
        return DatabaseHistory(partial(Session, engine), sink, owner, flow, at_once=at_once)

    return make


class Sink:
    """A ``MessageSink`` that shows what it was given."""

    def __init__(self) -> None:
        self.written: list[MessageRow] = []
        self.deferred: list[MessageRow] = []

    def write(self, rows: Sequence[MessageRow]) -> None:
        self.written.extend(rows)

    def defer(self, rows: Iterable[MessageRow]) -> None:
        self.deferred.extend(rows)

    def flush(self) -> None:
        """Nothing waits here."""


def message(text: str, session_id: str = "s", **more: str) -> StoredMessage:
    return StoredMessage(more.get("id", str(uuid.uuid4())), session_id, text, "User", "User", NOW)


def test_messages_of_one_time_keep_the_order_in_which_they_came(history: Histories) -> None:
    run, said = history(), [str(number) for number in range(12)]
    for text in said:
        run.add(message(text))
    assert [found.text for found in run.load("s")] == said


def test_a_message_that_is_replaced_keeps_its_place(history: Histories) -> None:
    run, first, second = history(), str(uuid.uuid4()), str(uuid.uuid4())
    run.add(message("one", id=first))
    run.add(message("two", id=second))
    run.flush()
    run.add(message("three"))
    run.add(message("two, whole", id=second))
    assert [found.text for found in run.load("s")] == ["one", "two, whole", "three"]


def test_a_session_that_the_flow_names_is_seen_by_every_worker_at_once(history: Histories, engine: Engine) -> None:
    run = history(at_once=False)
    run.add(message("noted"))
    run.flush()
    assert [found.text for found in history(sink=MessageWriter(engine)).load("s")] == ["noted"]


def test_what_is_said_in_the_session_of_the_flow_may_be_written_later() -> None:
    sink, flow = Sink(), uuid.uuid4()
    run = DatabaseHistory(Session, sink, uuid.uuid4(), flow, at_once=False)
    run.add(message("later", str(flow)))
    run.flush()
    assert ([row["text"] for row in sink.deferred], sink.written) == (["later"], [])


def test_a_session_is_found_by_the_name_that_was_stored_shorter(history: Histories) -> None:
    name = "a\x00b" + "x" * 2000
    run = history()
    run.add(message("hello", name))
    assert [found.text for found in run.load(name)] == ["hello"]
