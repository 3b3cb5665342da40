"""Runs in the background."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, deferred, mapped_column

from service.storage.base import Base, Document, Identified, utc_now


class Job(Identified, Base):
    """A run that nobody waits for. This row alone says how it stands: a broker's message only says where to look."""

    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("user_id", "idempotency_key"),
        Index(None, "status", "take_at"),
        Index(None, "user_id", "created_at"),
    )

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    flow_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("flow.id", ondelete="CASCADE"), index=True)
    #: NULL: without a key. Refers to nothing: a job outlives its key, and then does not run.
    key_id: Mapped[uuid.UUID | None]
    #: The caller's own name for this start; NULL: none.
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    #: "queued", "running", "done", "failed" or "cancelled"; the last three are final.
    status: Mapped[str] = mapped_column(String(10))
    #: Ciphertext of what was asked: inputs, tweaks and the values of headers. NULL: it has ended, so nobody needs it.
    request: Mapped[str | None] = deferred(mapped_column(Text))
    #: What ``/run`` would have answered; NULL unless done. Large, so loaded when asked for.
    result: Mapped[dict[str, Any] | None] = deferred(mapped_column(Document))
    #: ``{"kind", "message"}``; NULL unless failed.
    error: Mapped[dict[str, Any] | None]
    #: How often somebody has begun to run it.
    attempts: Mapped[int] = mapped_column(default=0)
    #: Of whoever runs it, a new one for each attempt; NULL exactly while nobody does.
    claim: Mapped[uuid.UUID | None] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    #: While queued: not to be taken up before.
    take_at: Mapped[datetime] = mapped_column(default=utc_now)
    #: NULL: not yet.
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None] = mapped_column(index=True)
    #: The last sign of life of whoever runs it; NULL: nobody has yet.
    heartbeat_at: Mapped[datetime | None]
