"""API keys: made, listed, changed, rotated, revoked and checked."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, func, or_, select
from sqlalchemy.orm import Session

from service.domain import audit, key_text
from service.domain.audit import Action, Actor, Subject
from service.domain.errors import Conflict, Forbidden, Invalid, NotFound, Rejected
from service.domain.identity import OPTINS, Account
from service.domain.permissions import (
    MOST_PARALLEL,
    MOST_REQUESTS,
    MOST_SECONDS,
    Rate,
    Rights,
    check_grant,
    rights_from,
)
from service.storage.flows import Flow
from service.storage.keys import ApiKey
from service.storage.users import User

NAME_LENGTH = 255
#: What a list answers with at most in Langflow's own shape.
LIST_LIMIT = 1000
#: Characters of an Idempotency-Key; a UUID has 36. Short ones could be guessed, and the key is derived from it.
IDEMPOTENCY_LENGTHS = (16, 255)
_RIGHTS_COLUMNS = ("scopes", "flows", "networks", "rate_requests", "rate_seconds", "max_parallel")


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
class KeyRecord:
    """What a check of a key needs to know; safe to keep, for it holds no key."""

    id: uuid.UUID
    is_active: bool
    expires_at: datetime | None
    account: Account
    rights: Rights | None = None

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


def masked(row: ApiKey) -> str:
    """Return the key as lists show it: the first characters, then stars to its full length."""
    return row.prefix + "*" * (row.length - len(row.prefix))


def rights_of(row: Any) -> Rights:
    """Read the rights that are stored with a key, from an ``ApiKey`` or a row with its columns."""
    rate = None if row.rate_requests is None else Rate(row.rate_requests, row.rate_seconds or 1)
    return rights_from(row.scopes, row.flows, row.networks, rate, row.max_parallel)


def create(
    session: Session, by: Actor, owner_id: uuid.UUID, new: NewKey, now: datetime, rules: KeyRules = KeyRules()
) -> tuple[ApiKey, str]:
    """Make a key; returns the row and the key itself, which cannot be had again.

    Raises:
        Invalid: the name is too long, the date is over or too far, a right cannot be read, a flow is not the owner's.
        Forbidden: it would be able to do more than the key that asks for it.
    """
    Invalid.if_longer(new.name or "", NAME_LENGTH, "body", "name")
    expires_at = _checked_expiry(new.expires_at, now, now, rules)
    _check_rights(session, owner_id, new.rights)
    check_grant(by.rights, by.expires_at, new.rights, expires_at)
    key = key_text.generate()
    row = ApiKey(
        digest=key_text.digest(key), prefix=key[: key_text.SHOWN], length=len(key), name=new.name, user_id=owner_id,
        expires_at=expires_at, created_at=now, **_columns(new.rights),
    )  # fmt: skip
    session.add(row)
    session.flush()
    audit.record(session, by, Action.KEY_CREATED, now, _subject(row), _described(row))
    return row, key


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
    _refuse_expired(row, now)
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
    audit.record(session, by, Action.KEY_CHANGED, now, _subject(row), audit.changed(before, _described(row)))
    return row


def rotate(session: Session, by: Actor, owner_id: uuid.UUID, key_id: uuid.UUID, grace: timedelta, now: datetime,
           rules: KeyRules = KeyRules(), idempotency_key: str | None = None) -> tuple[ApiKey, str]:  # fmt: skip
    """Give a key a new secret under the same id; the former one lives on for ``grace``, never beyond its own end.

    The same ``idempotency_key`` as that of the last rotation gives the same answer and rotates nothing.

    Returns:
        The row and the new secret.

    Raises:
        NotFound: none such, or somebody else's.
        Rejected: the key has expired.
        Invalid: the grace is longer than the operator allows; the ``Idempotency-Key`` is too short or too long.
        Conflict: rotated with this ``Idempotency-Key``, and the server's secret has changed since.
        Forbidden: the key may do more than the key that asks.
    """
    row = get(session, owner_id, key_id, for_update=True)
    token = _idempotency_digest(idempotency_key)
    if token is not None and token == row.rotation_digest:
        # Asked with the former secret, perhaps: its end is near, and that must not refuse the retry.
        check_grant(by.rights, None, rights_of(row), row.expires_at)
        return row, _same_again(row, rules, str(idempotency_key))
    # Whoever has only the former secret, and it may have leaked, takes nothing over: the new one would live longer.
    check_grant(by.rights, by.expires_at, rights_of(row), row.expires_at)
    _refuse_expired(row, now)
    if not timedelta(0) <= grace <= rules.longest_grace:
        most = int(rules.longest_grace.total_seconds())
        raise Invalid.field(f"Input should be from 0 to {most} seconds", "body", "grace_seconds", kind="out_of_range")
    row.rotations += 1
    key = key_text.generate() if idempotency_key is None else _derived(row, rules, idempotency_key)
    ends = [now + grace, *([row.expires_at] if row.expires_at else [])]
    row.former_digest, row.former_until = (row.digest, min(ends)) if grace else (None, None)
    row.digest, row.prefix, row.length = key_text.digest(key), key[: key_text.SHOWN], len(key)
    row.rotated_at, row.rotation_digest = now, token
    session.flush()
    details = {"former_valid_until": _iso(row.former_until), "rotation": row.rotations}
    audit.record(session, by, Action.KEY_ROTATED, now, _subject(row), details)
    return row, key


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
    subject, details = _subject(row), _described(row) | {"total_uses": row.total_uses}
    gone = session.execute(delete(ApiKey).where(ApiKey.id == row.id).returning(ApiKey.id)).scalar()
    if gone is None:
        raise Rejected("API Key not found")
    audit.record(session, by, Action.KEY_REVOKED, now, subject, details)


_LOOKUP = (
    select(ApiKey.id, ApiKey.is_active, ApiKey.expires_at, ApiKey.scopes, ApiKey.flows, ApiKey.networks,
           ApiKey.rate_requests, ApiKey.rate_seconds, ApiKey.max_parallel, ApiKey.former_until,
           User.id.label("uid"), User.username, User.profile_image, User.is_active.label("user_active"),
           User.is_superuser, User.created_at, User.updated_at, User.last_login_at, User.optins)
    .join(User, User.id == ApiKey.user_id)
)  # fmt: skip


def find(connection: Connection, key_digest: str) -> KeyRecord | None:
    """Look a key and its owner up by the digest of its secret, or of the one before a rotation."""
    row = connection.execute(_LOOKUP.where(ApiKey.digest == key_digest)).first()
    if row is not None:
        return _record(row, row.expires_at)
    row = connection.execute(_LOOKUP.where(ApiKey.former_digest == key_digest)).first()
    if row is None:
        return None
    # A former secret never outlives the key, whatever was changed since.
    return _record(row, min(end for end in (row.former_until, row.expires_at) if end is not None))


def _record(row: Any, expires_at: datetime | None) -> KeyRecord:
    account = Account(
        row.uid, row.username, row.profile_image, row.user_active, row.is_superuser, row.created_at, row.updated_at,
        row.last_login_at, **{name: bool(row.optins.get(name)) for name in OPTINS},
    )  # fmt: skip
    limited = any(getattr(row, name) is not None for name in _RIGHTS_COLUMNS)
    return KeyRecord(row.id, row.is_active, expires_at, account, rights_of(row) if limited else None)


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


def _refuse_expired(row: ApiKey, now: datetime) -> None:
    if row.expires_at is not None and row.expires_at <= now:
        raise Rejected("This API key has expired. Make a new one.")


def _check_rights(session: Session, owner_id: uuid.UUID, rights: Rights, known: Collection[str] = ()) -> None:
    """Refuse limits out of range and flows that are not the owner's; a flow that has gone since may stay listed."""
    for name, value, most in (
        ("rate_limit", rights.rate.requests if rights.rate else 1, MOST_REQUESTS),
        ("rate_limit", rights.rate.seconds if rights.rate else 1, MOST_SECONDS),
        ("max_parallel_runs", rights.max_parallel if rights.max_parallel is not None else 1, MOST_PARALLEL),
    ):
        if not 1 <= value <= most:
            raise Invalid.field(f"Input should be from 1 to {most}", "body", name, kind="out_of_range")
    new = {flow for flow in rights.flows or () if str(flow) not in known}
    mine = set(session.scalars(select(Flow.id).where(Flow.user_id == owner_id, Flow.id.in_(new)))) if new else set()
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
        "expires_at": _iso(row.expires_at), **{name: getattr(row, name) for name in _RIGHTS_COLUMNS},
    }  # fmt: skip


def _subject(row: ApiKey) -> Subject:
    return Subject("key", row.id, row.name)


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="seconds")


def _idempotency_digest(text: str | None) -> str | None:
    if text is None:
        return None
    least, most = IDEMPOTENCY_LENGTHS
    if not least <= len(text) <= most or not text.isprintable():
        raise Invalid.field(
            f"Value error, an Idempotency-Key has {least} to {most} characters; send a new UUID for each rotation",
            "header", "Idempotency-Key",
        )  # fmt: skip
    return key_text.digest(text)


def _derived(row: ApiKey, rules: KeyRules, idempotency_key: str) -> str:
    if not rules.rotation_secret:
        raise Forbidden("Rotation with an Idempotency-Key needs the server's secret")
    return key_text.derived(rules.rotation_secret, str(row.id), str(row.rotations), idempotency_key)


def _same_again(row: ApiKey, rules: KeyRules, idempotency_key: str) -> str:
    key = _derived(row, rules, idempotency_key)
    if key_text.digest(key) != row.digest:
        raise Conflict(
            "This key was rotated with this Idempotency-Key, and the answer cannot be given again. Rotate it with "
            "another one."
        )
    return key
