"""Users: made, found, changed, removed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.domain import accounts, audit
from service.domain.audit import Action, Actor, Subject
from service.domain.errors import Forbidden, NotFound, Rejected
from service.domain.identity import OPTINS, Identity
from service.domain.ports import PasswordHasher
from service.domain.usernames import check_password, check_username, name_key
from service.storage.users import User


@dataclass(frozen=True, slots=True)
class NewUser:
    """What it takes to make a user."""

    username: str
    password: str
    is_active: bool = False
    is_superuser: bool = False
    optins: Mapping[str, bool] | None = None


def create(session: Session, by: Actor, new: NewUser, hasher: PasswordHasher, now: datetime,
           details: Mapping[str, Any] | None = None) -> User:  # fmt: skip
    """Make a user; ``details`` are what the audit trail says beside who it is.

    Raises:
        Invalid: the name or the password has not the right shape.
        Rejected: the name is taken, in whatever case.
        Forbidden: a limited key asks.
    """
    _refuse_limited(by)
    check_username(new.username)
    check_password(new.password)
    user = User(
        username=new.username,
        username_key=name_key(new.username),
        password_hash=hasher.hash(new.password),
        is_active=new.is_active,
        is_superuser=new.is_superuser,
        optins={name: bool((new.optins or {}).get(name)) for name in OPTINS},
        created_at=now,
        updated_at=now,
    )
    session.add(user)
    _flush_name(session)
    audit.record(session, by, Action.USER_CREATED, now, _subject(user), _described(user) | dict(details or {}))
    return user


def get(session: Session, caller: Identity, user_id: uuid.UUID) -> User:
    """Return a user that the caller may see: oneself, or anybody for a superuser.

    Raises:
        Forbidden: somebody else, whether or not there is such a user.
        NotFound: no such user (only a superuser is told).
    """
    if user_id != caller.user_id and not caller.is_superuser:
        raise Forbidden("Permission denied: user:manage is required.", code="administration_denied")
    return _find(session, user_id)


def first_superuser(session: Session) -> User | None:
    """Return the superuser of a database that has no other user; None where there are more."""
    rows = list(session.scalars(select(User).limit(2)))
    return rows[0] if len(rows) == 1 and rows[0].is_superuser else None


def list_all(session: Session, skip: int, limit: int, search: str | None) -> tuple[int, list[User]]:
    """Return how many users match and one page of them, in the order they were made."""
    query = select(User)
    if search:
        query = query.where(User.username_key.contains(name_key(search), autoescape=True))
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    page = session.scalars(query.order_by(User.created_at, User.id).offset(skip).limit(limit))
    return total, list(page)


def update(session: Session, by: Actor, user_id: uuid.UUID, changes: Mapping[str, Any],
           hasher: PasswordHasher, now: datetime) -> User:  # fmt: skip
    """Change a user. Oneself: name, picture, opt-ins. A superuser: everything but one's own rights.

    Raises:
        Forbidden, NotFound, Rejected, Invalid: as the contract's section 1.5 lists them.
    """
    itself = user_id == by.user_id
    if not itself and not by.is_superuser:
        raise Forbidden("Permission denied", code="administration_denied")
    if "is_superuser" in changes and not by.is_superuser:
        raise Forbidden("Only a superuser may promote or demote platform superusers", code="superuser_required")
    if itself and changes.get("is_active") is False:
        raise Forbidden("You can't deactivate your own user account")
    if itself and changes.get("is_superuser") is False and by.is_superuser:
        raise Forbidden("You can't demote your own user account")
    if itself and "password" in changes:
        raise Rejected("You can't change your password here")
    if changes.keys() & {"password", "is_superuser"}:
        _refuse_limited(by)
    user = accounts.lock_user(session, user_id)
    if user is None:
        raise NotFound("User not found")
    before = _described(user)
    if by.is_superuser:
        _administer(session, user, changes, hasher, now)
    if "username" in changes:
        check_username(changes["username"])
        user.username, user.username_key = changes["username"], name_key(changes["username"])
    if "profile_image" in changes:
        user.profile_image = changes["profile_image"]
    if changes.get("optins"):
        user.optins = user.optins | {name: bool(value) for name, value in changes["optins"].items() if name in OPTINS}
    user.updated_at = now
    _flush_name(session)
    audit.record(session, by, Action.USER_CHANGED, now, _subject(user), audit.changed(before, _described(user)))
    if "password" in changes:
        audit.record(session, by, Action.PASSWORD_CHANGED, now, _subject(user))
    return user


def remove(session: Session, by: Actor, user_id: uuid.UUID, now: datetime) -> None:
    """Delete a user with everything that is theirs.

    Raises:
        Rejected: oneself.
        Forbidden: the caller is no superuser.
        NotFound: no such user.
    """
    if user_id == by.user_id:
        raise Rejected("You can't delete your own user account")
    if not by.is_superuser:
        raise Forbidden("Permission denied", code="administration_denied")
    user = _find(session, user_id)
    audit.record(session, by, Action.USER_DELETED, now, _subject(user), _described(user))
    session.expunge(user)
    if session.execute(delete(User).where(User.id == user_id).returning(User.id)).scalar() is None:
        raise NotFound("User not found")


def _refuse_limited(by: Actor) -> None:
    if by.is_limited:
        # With a password of its own choice, a key that may do little would sign in and do everything.
        raise Forbidden(
            "An API key that is limited or expires cannot set passwords or make superusers", code="more_than_itself"
        )


def _administer(
    session: Session, user: User, changes: Mapping[str, Any], hasher: PasswordHasher, now: datetime
) -> None:
    if "is_active" in changes:
        user.is_active = changes["is_active"]
    if "is_superuser" in changes:
        user.is_superuser = changes["is_superuser"]
    if "password" in changes:
        check_password(changes["password"])
        user.password_hash = hasher.hash(changes["password"])
    if "password" in changes or changes.get("is_active") is False:
        accounts.end_sessions(session, user.id)
    user.updated_at = now


def _subject(user: User) -> Subject:
    return Subject("user", user.id, user.username)


def _described(user: User) -> dict[str, Any]:
    """What the audit trail says of a user."""
    return {"username": user.username, "is_active": user.is_active, "is_superuser": user.is_superuser}


def _find(session: Session, user_id: uuid.UUID) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("User not found")
    return user


def _flush_name(session: Session) -> None:
    """Write, and turn the one error to expect, a taken name, into words."""
    try:
        session.flush()
    except IntegrityError as error:
        if "username_key" in str(error.orig):
            raise Rejected("This username is unavailable.") from None
        raise
