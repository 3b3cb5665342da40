"""API keys: made, declared, listed, changed and revoked."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, func, or_, select
from sqlalchemy.orm import Session

from service.chance import new_uuid
from service.domain import audit, key_text
from service.domain.audit import Action, Actor, Subject
from service.domain.errors import Conflict, Invalid, NotFound, Rejected
from service.domain.key_records import RIGHTS_COLUMNS, rights_of
from service.domain.permissions import (
    MOST_PARALLEL,
    MOST_REQUESTS,
    MOST_SECONDS,
    Rights,
    check_grant,
)
from service.storage.flows import Flow
from service.storage.keys import ApiKey
from service.storage.statements import Insertion

NAME_LENGTH = 255
#: What a list answers with at most in Langflow's own shape.
LIST_LIMIT = 1000


_KEYS = Insertion(
    ApiKey,
    ["id", "digest", "prefix", "length", "name", "user_id", "expires_at", "created_at", "is_active", "total_uses",
     "rotations", *RIGHTS_COLUMNS],
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeyRules:
    """What the operator allows, and the secret that rotations derive keys from."""

    #: How long a secret lives at most; None: for ever.
    longest_life: timedelta | None = None
    #: How long the former secret may live on after a rotation.
    longest_grace: timedelta = timedelta(days=7)
    #: Unused for so long: stale.
    stale_after: timedelta = timedelta(days=90)
    rotation_secret: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a new key is given."""

    name: str | None = None
    expires_at: datetime | None = None
    rights: Rights = field(default_factory=Rights)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is stored of a key's text."""

    digest: str
    prefix: str
    length: int

    @classmethod
    def of(cls, key: str) -> StoredKey:
        """From the key itself."""
        return cls(key_text.digest(key), key[: key_text.SHOWN], len(key))

    @classmethod
    def of_digest(cls, digest: str) -> StoredKey:
        """From its digest alone: lists can show nothing of it but how keys begin."""
        return cls(digest, key_text.PREFIX, key_text.PLAIN_LENGTH)


def masked(row: ApiKey) -> str:
    """Return the key as lists show it: the first characters, then stars to its full length."""
    return row.prefix + "*" * (row.length - len(row.prefix))


def create(
    where: Session | Connection,
    by: Actor,
    owner_id: uuid.UUID,
    new: NewKey,
    now: datetime,
    rules: KeyRules = KeyRules(),
) -> tuple[Any, str]:
    """Make a key; returns what was stored, by the names of ``ApiKey``, and the key itself, which cannot be had again.

    Raises:
        Invalid: the name is too long, the date is over or too far, a right cannot be read, a flow is not the owner's.
        Forbidden: it would be able to do more than the key that asks for it.
    """
    Invalid.if_longer(new.name or "", NAME_LENGTH, "body", "name")
    expires_at = _checked_expiry(new.expires_at, now, now, rules)
    _check_rights(where, owner_id, new.rights)
    check_grant(by.rights, by.expires_at, new.rights, expires_at)
    key = key_text.generate()
    stored = StoredKey.of(key)
    row = _KEYS.add(
        where,
        {
            "id": new_uuid(), "digest": stored.digest, "prefix": stored.prefix, "length": stored.length,
            "name": new.name, "user_id": owner_id, "expires_at": expires_at, "created_at": now, "is_active": True,
            "total_uses": 0, "rotations": 0, **_columns(new.rights),
        },
    )  # fmt: skip
    audit.record(where, by, Action.KEY_CREATED, now, subject_of(row), _described(row))
    return row, key


def declare(session: Session, owner_id: uuid.UUID, stored: StoredKey, new: NewKey, now: datetime,
            rules: KeyRules = KeyRules()) -> ApiKey:  # fmt: skip
    """Make sure that a key which exists elsewhere is known here, with the rights that are declared for it.

    Raises:
        Invalid: as for a new key.
        Conflict: the key is somebody else's.
    """
    row = session.scalar(select(ApiKey).where(ApiKey.digest == stored.digest))
    if row is not None and row.user_id != owner_id:
        raise Conflict(f"the key {new.name} belongs to another user already")
    _check_rights(session, owner_id, new.rights)
    if row is None:
        row = ApiKey(
            digest=stored.digest, prefix=stored.prefix, length=stored.length, name=new.name, user_id=owner_id,
            expires_at=_checked_expiry(new.expires_at, now, now, rules), created_at=now, **_columns(new.rights),
        )  # fmt: skip
        session.add(row)
        session.flush()
        audit.record(session, audit.BOOT, Action.KEY_CREATED, now, subject_of(row), _described(row))
        return row
    before = _described(row)
    row.name = new.name
    if new.expires_at is not None and new.expires_at != row.expires_at:
        row.expires_at = _checked_expiry(new.expires_at, now, row.created_at, rules)
    for name, value in _columns(new.rights).items():
        setattr(row, name, value)
    details = audit.changed(before, _described(row))
    if details:
        session.flush()
        audit.record(session, audit.BOOT, Action.KEY_CHANGED, now, subject_of(row), details)
    return row


def get(session: Session, owner_id: uuid.UUID, key_id: uuid.UUID, *, for_update: bool = False) -> ApiKey:
    """Return one of the owner's keys; ``for_update`` waits for whoever changes it now.

    Raises:
        NotFound: none such, or somebody else's.
    """
    query = select(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == owner_id)
    row = session.scalar(query.with_for_update() if for_update else query)
    if row is None:
        raise NotFound("API Key not found")
    return row


def list_of(session: Session, owner_id: uuid.UUID, *,
            stale_before: datetime | None = None) -> tuple[int, list[ApiKey]]:  # fmt: skip
    """Return how many keys a user has, and the newest of them, oldest first.

    Args:
        session: to read from.
        owner_id: whose.
        stale_before: only those that were neither made nor used since.
    """
    mine: Select[Any] = select(ApiKey).where(ApiKey.user_id == owner_id)
    if stale_before is not None:
        mine = mine.where(
            ApiKey.created_at < stale_before,
            or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < stale_before),
        )
    total = session.scalar(select(func.count()).select_from(mine.subquery())) or 0
    newest = session.scalars(mine.order_by(ApiKey.created_at.desc(), ApiKey.id).limit(LIST_LIMIT))
    return total, list(newest)[::-1]


def is_stale(row: ApiKey, now: datetime, rules: KeyRules) -> bool:
    """Say whether a key has not been used for long."""
    return (row.last_used_at or row.created_at) < now - rules.stale_after


def change(session: Session, by: Actor, owner_id: uuid.UUID, key_id: uuid.UUID, changes: Mapping[str, Any],
           now: datetime, rules: KeyRules = KeyRules()) -> ApiKey:  # fmt: skip
    """Change what ``changes`` names: ``name``, ``is_active``, ``expires_at``, or one of the fields of ``Rights``.

    Raises:
        NotFound: none such, or somebody else's.
        Rejected: the key has expired, and no edit brings it back.
        Invalid: as for a new key.
        Forbidden: the key may do more than the key that asks, before the change or after it.
    """
    row = get(session, owner_id, key_id, for_update=True)
    check_grant(by.rights, by.expires_at, rights_of(row), row.expires_at)
    refuse_expired(row, now)
    before = _described(row)
    if "name" in changes:
        Invalid.if_longer(changes["name"] or "", NAME_LENGTH, "body", "name")
        row.name = changes["name"]
    if "is_active" in changes:
        row.is_active = changes["is_active"]
    if "expires_at" in changes:
        row.expires_at = _checked_expiry(changes["expires_at"], now, row.rotated_at or row.created_at, rules)
    rights = {name: changes[name] for name in Rights.__dataclass_fields__ if name in changes}
    if rights:
        wanted = replace(rights_of(row), **rights)
        _check_rights(session, owner_id, wanted, known=row.flows or ())
        for name, value in _columns(wanted).items():
            setattr(row, name, value)
    check_grant(by.rights, by.expires_at, rights_of(row), row.expires_at)
    session.flush()
    audit.record(session, by, Action.KEY_CHANGED, now, subject_of(row), audit.changed(before, _described(row)))
    return row


def revoke(session: Session, by: Actor, owner_id: uuid.UUID, key_id: uuid.UUID, now: datetime) -> None:
    """Delete a key of the owner; it is refused from the next request on, on every worker.

    Raises:
        Rejected: there is no such key, or it is somebody else's (Langflow answers 400 here).
        Forbidden: the key may do more than the key that asks; a key may always end itself.
    """
    try:
        row = get(session, owner_id, key_id)
    except NotFound as error:
        raise Rejected(str(error)) from None
    if by.key_id != row.id:
        check_grant(by.rights, by.expires_at, rights_of(row), row.expires_at)
    subject, details = subject_of(row), _described(row) | {"total_uses": row.total_uses}
    gone = session.execute(delete(ApiKey).where(ApiKey.id == row.id).returning(ApiKey.id)).scalar()
    if gone is None:
        raise Rejected("API Key not found")
    audit.record(session, by, Action.KEY_REVOKED, now, subject, details)


def _checked_expiry(wanted: datetime | None, now: datetime, made: datetime, rules: KeyRules) -> datetime | None:
    latest = made + rules.longest_life if rules.longest_life else None
    if wanted is None:
        return latest
    if wanted <= now:
        raise Invalid.field("Value error, expires_at is in the past", "body", "expires_at")
    if latest is not None and wanted > latest:
        raise Invalid.field(
            f"Value error, keys live until {latest.isoformat(timespec='seconds')} at most on this server", "body",
            "expires_at",
        )  # fmt: skip
    return wanted


def refuse_expired(row: ApiKey, now: datetime) -> None:
    """Refuse to bring a key back that is over.

    Raises:
        Rejected: it has expired.
    """
    if row.expires_at is not None and row.expires_at <= now:
        raise Rejected("This API key has expired. Make a new one.")


def _check_rights(
    where: Session | Connection, owner_id: uuid.UUID, rights: Rights, known: Collection[str] = ()
) -> None:
    """Refuse limits out of range and flows that are not the owner's; a flow that has gone since may stay listed."""
    for name, value, most in (
        ("rate_limit", rights.rate.requests if rights.rate else 1, MOST_REQUESTS),
        ("rate_limit", rights.rate.seconds if rights.rate else 1, MOST_SECONDS),
        ("max_parallel_runs", rights.max_parallel if rights.max_parallel is not None else 1, MOST_PARALLEL),
    ):
        if not 1 <= value <= most:
            raise Invalid.field(f"Input should be from 1 to {most}", "body", name, kind="out_of_range")
    new = {flow for flow in rights.flows or () if str(flow) not in known}
    mine = set(where.scalars(select(Flow.id).where(Flow.user_id == owner_id, Flow.id.in_(new)))) if new else set()
    for flow in sorted(new - mine):
        raise Invalid.field(f"Value error, there is no flow {flow}", "body", "flows")


def _columns(rights: Rights) -> dict[str, Any]:
    return {
        "scopes": None if rights.scopes is None else sorted(rights.scopes),
        "flows": None if rights.flows is None else sorted(map(str, rights.flows)),
        "networks": None if rights.networks is None else [str(network) for network in rights.networks],
        "rate_requests": rights.rate.requests if rights.rate else None,
        "rate_seconds": rights.rate.seconds if rights.rate else None,
        "max_parallel": rights.max_parallel,
    }


def _described(row: ApiKey) -> dict[str, Any]:
    """What the audit trail says of a key."""
    return {
        "owner": str(row.user_id), "name": row.name, "prefix": row.prefix, "is_active": row.is_active,
        "expires_at": _iso(row.expires_at), **{name: getattr(row, name) for name in RIGHTS_COLUMNS},
    }  # fmt: skip


def subject_of(row: ApiKey) -> Subject:
    """What the audit trail calls the key."""
    return Subject("key", row.id, row.name)


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="seconds")
