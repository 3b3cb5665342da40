"""Counters of limits that hold over all workers and hosts of one database.

Worth nothing after a crash, so PostgreSQL keeps them in unlogged tables: counting costs no disk write.
"""

from __future__ import annotations

from sqlalchemy import Float, String
from sqlalchemy.orm import Mapped, mapped_column

from service.storage.base import Base


class LimitWindow(Base):
    """How often something happened in a window that has begun."""

    __tablename__ = "limit_window"

    subject: Mapped[str] = mapped_column(String(200), primary_key=True)
    #: Seconds since 1970 at which the window is over.
    ends: Mapped[float] = mapped_column(Float(53), index=True)
    count: Mapped[int]


class LimitLease(Base):
    """One of the things that go on at once; it ends by itself when whoever holds it has died."""

    __tablename__ = "limit_lease"

    token: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject: Mapped[str] = mapped_column(String(200), index=True)
    #: Seconds since 1970.
    ends: Mapped[float] = mapped_column(Float(53))
