"""Users and the login tokens of their sessions."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from service.storage.base import Base, Identified, utc_now


class User(Identified, Base):
    """Somebody who can sign in and own things."""

    __tablename__ = "user"

    username: Mapped[str] = mapped_column(String(150))
    #: The name in one normal form, so that "alice" and "ALICE" cannot both exist.
    username_key: Mapped[str] = mapped_column(String(300), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(default=False)
    is_superuser: Mapped[bool] = mapped_column(default=False)
    profile_image: Mapped[str | None] = mapped_column(String(255))
    optins: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)
    #: NULL: has never signed in; an inactive account is then still waiting for approval.
    last_login_at: Mapped[datetime | None]


class SessionToken(Identified, Base):
    """One login token, access or refresh; only its digest is kept."""

    __tablename__ = "session_token"

    digest: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(10))
    #: Shared by all tokens that descend from one sign-in; a used refresh token ends the whole family.
    family: Mapped[uuid.UUID] = mapped_column(index=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    #: NULL: not used yet. A refresh token is good for one use.
    used_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)
