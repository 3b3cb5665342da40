"""API keys, and how often they are used."""

from __future__ import annotations

import uuid
from datetime import date, datetime

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from service.storage.base import Base, Document, Identified, utc_now


class ApiKey(Identified, Base):
    """An API key. Nothing here can be turned back into the key or used as one."""

    __tablename__ = "api_key"

    digest: Mapped[str] = mapped_column(String(64), unique=True)
    #: The first characters, shown in lists.
    prefix: Mapped[str] = mapped_column(String(8))
    #: How long the key is, so that a list can mask it at full length as Langflow does.
    length: Mapped[int]
    #: NULL: the owner gave no name.
    name: Mapped[str | None] = mapped_column(String(255))
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    #: NULL: never expires.
    expires_at: Mapped[datetime | None]
    #: NULL: not used yet.
    last_used_at: Mapped[datetime | None]
    total_uses: Mapped[int] = mapped_column(BigInteger, default=0)

    #: NULL: all that the owner may do; an empty list: nothing.
    scopes: Mapped[list[str] | None] = mapped_column(Document)
    #: Ids of flows. NULL: all of the owner's; an empty list: none.
    flows: Mapped[list[str] | None] = mapped_column(Document)
    #: CIDR. NULL: from anywhere; an empty list: from nowhere.
    networks: Mapped[list[str] | None] = mapped_column(Document)
    #: Requests in a window. NULL: no limit.
    rate_requests: Mapped[int | None]
    #: Seconds of that window; NULL exactly where ``rate_requests`` is.
    rate_seconds: Mapped[int | None]
    #: Runs at once. NULL: no limit.
    max_parallel: Mapped[int | None]

    #: NULL: never rotated.
    rotated_at: Mapped[datetime | None]
    #: Digest of the secret before the last rotation; NULL: there is none that still counts.
    former_digest: Mapped[str | None] = mapped_column(String(64), unique=True)
    #: When the former secret ends; NULL exactly where ``former_digest`` is.
    former_until: Mapped[datetime | None]
    #: Digest of the Idempotency-Key of the last rotation; NULL: it had none.
    rotation_digest: Mapped[str | None] = mapped_column(String(64))
    rotations: Mapped[int] = mapped_column(default=0)


class KeyUsage(Base):
    """How many requests with a key were answered with a status on a day (UTC)."""

    __tablename__ = "key_usage"

    key_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("api_key.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    status: Mapped[int] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
