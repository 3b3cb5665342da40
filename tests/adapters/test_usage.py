"""Counts of key uses: none lost, none counted twice."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from service.adapters.usage import UsageCounter
from service.domain import keys
from service.domain.audit import BOOT
from service.storage import ApiKey, KeyUsage, User

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def key_id(engine: Engine) -> uuid.UUID:
    return new_key(engine)


@pytest.fixture
def counter(engine: Engine) -> Iterator[UsageCounter]:
    made = UsageCounter(engine)
    yield made
    made.close()


def new_key(engine: Engine) -> uuid.UUID:
    with Session(engine) as session:
        owner = session.scalars(select(User.id)).one()
        row, _ = keys.create(session, BOOT, owner, keys.NewKey(None, None), datetime.now(UTC))
        session.commit()
        return row.id


def uses(engine: Engine, key_id: uuid.UUID) -> tuple[int, datetime | None]:
    with Session(engine) as session:
        row = session.get_one(ApiKey, key_id)
        return row.total_uses, row.last_used_at


def together(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_key_that_was_not_used_has_no_uses(engine: Engine, key_id: uuid.UUID) -> None:
    assert uses(engine, key_id) == (0, None)


def test_uses_are_written_at_a_flush(engine: Engine, counter: UsageCounter, key_id: uuid.UUID) -> None:
    counter.record(key_id, NOW)
    counter.record(key_id, NOW + timedelta(seconds=5))
    counter.flush()
    assert uses(engine, key_id) == (2, NOW + timedelta(seconds=5))


def test_uses_are_written_at_the_end(engine: Engine, counter: UsageCounter, key_id: uuid.UUID) -> None:
    counter.record(key_id, NOW)
    counter.close()
    assert uses(engine, key_id)[0] == 1


def test_a_second_flush_writes_nothing_again(engine: Engine, counter: UsageCounter, key_id: uuid.UUID) -> None:
    counter.record(key_id, NOW)
    counter.flush()
    counter.flush()
    assert uses(engine, key_id)[0] == 1


def test_counts_are_exact_over_threads_and_flushes(engine: Engine, counter: UsageCounter, key_id: uuid.UUID) -> None:
    def work() -> None:
        for number in range(500):
            counter.record(key_id, NOW)
            if number % 100 == 0:
                counter.flush()

    together(8, work)
    counter.close()
    assert uses(engine, key_id)[0] == 4000


def test_counts_are_exact_over_counters(engine: Engine, key_id: uuid.UUID) -> None:
    other = new_key(engine)

    def work() -> None:
        own = UsageCounter(engine)
        for _ in range(20):
            own.record(key_id, NOW)
            own.record(other, NOW)
            own.flush()
        own.close()

    together(4, work)
    assert (uses(engine, key_id)[0], uses(engine, other)[0]) == (80, 80)


def test_uses_are_put_back_when_the_database_fails(engine: Engine, counter: UsageCounter, key_id: uuid.UUID) -> None:
    counter.record(key_id, NOW)
    rename(engine, "api_key", "out_of_reach")
    counter.flush()
    rename(engine, "out_of_reach", "api_key")
    counter.record(key_id, NOW + timedelta(seconds=1))
    counter.flush()
    assert uses(engine, key_id) == (2, NOW + timedelta(seconds=1))


def test_the_use_of_a_key_that_is_gone_hurts_nobody(engine: Engine, counter: UsageCounter, key_id: uuid.UUID) -> None:
    counter.record(uuid.uuid4(), NOW)
    counter.record(key_id, NOW)
    counter.flush()
    assert uses(engine, key_id)[0] == 1


def test_answers_are_counted_by_day_and_status(engine: Engine, counter: UsageCounter, key_id: uuid.UUID) -> None:
    for status in (200, 200, 404):
        counter.answered(key_id, NOW.date(), status)
    counter.flush()
    counter.answered(key_id, NOW.date(), 200)
    counter.flush()
    assert answers(engine, key_id) == {(NOW.date(), 200): 3, (NOW.date(), 404): 1}


def test_an_answer_alone_is_no_use(engine: Engine, counter: UsageCounter, key_id: uuid.UUID) -> None:
    counter.answered(key_id, NOW.date(), 200)
    counter.flush()
    assert uses(engine, key_id) == (0, None)


def test_the_latest_use_stays_the_latest(engine: Engine, counter: UsageCounter, key_id: uuid.UUID) -> None:
    counter.record(key_id, NOW)
    counter.flush()
    counter.record(key_id, NOW - timedelta(hours=1))
    counter.flush()
    assert uses(engine, key_id) == (2, NOW)


def answers(engine: Engine, key_id: uuid.UUID) -> dict[tuple[date, int], int]:
    with Session(engine) as session:
        rows = session.scalars(select(KeyUsage).where(KeyUsage.key_id == key_id))
        return {(row.day, row.status): row.count for row in rows}


def rename(engine: Engine, name: str, to: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {name} RENAME TO {to}"))
