"""Chat messages."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from service.storage.base import Base, Document


class StoredChatMessage(Base):
    """One line of a conversation with a flow."""

    __tablename__ = "message"
    __table_args__ = (
        Index(None, "flow_id", "session_id", "timestamp"),
        Index(None, "user_id", "timestamp"),
    )

    #: Made by the run: clients see it in the stream before it is stored.
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    flow_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("flow.id", ondelete="CASCADE"))
    session_id: Mapped[str] = mapped_column(String(1000))
    context_id: Mapped[str] = mapped_column(String(1000))
    sender: Mapped[str] = mapped_column(String(255))
    sender_name: Mapped[str] = mapped_column(String(1000))
    text: Mapped[str] = mapped_column(Text)
    #: References of uploaded files.
    files: Mapped[list[str]]
    timestamp: Mapped[datetime]
    error: Mapped[bool]
    edit: Mapped[bool]
    category: Mapped[str] = mapped_column(String(64))
    properties: Mapped[dict[str, Any]]
    content_blocks: Mapped[list[Any]] = mapped_column(Document)
    session_metadata: Mapped[dict[str, Any] | None] = mapped_column(Document)
    #: Milliseconds; NULL: nobody measured it.
    duration: Mapped[int | None]
