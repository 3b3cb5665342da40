"""The declarative base: one metadata, whose constraints have predictable names from the first migration."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, MetaData, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.storage.types import UTCDateTime

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

#: A JSON document, kept as it came: PostgreSQL's JSONB would reorder keys and refuse NUL escapes.
Document = JSON(none_as_null=True)


class Base(DeclarativeBase):
    """What every model shares."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UTCDateTime(),
        uuid.UUID: Uuid(),
        dict[str, Any]: Document,
        list[str]: Document,
    }


class Identified:
    """A row with a random id."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)


def is_storable(text: str) -> bool:
    """Say whether every database can hold a text: PostgreSQL takes no NUL, and nobody half of a surrogate pair."""
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def utc_now() -> datetime:
    """Return this instant, with its zone."""
    return datetime.now(UTC)
