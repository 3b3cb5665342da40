"""How often keys were used and flows were run, by day and by key."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal_column, select
from sqlalchemy.orm import Session

from service.domain import keys
from service.storage.flows import Flow
from service.storage.keys import ApiKey, KeyUsage
from service.storage.runs import RunRow
from service.storage.types import UtcDay

MOST_DAYS = 366
#: Keys and flows that a report names.
MOST_LINES = 200


@dataclass(frozen=True, slots=True)
class Day:
    """The answers of one day (UTC), by status."""

    date: date
    total: int
    statuses: dict[int, int]


def report(session: Session, owner_id: uuid.UUID, key_id: uuid.UUID, days: int,
           now: datetime) -> tuple[ApiKey, list[Day]]:  # fmt: skip
    """Return a key of the owner and its days, the oldest first; a day without a request is left out.

    Args:
        session: to read from.
        owner_id: whose key.
        key_id: which.
        days: how many, today included.
        now: what today is.

    Raises:
        NotFound: none such, or somebody else's.
    """
    row = keys.get(session, owner_id, key_id)
    since = (now - timedelta(days=days - 1)).date()
    query = select(KeyUsage).where(KeyUsage.key_id == key_id, KeyUsage.day >= since)
    by_day: dict[date, dict[int, int]] = defaultdict(dict)
    for one in session.scalars(query.order_by(KeyUsage.day, KeyUsage.status)):
        by_day[one.day][one.status] = one.count
    return row, [Day(day, sum(statuses.values()), statuses) for day, statuses in by_day.items()]


@dataclass(slots=True)
class Line:
    """What one day, key or flow comes to. Times are milliseconds that so many percent of the runs stayed within."""

    name: str
    requests: int = 0
    #: Answers of 400 and more.
    refused: int = 0
    runs: int = 0
    failed: int = 0
    #: None: no provider told.
    tokens: int | None = None
    #: Nearest rank; None: no run.
    p50: int | None = None
    p95: int | None = None
    #: Of the key or the flow; None: of a day, of runs without a key, or of a key that is gone.
    id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A user's last days, each of them, the oldest first; the keys and the flows, the busiest first."""

    total: Line
    days: list[Line]
    keys: list[Line]
    flows: list[Line]


def of_owner(session: Session, owner_id: uuid.UUID, days: int, now: datetime) -> Report:
    """Return what a user's keys and flows did; the database adds up, however many runs there were.

    Args:
        session: to read from.
        owner_id: whose.
        days: how many (UTC), today included.
        now: what today is.
    """
    first = now.date() - timedelta(days=days - 1)
    mine = and_(
        RunRow.user_id == owner_id, RunRow.started_at >= datetime.combine(first, datetime.min.time(), now.tzinfo)
    )
    total = Line("All")
    by_day = {text: Line(text) for text in (str(first + timedelta(days=number)) for number in range(days))}
    names = session.execute(select(ApiKey.id, ApiKey.name).where(ApiKey.user_id == owner_id))
    by_key: dict[uuid.UUID | None, Line] = {row.id: Line(row.name or "without a name", id=row.id) for row in names}
    names = session.execute(select(Flow.id, Flow.name).where(Flow.user_id == owner_id))
    by_flow: dict[uuid.UUID | None, Line] = {row.id: Line(row.name, id=row.id) for row in names}
    answers = (
        select(KeyUsage.key_id, KeyUsage.day, KeyUsage.status, func.sum(KeyUsage.count).label("times"))
        .join(ApiKey, ApiKey.id == KeyUsage.key_id)
        .where(ApiKey.user_id == owner_id, KeyUsage.day >= first)
        .group_by(KeyUsage.key_id, KeyUsage.day, KeyUsage.status)
    )
    for one in session.execute(answers):
        # A key that was made meanwhile is in no list yet.
        for line in filter(None, (total, by_day.get(str(one.day)), by_key.get(one.key_id))):
            line.requests += int(one.times)
            line.refused += int(one.times) if one.status >= 400 else 0
    for runs in _runs(session, mine, literal_column("1")):
        _add(total, runs)
    for runs in _runs(session, mine, UtcDay(RunRow.started_at)):
        if runs.of in by_day:
            _add(by_day[runs.of], runs)
    for runs in _runs(session, mine, RunRow.key_id):
        _add(by_key.setdefault(runs.of, Line("deleted key" if runs.of else "playground")), runs)
    for runs in _runs(session, mine, RunRow.flow_id):
        if runs.of in by_flow:
            _add(by_flow[runs.of], runs)
    return Report(total, list(by_day.values()), _busiest(by_key.values()), _busiest(by_flow.values()))


def _runs(session: Session, mine: ColumnElement[bool], by: Any) -> Iterable[Any]:
    """What runs come to, by a column: a row for each of its values."""
    tokens = RunRow.input_tokens + RunRow.output_tokens
    place = func.row_number().over(partition_by=by, order_by=RunRow.duration)
    runs = func.count().over(partition_by=by)
    one = select(
        by.label("of"), RunRow.duration, RunRow.outcome, tokens.label("tokens"), place.label("place"),
        runs.label("runs"),
    ).where(mine).subquery()  # fmt: skip
    first, second = (
        func.max(case((one.c.place == (one.c.runs * percent + 99) // 100, one.c.duration))) for percent in (50, 95)
    )
    failed = func.sum(case((one.c.outcome == "failed", 1), else_=0))
    return session.execute(select(
        one.c.of, one.c.runs, failed.label("failed"), func.sum(one.c.tokens).label("tokens"), first.label("p50"),
        second.label("p95"),
    ).group_by(one.c.of, one.c.runs))  # fmt: skip


def _add(line: Line, runs: Any) -> None:
    line.runs, line.failed, line.p50, line.p95 = runs.runs, int(runs.failed), runs.p50, runs.p95
    line.tokens = None if runs.tokens is None else int(runs.tokens)


def _busiest(lines: Iterable[Line]) -> list[Line]:
    return sorted((line for line in lines if line.requests or line.runs), key=_uses, reverse=True)[:MOST_LINES]


def _uses(line: Line) -> int:
    return line.requests + line.runs
