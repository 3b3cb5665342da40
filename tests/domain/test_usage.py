"""Reports: what the database adds up is what somebody would count by hand."""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.domain import usage
from service.domain.usage import Line, Report
from service.storage import ApiKey, Flow
from service.storage.runs import RunRow

NOW = datetime(2030, 3, 2, 12, tzinfo=UTC)
Make = Callable[..., list[RunRow]]


@pytest.fixture
def make(engine: Engine, owner: uuid.UUID) -> Make:
    """Store runs, by a user's keys and by a deleted one, of two flows, in the last 40 days."""

    def made(count: int, **changes: Any) -> list[RunRow]:
        chance = random.Random(7)
        with Session(engine, expire_on_commit=False) as session:
            keys = [ApiKey(name=name, user_id=owner, digest=name, prefix="sk-", length=9) for name in ("one", "two")]
            flows = [Flow(name=name, user_id=owner) for name in ("Echo", "Chat")]
            session.add_all([*keys, *flows])
            session.flush()
            runs = [
                RunRow(
                    **{
                        "user_id": owner, "flow_id": chance.choice(flows).id,
                        "key_id": chance.choice([None, keys[0].id, keys[1].id]), "duration": chance.randrange(50),
                        "started_at": NOW - timedelta(seconds=chance.randrange(40 * 86_400)),
                        "outcome": chance.choice(["done", "done", "failed", "cancelled"]),
                        "input_tokens": chance.choice([None, 2**33]), "output_tokens": 5,
                    } | changes
                )
                for _ in range(count)
            ]  # fmt: skip
            session.add_all(runs)
            session.commit()
        return runs

    return made


def report(engine: Engine, owner: uuid.UUID, days: int = 7) -> Report:
    with Session(engine) as session:
        return usage.of_owner(session, owner, days, NOW)


def counted(runs: Iterable[RunRow]) -> tuple[Any, ...]:
    """By hand: runs, failed, tokens, and both times by nearest rank."""
    found = list(runs)
    times = sorted(run.duration for run in found)
    tokens = [run.input_tokens + 5 for run in found if run.input_tokens is not None]
    ranks = [times[math.ceil(len(times) * percent / 100) - 1] if times else None for percent in (50, 95)]
    return len(found), sum(run.outcome == "failed" for run in found), sum(tokens) if tokens else None, *ranks


def told(line: Line) -> tuple[Any, ...]:
    return line.runs, line.failed, line.tokens, line.p50, line.p95


@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_runs_are_counted_as_a_whole_and_by_day(engine: Engine, owner: uuid.UUID, make: Make, count: int) -> None:
    runs = [run for run in make(count) if run.started_at.date() > (NOW - timedelta(days=7)).date()]
    found = report(engine, owner)
    assert told(found.total) == counted(runs)
    assert [line.name for line in found.days] == [f"2030-0{2 if day > 7 else 3}-{day:02}" for day in
                                                  (24, 25, 26, 27, 28, 1, 2)]  # fmt: skip
    for line in found.days:
        assert told(line) == counted(run for run in runs if str(run.started_at.date()) == line.name)


def test_runs_are_counted_by_key_and_by_flow(engine: Engine, owner: uuid.UUID, make: Make) -> None:
    runs, found = make(300), report(engine, owner, 90)
    with Session(engine) as session:
        keys = {key.name: key.id for key in session.query(ApiKey)} | {"playground": None}
        flows = {flow.name: flow.id for flow in session.query(Flow)}
    assert {line.name: told(line) for line in found.keys} == {
        name: counted(run for run in runs if run.key_id == key_id) for name, key_id in keys.items()
    }
    assert {line.name: told(line) for line in found.flows} == {
        name: counted(run for run in runs if run.flow_id == flow_id) for name, flow_id in flows.items()
    }
    assert [line.runs for line in found.keys] == sorted((line.runs for line in found.keys), reverse=True)


def test_runs_of_a_key_that_is_gone_have_a_line(engine: Engine, owner: uuid.UUID, make: Make) -> None:
    make(3, key_id=uuid.uuid4(), started_at=NOW)
    assert [(line.name, line.runs) for line in report(engine, owner).keys] == [("deleted key", 3)]


def test_a_report_reads_no_more_rows_for_more_runs(
    engine: Engine, owner: uuid.UUID, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(2000, started_at=NOW)
    with Session(engine) as session:
        execute, read = session.execute, []

        def counting(query: Any) -> list[Any]:
            rows = list(execute(query))
            read.append(len(rows))
            return rows

        monkeypatch.setattr(session, "execute", counting)
        usage.of_owner(session, owner, 7, NOW)
    assert 0 < sum(read) < 20
