"""Runs of flows: how long each took and how it ended."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.storage.base import Base, Identified


class RunRow(Identified, Base):
    """One run; nothing of what was said in it."""

    __tablename__ = "run"
    __table_args__ = (Index(None, "user_id", "started_at"),)

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    flow_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("flow.id", ondelete="CASCADE"), index=True)
    #: NULL: without a key. Refers to nothing: a run outlives its key.
    key_id: Mapped[uuid.UUID | None]
    started_at: Mapped[datetime]
    #: Milliseconds.
    duration: Mapped[int] = mapped_column(BigInteger)
    #: "done", "failed", or "cancelled": nobody waited for the end.
    outcome: Mapped[str] = mapped_column(String(10))
    #: NULL: no model told.
    input_tokens: Mapped[int | None] = mapped_column(BigInteger)
    output_tokens: Mapped[int | None] = mapped_column(BigInteger)
