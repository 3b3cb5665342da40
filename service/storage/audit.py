"""The audit trail."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from service.storage.base import Base, utc_now


class AuditEvent(Base):
    """Who did what to which thing, from where. The database refuses to change or delete a row (migration 0003).

    Names are copied and nothing refers to other tables: an event outlives the user and the key it speaks of.
    """

    __tablename__ = "audit_event"
    __table_args__ = (
        Index(None, "action", "id"),
        Index(None, "actor_id", "action", "at"),
        Index(None, "subject_id", "id"),
    )

    #: Grows; what pages continue from.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=utc_now, index=True)
    action: Mapped[str] = mapped_column(String(40))
    #: "done" or "refused".
    outcome: Mapped[str] = mapped_column(String(10))
    #: NULL: nobody who is known.
    actor_id: Mapped[uuid.UUID | None]
    actor_name: Mapped[str | None] = mapped_column(String(150))
    #: How the actor was known: "key", "session", "policy", "cli", "boot", "anonymous".
    via: Mapped[str] = mapped_column(String(12))
    #: The key that was used, NULL: none.
    key_id: Mapped[uuid.UUID | None]
    #: NULL: not over a network.
    address: Mapped[str | None] = mapped_column(String(64))
    #: What kind of thing it was done to: "key", "user", "variable", "server"; NULL: to none.
    subject_type: Mapped[str | None] = mapped_column(String(20))
    subject_id: Mapped[uuid.UUID | None]
    subject_name: Mapped[str | None] = mapped_column(String(255))
    #: What changed, or why it was refused. Never a value that somebody keeps secret.
    details: Mapped[dict[str, Any]]
