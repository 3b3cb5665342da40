"""Signing in: opaque tokens, rotation, and their end.

A token is never a JWT: it means nothing outside the database, so logout, a new password and deactivation
end it at once. A refresh token is good for one use; a second use means that somebody copied it, and ends
every token of that sign-in (RFC 9700, section 4.14.2).
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.domain import audit
from service.domain.audit import Action, Actor, Subject
from service.domain.errors import AwaitingApproval, LoginRefused, NotFound, Rejected, TokenRefused
from service.domain.identity import Account
from service.domain.ports import PasswordHasher
from service.domain.usernames import PASSWORD_LENGTH, by_name, check_password
from service.storage.users import SessionToken, User

ACCESS, REFRESH = "access", "refresh"
_PREFIX = {ACCESS: "kta_", REFRESH: "ktr_"}


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long tokens live, in seconds."""

    access: int
    refresh: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """A pair of login tokens, to be handed out once."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)


def is_login_token(text: str) -> bool:
    """Say whether a text has the form of a login token, so that it is not taken for an API key."""
    return text.startswith(tuple(_PREFIX.values()))


def login(session: Session, by: Actor, username: str, password: str, hasher: PasswordHasher, now: datetime) -> User:
    """Check a name and a password; the same time and the same answer whatever is wrong.

    Raises:
        LoginRefused: wrong name or password, or a deactivated account.
        AwaitingApproval: the right password of an account that was never activated.
    """
    user = by_name(session, username)
    checked = user.password_hash if user else None
    if len(password) > PASSWORD_LENGTH or not hasher.verify(checked, password):
        raise _refused("wrong password" if user else "unknown user", user)
    # Not before: whoever merely guesses must hold up nobody.
    user = lock_user(session, user.id) if user else None
    if user is None:
        raise _refused("unknown user", None)
    if user.password_hash != checked and not hasher.verify(user.password_hash, password):
        raise _refused("wrong password", user)
    if not user.is_active:
        if user.last_login_at is None:
            raise AwaitingApproval("Waiting for approval", "waiting for approval", user.id, user.username)
        raise LoginRefused("Inactive user", "deactivated", user.id, user.username)
    if hasher.needs_rehash(user.password_hash):
        user.password_hash = hasher.hash(password)
    user.last_login_at = user.updated_at = now
    via = by.via if by.via == "cli" else "password"
    known = replace(by, user_id=user.id, username=user.username, via=via)
    audit.record(session, known, Action.LOGIN, now, Subject("user", user.id, user.username))
    return user


def _refused(reason: str, user: User | None) -> LoginRefused:
    about = (user.id, user.username) if user is not None else (None, None)
    return LoginRefused("Incorrect username or password", reason, *about)


def lock_user(session: Session, user_id: uuid.UUID) -> User | None:
    """Let nobody else make, exchange or end tokens of a user until this transaction ends; return the user as of now.

    Every act that does one of these calls this first, and looks at tokens, password and activity after it. On
    PostgreSQL a DELETE does not see the rows of a transaction that commits while it waits: without the lock, the pair
    that a refresh is making would outlive a new password, a logout or a deactivation. The user comes before the
    tokens, and one user at a time, so that no two acts wait for each other.

    SQLite has one writer, whose transaction holds everything; the session has to have begun as one (``begin_write``).
    """
    # Weaker than FOR UPDATE: new rows that refer to the user, keys and flows say, do not wait for it.
    query = select(User).where(User.id == user_id).with_for_update(key_share=True)
    return session.scalar(query.execution_options(populate_existing=True))


def issue(session: Session, user_id: uuid.UUID, lifetimes: Lifetimes, now: datetime) -> Tokens:
    """Make a pair of tokens for a new sign-in.

    Raises:
        LoginRefused: the account is not active any more.
    """
    user = lock_user(session, user_id)
    if user is None or not user.is_active:
        raise LoginRefused("Inactive user", "deactivated", user_id)
    return _pair(session, user_id, uuid.uuid4(), lifetimes, now)


def _pair(session: Session, user_id: uuid.UUID, family: uuid.UUID, lifetimes: Lifetimes, now: datetime) -> Tokens:
    """Make a pair of tokens; expired ones of the same user are swept away meanwhile."""
    session.execute(delete(SessionToken).where(SessionToken.user_id == user_id, SessionToken.expires_at < now))
    made = {kind: _PREFIX[kind] + secrets.token_urlsafe(32) for kind in (ACCESS, REFRESH)}
    for kind, seconds in ((ACCESS, lifetimes.access), (REFRESH, lifetimes.refresh)):
        session.add(
            SessionToken(
                digest=_digest(made[kind]), kind=kind, family=family, user_id=user_id, created_at=now,
                expires_at=now + timedelta(seconds=seconds),
            )
        )  # fmt: skip
    session.flush()
    return Tokens(made[ACCESS], made[REFRESH])


def account_of(session: Session, token: str, now: datetime) -> Account:
    """Return whose access token this is.

    Raises:
        TokenRefused: unknown, expired, of the wrong kind, or of a deactivated user.
    """
    row = _find(session, token)
    if row is None or row.expires_at <= now or not row.user.is_active:
        raise TokenRefused("Invalid token")
    if row.kind != ACCESS:
        raise TokenRefused("Invalid token type")
    return Account.of(row.user)


@dataclass(frozen=True, slots=True)
class Reused:
    """A refresh token came a second time; its family is to be ended in a transaction that commits."""

    family: uuid.UUID
    user_id: uuid.UUID
    username: str


def refresh(session: Session, token: str, lifetimes: Lifetimes, now: datetime) -> Tokens | Reused:
    """Exchange a refresh token for a new pair.

    Returns:
        The pair, or ``Reused`` when the token was used before. Ending the family must survive the
        refusal, so it is the caller's to write with ``end_reused``.

    Raises:
        TokenRefused: unknown, expired, of the wrong kind, or of a deactivated user.
    """
    row = _find_locked(session, token)
    if row is None or row.kind != REFRESH or row.expires_at <= now or not row.user.is_active:
        raise TokenRefused("Invalid refresh token")
    if row.used_at is not None:
        return Reused(row.family, row.user_id, row.user.username)
    row.used_at = now
    session.execute(delete(SessionToken).where(SessionToken.family == row.family, SessionToken.kind == ACCESS))
    return _pair(session, row.user_id, row.family, lifetimes, now)


def logout(session: Session, by: Actor, token: str, now: datetime) -> None:
    """End the sign-in that a token belongs to; an unknown token is no error."""
    row = _find_locked(session, token)
    if row is not None:
        known = replace(by, user_id=row.user_id, username=row.user.username, via="session")
        audit.record(session, known, Action.LOGOUT, now, Subject("user", row.user_id, row.user.username))
        end_family(session, row.family)


def end_reused(session: Session, by: Actor, reused: Reused, now: datetime) -> None:
    """End a sign-in of which a refresh token was used twice: one of the two users has copied it.

    To be called in the transaction of the ``refresh`` that said so, which has locked the user.
    """
    end_family(session, reused.family)
    known = replace(by, user_id=reused.user_id, username=reused.username, via="session")
    subject = Subject("user", reused.user_id, reused.username)
    audit.record(
        session, known, Action.TOKEN_REUSED, now, subject, {"reason": "refresh token used twice"}, refused=True
    )


def end_family(session: Session, family: uuid.UUID) -> None:
    """End all tokens of one sign-in; the caller has locked the user."""
    session.execute(delete(SessionToken).where(SessionToken.family == family))


def end_sessions(session: Session, user_id: uuid.UUID) -> None:
    """End all sign-ins of a user; the caller has locked the user."""
    session.execute(delete(SessionToken).where(SessionToken.user_id == user_id))


def reset_password(session: Session, by: Actor, user_id: uuid.UUID, current: str, new: str,
                   hasher: PasswordHasher, now: datetime) -> User:  # fmt: skip
    """Change one's own password; every session of the user ends.

    Raises:
        NotFound: somebody else's, whether or not there is such a user.
        Rejected: the current password is wrong, or the new one is the same.
        Invalid: the new one is empty or too long.
    """
    if user_id != by.user_id:
        raise NotFound("You can't change another user's password")
    # Before the password is looked at: of two changes at once, only one may pass with the former password.
    user = lock_user(session, user_id)
    if user is None or len(current) > PASSWORD_LENGTH or not hasher.verify(user.password_hash, current):
        raise Rejected("Current password is incorrect")
    if new == current:
        raise Rejected("You can't use your current password")
    check_password(new)
    user.password_hash, user.updated_at = hasher.hash(new), now
    end_sessions(session, user.id)
    audit.record(session, by, Action.PASSWORD_CHANGED, now, Subject("user", user.id, user.username))
    return user


def _find(session: Session, token: str) -> SessionToken | None:
    if not is_login_token(token):
        return None
    return session.scalar(select(SessionToken).where(SessionToken.digest == _digest(token)))


def _find_locked(session: Session, token: str) -> SessionToken | None:
    """Find a token and lock its user; None also where it ended while that was waited for."""
    found = _find(session, token)
    if found is None or lock_user(session, found.user_id) is None:
        return None
    session.expire(found)
    return _find(session, token)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
