"""Points in time: what is read of one that comes from outside."""

from __future__ import annotations

from datetime import UTC, datetime


def in_utc(value: datetime) -> datetime:
    """Return an instant in UTC, which is also what one without a zone is taken for.

    Raises:
        ValueError: it lies on the first or the last day of all, in a zone where that is another day.
    """
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the first or the last day of all, in a zone where it is another one") from None
