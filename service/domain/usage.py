"""How often a key was used, by day and status."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.domain import keys
from service.storage.keys import ApiKey, KeyUsage

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
