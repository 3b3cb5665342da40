"""A key as it is checked at each request: looked up by its digest, with its owner and its rights."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, bindparam, select
from sqlalchemy.orm import Session

from service.domain.identity import OPTINS, Account, Identity
from service.domain.permissions import Rate, Rights, rights_from
from service.storage.keys import ApiKey
from service.storage.statements import Lookup
from service.storage.users import User

RIGHTS_COLUMNS = ("scopes", "flows", "networks", "rate_requests", "rate_seconds", "max_parallel")


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What a check of a key needs to know; safe to keep, for it holds no key."""

    id: uuid.UUID
    is_active: bool
    expires_at: datetime | None
    account: Account
    rights: Rights | None = None
    #: Of whoever sends the key.
    identity: Identity = field(init=False, repr=False)

    def __post_init__(self) -> None:
        of_sender = Identity(self.account, "key", self.id, self.rights, self.expires_at)
        object.__setattr__(self, "identity", of_sender)

    def is_good(self, now: datetime) -> bool:
        """True when the key may be used at this instant."""
        return self.is_active and self.account.is_active and (self.expires_at is None or now < self.expires_at)

    def fault(self, now: datetime) -> str | None:
        """Why the key may not be used, for the audit trail; None: it may."""
        if not self.is_active:
            return "disabled"
        if not self.account.is_active:
            return "owner deactivated"
        return "expired" if not self.is_good(now) else None


_LOOKUP = (
    select(ApiKey.id, ApiKey.is_active, ApiKey.expires_at, ApiKey.scopes, ApiKey.flows, ApiKey.networks,
           ApiKey.rate_requests, ApiKey.rate_seconds, ApiKey.max_parallel, ApiKey.former_until,
           User.id.label("uid"), User.username, User.profile_image, User.is_active.label("user_active"),
           User.is_superuser, User.created_at, User.updated_at, User.last_login_at, User.optins)
    .join(User, User.id == ApiKey.user_id)
)  # fmt: skip
_BY_DIGEST = Lookup(_LOOKUP.where(ApiKey.digest == bindparam("value")))
_BY_FORMER_DIGEST = Lookup(_LOOKUP.where(ApiKey.former_digest == bindparam("value")))
_BY_ID = Lookup(_LOOKUP.where(ApiKey.id == bindparam("value")))


def find(where: Engine | Session, key_digest: str) -> KeyRecord | None:
    """Look a key and its owner up by the digest of its secret, or of the one before a rotation."""
    row = _BY_DIGEST.first(where, {"value": key_digest})
    if row is not None:
        return _record(row, row.expires_at)
    row = _BY_FORMER_DIGEST.first(where, {"value": key_digest})
    if row is None:
        return None
    # A former secret never outlives the key, whatever was changed since.
    return _record(row, min(end for end in (row.former_until, row.expires_at) if end is not None))


def find_by_id(session: Session, key_id: uuid.UUID) -> KeyRecord | None:
    """Look a key and its owner up by the key's id, for what goes on when its request is over."""
    row = _BY_ID.first(session, {"value": key_id})
    return None if row is None else _record(row, row.expires_at)


def _record(row: Any, expires_at: datetime | None) -> KeyRecord:
    account = Account(
        row.uid, row.username, row.profile_image, row.user_active, row.is_superuser, row.created_at, row.updated_at,
        row.last_login_at, **{name: bool(row.optins.get(name)) for name in OPTINS},
    )  # fmt: skip
    limited = any(getattr(row, name) is not None for name in RIGHTS_COLUMNS)
    return KeyRecord(row.id, row.is_active, expires_at, account, rights_of(row) if limited else None)


def rights_of(row: Any) -> Rights:
    """Read the rights that are stored with a key, from an ``ApiKey`` or a row with its columns."""
    rate = None if row.rate_requests is None else Rate(row.rate_requests, row.rate_seconds or 1)
    return rights_from(row.scopes, row.flows, row.networks, rate, row.max_parallel)
