"""Proof that the server has the right secret."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from service.storage.base import Base, utc_now


class SecretCheck(Base):
    """A known text encrypted with a secret, so that a wrong one is found at boot and not at first use."""

    __tablename__ = "secret_check"

    #: Names the secret without telling it; the same id stands in front of each ciphertext.
    key_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    ciphertext: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
