"""How often keys were used and flows were run, by day and by key."""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.domain import keys
from service.storage.flows import Flow
from service.storage.keys import ApiKey, KeyUsage
from service.storage.runs import RunRow

MOST_DAYS = 366


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
    """What one day, key or flow comes to. Times are milliseconds, tokens None where no provider told."""

    name: str
    requests: int = 0
    #: Answers of 400 and more.
    refused: int = 0
    runs: int = 0
    failed: int = 0
    tokens: int | None = None
    _times: list[int] = field(default_factory=list, repr=False)

    def add(self, duration: int, outcome: str, tokens: int | None) -> None:
        """Count one run."""
        self.runs += 1
        self.failed += outcome == "failed"
        self._times.append(duration)
        if tokens is not None:
            self.tokens = (self.tokens or 0) + tokens

    def time(self, percent: int) -> int | None:
        """The run time that so many percent of the runs stayed within (nearest rank); None: no run."""
        if not self._times:
            return None
        return sorted(self._times)[max(0, math.ceil(len(self._times) * percent / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Report:
    """A user's last days, each of them, the oldest first; the keys and the flows, the busiest first."""

    total: Line
    days: list[Line]
    keys: list[Line]
    flows: list[Line]


def of_owner(session: Session, owner_id: uuid.UUID, days: int, now: datetime) -> Report:
    """Return what a user's keys and flows did.

    Args:
        session: to read from.
        owner_id: whose.
        days: how many (UTC), today included.
        now: what today is.
    """
    first = now.date() - timedelta(days=days - 1)
    total = Line("All")
    by_day = {(first + timedelta(days=number)): Line(str(first + timedelta(days=number))) for number in range(days)}
    rows = session.execute(select(ApiKey.id, ApiKey.name).where(ApiKey.user_id == owner_id))
    by_key: dict[uuid.UUID | None, Line] = {row.id: Line(row.name or "without a name") for row in rows}
    flow_names = session.execute(select(Flow.id, Flow.name).where(Flow.user_id == owner_id))
    by_flow = {row.id: Line(row.name) for row in flow_names}
    answers = (
        select(KeyUsage.key_id, KeyUsage.day, KeyUsage.status, func.sum(KeyUsage.count).label("times"))
        .join(ApiKey, ApiKey.id == KeyUsage.key_id)
        .where(ApiKey.user_id == owner_id, KeyUsage.day >= first)
        .group_by(KeyUsage.key_id, KeyUsage.day, KeyUsage.status)
    )
    for one in session.execute(answers):
        # A key that was made meanwhile is in no list yet.
        for line in filter(None, (total, by_day.get(one.day), by_key.get(one.key_id))):
            line.requests += int(one.times)
            line.refused += int(one.times) if one.status >= 400 else 0
    since = datetime.combine(first, datetime.min.time(), now.tzinfo)
    runs = select(RunRow.flow_id, RunRow.key_id, RunRow.started_at, RunRow.duration, RunRow.outcome,
                  (RunRow.input_tokens + RunRow.output_tokens).label("tokens"))  # fmt: skip
    for run in session.execute(runs.where(RunRow.user_id == owner_id, RunRow.started_at >= since)):
        if run.key_id not in by_key:
            by_key[run.key_id] = Line("deleted key" if run.key_id else "playground")
        day, flow = by_day.get(run.started_at.date()), by_flow.get(run.flow_id)
        for line in filter(None, (total, day, by_key[run.key_id], flow)):
            line.add(run.duration, run.outcome, run.tokens)
    busy = [sorted((line for line in lines if line.requests or line.runs), key=_busiest, reverse=True)
            for lines in (by_key.values(), by_flow.values())]  # fmt: skip
    return Report(total, list(by_day.values()), *busy)


def _busiest(line: Line) -> int:
    return line.requests + line.runs
