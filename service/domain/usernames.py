"""The shape of user names and passwords, and when two names are the same name."""

from __future__ import annotations

import unicodedata

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.domain.errors import Invalid
from service.storage.users import User

USERNAME_LENGTH = 150
PASSWORD_LENGTH = 1024
#: Characters, where a person chooses one: NIST SP 800-63B (revision 3), section 5.1.1.2.
LEAST_PASSWORD = 8
#: Of the column that holds ``name_key``.
_KEY_LENGTH = 300


def name_key(username: str) -> str:
    """Return the form under which two spellings of a name are the same name."""
    return unicodedata.normalize("NFKC", username).casefold()


def by_name(session: Session, username: str) -> User | None:
    """Find a user by name, in whatever case."""
    return session.scalar(select(User).where(User.username_key == name_key(username)))


def check_username(username: str) -> None:
    """Refuse a name that is empty, too long, padded, or holds characters nobody can see.

    Raises:
        Invalid: says which.
    """
    where = ("body", "username")
    if not username.strip():
        raise Invalid.field("String should have at least 1 character", *where, kind="string_too_short")
    Invalid.if_longer(username, USERNAME_LENGTH, *where)
    if len(name_key(username)) > _KEY_LENGTH:
        # One letter of some scripts comes to eighteen.
        raise Invalid.field("Value error, the username is too long when its letters are taken apart", *where)
    if username != username.strip() or not username.isprintable():
        raise Invalid.field("Value error, a username has no control characters and no space around it", *where)


def check_password(password: str, field: str = "password") -> None:
    """Refuse an empty password and one that is long enough to be an attack.

    Raises:
        Invalid: says which.
    """
    if not password:
        raise Invalid.field("String should have at least 1 character", "body", field, kind="string_too_short")
    Invalid.if_longer(password, PASSWORD_LENGTH, "body", field)


def check_chosen_password(password: str) -> None:
    """Refuse a new password that a person has chosen too short; the API takes any, as Langflow's clients expect.

    Raises:
        Invalid: it is too short.
    """
    if len(password) < LEAST_PASSWORD:
        raise Invalid.field(f"Use at least {LEAST_PASSWORD} characters", "body", "password")
