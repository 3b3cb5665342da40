"""API keys."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from service.storage.base import Base, Identified, utc_now


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
