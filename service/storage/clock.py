"""What time it is where rows of several hosts are compared."""

from __future__ import annotations

from collections.abc import Callable
from time import time

from sqlalchemy import ColumnElement, Engine, Float, cast, func, literal


def seconds_at(engine: Engine, clock: Callable[[], float] | None = None) -> ColumnElement[float]:
    """Return this instant in seconds since 1970, as a part of one statement.

    On PostgreSQL it is the database's own time, so that hosts whose clocks differ agree on what has ended. SQLite is
    asked by one machine only.

    Args:
        engine: the database.
        clock: what tests bring instead.
    """
    if clock is None and engine.dialect.name == "postgresql":
        return cast(func.extract("epoch", func.statement_timestamp()), Float(53))
    return literal((clock or time)(), Float(53))
