"""A new secret for a key, under the same id."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from service.domain import audit, key_text
from service.domain.audit import Action, Actor
from service.domain.errors import Conflict, Forbidden, Invalid
from service.domain.key_records import rights_of
from service.domain.keys import KeyRules, StoredKey, get, refuse_expired, subject_of
from service.domain.permissions import check_grant
from service.storage.keys import ApiKey

#: Characters of an Idempotency-Key; a UUID has 36. Short ones could be guessed, and the key is derived from it.
IDEMPOTENCY_LENGTHS = (16, 255)


def rotate(session: Session, by: Actor, owner_id: uuid.UUID, key_id: uuid.UUID, grace: timedelta, now: datetime,
           rules: KeyRules, idempotency_key: str | None = None) -> tuple[ApiKey, str]:  # fmt: skip
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
    refuse_expired(row, now)
    if not timedelta(0) <= grace <= rules.longest_grace:
        most = int(rules.longest_grace.total_seconds())
        raise Invalid.field(f"Input should be from 0 to {most} seconds", "body", "grace_seconds", kind="out_of_range")
    row.rotations += 1
    key = key_text.generate() if idempotency_key is None else _derived(row, rules, idempotency_key)
    ends = [now + grace, *([row.expires_at] if row.expires_at else [])]
    row.former_digest, row.former_until = (row.digest, min(ends)) if grace else (None, None)
    stored = StoredKey.of(key)
    row.digest, row.prefix, row.length = stored.digest, stored.prefix, stored.length
    row.rotated_at, row.rotation_digest = now, token
    session.flush()
    until = row.former_until.isoformat(timespec="seconds") if row.former_until else None
    details = {"former_valid_until": until, "rotation": row.rotations}
    audit.record(session, by, Action.KEY_ROTATED, now, subject_of(row), details)
    return row, key


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
