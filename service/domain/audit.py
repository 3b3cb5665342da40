"""The audit trail: written by each use case in the transaction of its act, and read by superusers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, select
from sqlalchemy.orm import Session

from service.domain.identity import Identity
from service.domain.permissions import Rights
from service.json_text import stored
from service.observability import redacted
from service.storage.audit import AuditEvent
from service.storage.statements import Insertion
from service.storage.users import User

PAGE = 1000
_DONE, _REFUSED = "done", "refused"


class Action(StrEnum):
    """What can stand in the trail."""

    KEY_CREATED = "key.created"
    KEY_CHANGED = "key.changed"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    #: A key was presented, or its rights were asked too much of.
    KEY_USED = "key.used"
    LOGIN = "login"
    LOGOUT = "logout"
    TOKEN_REUSED = "token.reused"  # noqa: S105 - the name of an event # nosec B105
    USER_CREATED = "user.created"
    USER_CHANGED = "user.changed"
    USER_DELETED = "user.deleted"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105 # nosec B105
    VARIABLE_CREATED = "variable.created"
    VARIABLE_CHANGED = "variable.changed"
    VARIABLE_DELETED = "variable.deleted"
    SECRET_ROTATED = "secret.rotated"  # noqa: S105 # nosec B105
    LANGFLOW_IMPORTED = "langflow.imported"
    SERVER_STARTED = "server.started"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, how the server knows, and from where."""

    user_id: uuid.UUID | None
    username: str | None
    via: str
    key_id: uuid.UUID | None = None
    address: str | None = None
    is_superuser: bool = False
    #: Of the key that is used; None: not limited.
    rights: Rights | None = None
    #: When that key ends.
    expires_at: datetime | None = None

    @classmethod
    def of(cls, identity: Identity, address: str | None) -> Actor:
        """The caller of a request."""
        return cls(
            identity.user_id, identity.account.username, identity.via, identity.key_id, address,
            identity.is_superuser, identity.rights, identity.expires_at,
        )  # fmt: skip

    @classmethod
    def at_the_console(cls, user: User) -> Actor:
        """A superuser with a shell on the server's machine."""
        return cls(user.id, user.username, "cli", is_superuser=user.is_superuser)

    def become(self, user: User) -> Actor:
        """The same, once it is known who they are."""
        return replace(self, user_id=user.id, username=user.username, via="password", is_superuser=user.is_superuser)

    @property
    def is_limited(self) -> bool:
        """True when a key is used that may do less than its owner, or not for ever."""
        return self.rights is not None or self.expires_at is not None

    @property
    def id(self) -> uuid.UUID:
        """The acting user's id; only for actors who are somebody."""
        if self.user_id is None:
            raise ValueError("nobody in particular acts")
        return self.user_id


#: Nobody who is known.
ANONYMOUS = Actor(None, None, "anonymous")
#: Somebody with a shell on the server's machine who has not said who they are.
CONSOLE = Actor(None, None, "cli")
_EVENTS = Insertion(
    AuditEvent, [name for name in AuditEvent.__table__.c.keys() if name != "id"]  # noqa: SIM118
)  # fmt: skip

#: The server itself, at its start.
BOOT = Actor(None, None, "boot")


def anonymous(address: str | None) -> Actor:
    """Somebody who is not known, from an address."""
    return replace(ANONYMOUS, address=address)


@dataclass(frozen=True, slots=True)
class Subject:
    """What an act was done to."""

    type: str
    id: uuid.UUID | None
    name: str | None = None


def record(where: Session | Connection, by: Actor, action: Action, now: datetime, subject: Subject | None = None,
           details: Mapping[str, Any] | None = None, *, refused: bool = False) -> None:  # fmt: skip
    """Add an event; it stands or falls with the transaction.

    Args:
        where: the transaction of the act itself, or one of its own for what was refused.
        by: who.
        action: what.
        now: when.
        subject: to what.
        details: names and reasons. Never a key, a password, a value or a token.
        refused: the act was not allowed.
    """
    _EVENTS.add(
        where,
        {
            "at": now, "action": action.value, "outcome": _REFUSED if refused else _DONE, "actor_id": by.user_id,
            "actor_name": by.username, "via": by.via, "key_id": by.key_id, "address": _short(by.address, 64),
            "subject_type": subject.type if subject else None, "subject_id": subject.id if subject else None,
            "subject_name": _short(subject.name, 255) if subject else None, "details": _without_keys(details or {}),
        },
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events to read; None: not asked for."""

    action: str | None = None
    outcome: str | None = None
    actor_id: uuid.UUID | None = None
    key_id: uuid.UUID | None = None
    subject_id: uuid.UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


def page(session: Session, wanted: Filter, before: int | None, limit: int) -> tuple[list[AuditEvent], int | None]:
    """Return events, the newest first, and where the next page begins; None: there is none."""
    query = _matching(wanted).order_by(AuditEvent.id.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(AuditEvent.id < before)
    rows = list(session.scalars(query))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def export(session: Session, wanted: Filter) -> Iterator[AuditEvent]:
    """Yield all events, the oldest first, a page at a time."""
    last = 0
    while True:
        query = _matching(wanted).where(AuditEvent.id > last).order_by(AuditEvent.id).limit(PAGE)
        rows = list(session.scalars(query))
        yield from rows
        if len(rows) < PAGE:
            return
        last = rows[-1].id
        session.expunge_all()


def body_of(event: AuditEvent) -> dict[str, Any]:
    """An event as plain data, the same over HTTP and on the command line."""
    return {
        "id": event.id,
        "at": event.at.isoformat(timespec="milliseconds"),
        "action": event.action,
        "outcome": event.outcome,
        "actor_id": _text(event.actor_id),
        "actor_name": event.actor_name,
        "via": event.via,
        "key_id": _text(event.key_id),
        "address": event.address,
        "subject_type": event.subject_type,
        "subject_id": _text(event.subject_id),
        "subject_name": event.subject_name,
        "details": event.details,
    }


def has_signed_in_from(session: Session, user_id: uuid.UUID, address: str | None, since: datetime) -> bool:
    """Say whether a user has signed in from an address since some time."""
    query = select(AuditEvent.id).where(
        AuditEvent.actor_id == user_id,
        AuditEvent.action == Action.LOGIN.value,
        AuditEvent.outcome == _DONE,
        AuditEvent.at >= since,
        AuditEvent.address == _short(address, 64),
    )
    return session.scalar(query.limit(1)) is not None


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What a change changed, as ``{"name": {"from": ..., "to": ...}}``."""
    return {
        name: {"from": before.get(name), "to": value} for name, value in after.items() if before.get(name) != value
    }


def _matching(wanted: Filter) -> Select[Any]:
    query = select(AuditEvent)
    for column, value in (
        (AuditEvent.action, wanted.action),
        (AuditEvent.outcome, wanted.outcome),
        (AuditEvent.actor_id, wanted.actor_id),
        (AuditEvent.key_id, wanted.key_id),
        (AuditEvent.subject_id, wanted.subject_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(AuditEvent.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditEvent.at < wanted.until)
    return query


def _short(text: str | None, most: int) -> str | None:
    # A key that somebody typed where a name belongs would stay for ever: nothing is deleted from the trail.
    return None if text is None else redacted(text.replace("\x00", ""))[:most]


def _without_keys(details: Mapping[str, Any]) -> dict[str, Any]:
    text = stored(details)
    found = redacted(text)
    return dict(details) if found == text else dict(json.loads(found))


def _text(value: uuid.UUID | None) -> str | None:
    return None if value is None else str(value)
