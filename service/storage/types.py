"""Column types."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, DateTime, String, Uuid
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from service.instants import in_utc


class UTCDateTime(TypeDecorator[datetime]):
    """An instant. Takes any offset, stores UTC, gives back UTC, on every database alike.

    SQLite has no zone: without this an offset is dropped and a key lives hours too long.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any]:
        return _text_of_utc if dialect.name == "sqlite" else _with_zone_in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return in_utc(value)


def _with_zone_in_utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("an instant needs a zone")
    return in_utc(value)


def _text_of_utc(value: datetime | None) -> str | None:
    """As SQLAlchemy writes instants into SQLite, where they are compared as texts."""
    utc = _with_zone_in_utc(value)
    return None if utc is None else utc.replace(tzinfo=None).isoformat(" ", "microseconds")


class UuidText(TypeDecorator[str]):
    """A UUID's column, read as text: whoever only shows it needs no object, which is slow to make of 32 digits."""

    impl = Uuid
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], str]:
        return str if dialect.supports_native_uuid else _with_hyphens


class Names(TypeDecorator[list[str]]):
    """A JSON column of short lists of texts: of many rows, most hold the same few."""

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], list[str]]:
        return _list_of if dialect.name == "sqlite" else list


def _with_hyphens(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _list_of(text: str) -> list[str]:
    return list(_loaded(text))


@lru_cache(maxsize=1024)
def _loaded(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


class UtcDay(FunctionElement[str]):
    """The day of an instant's column in UTC, as ``2026-11-27``."""

    type = String()
    inherit_cache = True


@compiles(UtcDay, "sqlite")
def _day_of_text(element: UtcDay, compiler: SQLCompiler, **rest: Any) -> str:
    return f"substr({compiler.process(element.clauses, **rest)}, 1, 10)"


@compiles(UtcDay, "postgresql")
def _day_of_instant(element: UtcDay, compiler: SQLCompiler, **rest: Any) -> str:
    return f"to_char({compiler.process(element.clauses, **rest)} AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
