"""API keys: made, listed, revoked and checked."""

from __future__ import annotations

import hashlib
import secrets
import uuid
import zlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.orm import Session

from service.domain.errors import Invalid, Rejected
from service.domain.identity import OPTINS, Account
from service.storage.keys import ApiKey
from service.storage.users import User

PREFIX = "sk-"
NAME_LENGTH = 255
#: What a list answers with at most in Langflow's own shape.
LIST_LIMIT = 1000

_RANDOM_LENGTH = 43
_CHECKSUM_LENGTH = 6
#: How long a key is at most.
LENGTH = len(PREFIX) + _RANDOM_LENGTH + 1 + _CHECKSUM_LENGTH
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What a check of a key needs to know; safe to keep, for it holds no key."""

    id: uuid.UUID
    is_active: bool
    expires_at: datetime | None
    account: Account

    def is_good(self, now: datetime) -> bool:
        """True when the key may be used at this instant."""
        return self.is_active and self.account.is_active and (self.expires_at is None or now < self.expires_at)


def generate() -> str:
    """Return a new key: ``sk-``, 32 random bytes, ``_`` and a checksum."""
    body = PREFIX + secrets.token_urlsafe(32)
    return f"{body}_{_checksum(body)}"


def digest(key: str) -> str:
    """Return the hex SHA-256 under which a key is stored and looked up.

    A slow hash protects passwords that people choose; these are 256 random bits.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def is_well_formed(key: str) -> bool:
    """Say whether a text can be a key at all, so that a typo or an attack costs no query.

    Keys made by Langflow have no checksum and stay valid.
    """
    if not key.startswith(PREFIX) or not _ALPHABET.issuperset(key):
        return False
    if len(key) == len(PREFIX) + _RANDOM_LENGTH:
        return True
    body, mark, checksum = key[: -_CHECKSUM_LENGTH - 1], key[-_CHECKSUM_LENGTH - 1 :][:1], key[-_CHECKSUM_LENGTH:]
    return len(body) == len(PREFIX) + _RANDOM_LENGTH and mark == "_" and _checksum(body) == checksum


def masked(row: ApiKey) -> str:
    """Return the key as lists show it: the first characters, then stars to its full length."""
    return row.prefix + "*" * (row.length - len(row.prefix))


def create(
    session: Session, user_id: uuid.UUID, name: str | None, expires_at: datetime | None, now: datetime
) -> tuple[ApiKey, str]:
    """Make a key; returns the row and the key itself, which cannot be had again.

    Raises:
        Invalid: the name is too long, or the date is over.
    """
    Invalid.if_longer(name or "", NAME_LENGTH, "body", "name")
    if expires_at is not None and expires_at <= now:
        raise Invalid.field("Value error, expires_at is in the past", "body", "expires_at")
    key = generate()
    row = ApiKey(
        digest=digest(key), prefix=key[:8], length=len(key), name=name, user_id=user_id, expires_at=expires_at,
        created_at=now,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row, key


def list_of(session: Session, user_id: uuid.UUID) -> tuple[int, list[ApiKey]]:
    """Return how many keys a user has, and the newest of them, oldest first."""
    mine = ApiKey.user_id == user_id
    total = session.scalar(select(func.count()).select_from(ApiKey).where(mine)) or 0
    newest = session.scalars(
        select(ApiKey).where(mine).order_by(ApiKey.created_at.desc(), ApiKey.id).limit(LIST_LIMIT)
    )
    return total, list(newest)[::-1]


def revoke(session: Session, user_id: uuid.UUID, key_id: uuid.UUID) -> None:
    """Delete a key of the user; it is refused from the next request on, on every worker.

    Raises:
        Rejected: there is no such key, or it is somebody else's (Langflow answers 400 here).
    """
    gone = session.execute(delete(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == user_id).returning(ApiKey.id))
    if gone.scalar() is None:
        raise Rejected("API Key not found")


_LOOKUP = (
    select(ApiKey.id, ApiKey.is_active, ApiKey.expires_at, User.id.label("uid"), User.username, User.profile_image,
           User.is_active.label("user_active"), User.is_superuser, User.created_at, User.updated_at,
           User.last_login_at, User.optins)
    .join(User, User.id == ApiKey.user_id)
)  # fmt: skip


def find(connection: Connection, key_digest: str) -> KeyRecord | None:
    """Look a key and its owner up, in one query by the unique digest."""
    row = connection.execute(_LOOKUP.where(ApiKey.digest == key_digest)).first()
    if row is None:
        return None
    account = Account(
        row.uid, row.username, row.profile_image, row.user_active, row.is_superuser, row.created_at, row.updated_at,
        row.last_login_at, **{name: bool(row.optins.get(name)) for name in OPTINS},
    )  # fmt: skip
    return KeyRecord(row.id, row.is_active, row.expires_at, account)


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    text = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, rest = divmod(number, 62)
        text = _BASE62[rest] + text
    return text
