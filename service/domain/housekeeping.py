"""Rows that nobody can ask for any more, or that mean nothing any more: they would gather for ever."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

from service.domain.usage import MOST_DAYS
from service.storage.keys import ApiKey, KeyUsage
from service.storage.limits import LimitLease
from service.storage.mcp import McpCall, McpStream
from service.storage.runs import RunRow
from service.storage.users import SessionToken, User

#: Rows of each kind that one step deletes, so that others can write in between.
STEP = 500
#: What ends by another host's clock is left alone for this long.
_GRACE = timedelta(hours=1)


def find(session: Session, now: datetime) -> list[tuple[type[Any], list[Any]]]:
    """Return a few rows of each kind that are over, by their keys.

    Runs and answers are kept for as long as a report can reach back (``usage.MOST_DAYS``), login tokens until they
    expire, and what a killed process has left open for an hour after its end.
    """
    over, ended = now - timedelta(days=MOST_DAYS), (now - _GRACE).timestamp()
    found = [(model, list(session.execute(query.limit(STEP)))) for model, query in _queries(over, now, ended)]
    return [(model, rows) for model, rows in found if rows]


def remove(session: Session, found: list[tuple[type[Any], list[Any]]]) -> None:
    """Delete what ``find`` has found, and nobody else holds at the moment."""
    for model, rows in found:
        key = model.__table__.primary_key.columns
        # Whoever holds one may want another that is already ours: then neither would get any further.
        free = select(*key).where(tuple_(*key).in_([tuple(row) for row in rows])).with_for_update(skip_locked=True)
        session.execute(delete(model).where(tuple_(*key).in_(free)).execution_options(synchronize_session=False))


def _queries(over: datetime, now: datetime, ended: float) -> list[tuple[type[Any], Any]]:
    # By the owners, for that is what the indexes begin with.
    owners, keys = select(User.id), select(ApiKey.id)
    return [
        (RunRow, select(RunRow.id).where(RunRow.user_id.in_(owners), RunRow.started_at < over)),
        (KeyUsage, select(KeyUsage.key_id, KeyUsage.day, KeyUsage.status)
         .where(KeyUsage.key_id.in_(keys), KeyUsage.day < over.date())),
        (SessionToken, select(SessionToken.id).where(SessionToken.expires_at < now - _GRACE)),
        (McpStream, select(McpStream.id).where(McpStream.ends < ended)),
        (McpCall, select(McpCall.id).where(McpCall.ends < ended)),
        (LimitLease, select(LimitLease.token).where(LimitLease.ends < ended)),
    ]  # fmt: skip
