"""Uploaded files."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, deferred, mapped_column

from service.storage.base import Base, Identified, utc_now


class UploadedFileRow(Identified, Base):
    """A file of a user, its content included.

    It lies in the database on purpose: two hosts on one PostgreSQL see the same files, a backup holds them, and no
    name that a client sends ever becomes a path.
    """

    __tablename__ = "file"
    __table_args__ = (UniqueConstraint("user_id", "reference"),)

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    #: NULL: belongs to the user and to no flow.
    flow_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("flow.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(255))
    #: What clients and flows call it: ``<flow or user id>/<name>``.
    reference: Mapped[str] = mapped_column(String(600))
    #: Bytes.
    size: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[bytes] = deferred(mapped_column(LargeBinary, nullable=False))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)
