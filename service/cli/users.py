"""``keyturn users``."""

from __future__ import annotations

from typing import Any

import click

from service.cli.options import Workplace, of_superuser, of_superuser_with_new_password
from service.domain import users
from service.storage import User

_COLUMNS = {
    "id": "ID", "username": "Name", "is_active": "Active", "is_superuser": "Superuser", "created_at": "Made",
    "last_login_at": "Last signed in",
}  # fmt: skip
_PAGE = 1000


@click.group("users")
def group() -> None:
    """Make, approve, deactivate and delete users."""


@group.command("list")
@click.option("--search", help="Part of a name.")
@of_superuser
def list_users(place: Workplace, search: str | None) -> None:
    """List users."""
    rows: list[User] = []
    total = 1
    while len(rows) < total:
        total, page = users.list_all(place.session, len(rows), _PAGE, search)
        rows += page
        if not page:
            break
    place.show([_row(user) for user in rows], _COLUMNS, "There are no such users.")


@group.command("create")
@click.argument("username")
@click.option("--active/--inactive", default=True, show_default=True, help="May sign in at once.")
@of_superuser_with_new_password("Password of the new user")
def create(place: Workplace, username: str, active: bool, secret: str) -> None:
    """Make an ordinary user; the password is read from a prompt or from standard input."""
    new = users.NewUser(username, secret, is_active=active)
    user = users.create(place.session, place.by, new, place.hasher, place.now)
    place.tell(f"The user {username} is made.", id=user.id, username=username)


@group.command("activate")
@click.argument("username")
@of_superuser
def activate(place: Workplace, username: str) -> None:
    """Let a user sign in, and their keys work."""
    _change(place, username, "is active", is_active=True)


@group.command("deactivate")
@click.argument("username")
@of_superuser
def deactivate(place: Workplace, username: str) -> None:
    """Refuse a user, their sessions and their keys from now on."""
    _change(place, username, "is deactivated", is_active=False)


@group.command("reset-password")
@click.argument("username")
@of_superuser_with_new_password("New password")
def reset_password(place: Workplace, username: str, secret: str) -> None:
    """Set another user's password, read from a prompt or from standard input; their sessions end."""
    _change(place, username, "has a new password", password=secret)


@group.command("demote")
@click.argument("username")
@of_superuser
def demote(place: Workplace, username: str) -> None:
    """Make a superuser an ordinary user; `keyturn superuser` makes superusers."""
    _change(place, username, "is an ordinary user", is_superuser=False)


@group.command("delete")
@click.argument("username")
@click.confirmation_option(prompt="Delete this user and everything that is theirs?", help="Do not ask.")
@of_superuser
def delete(place: Workplace, username: str) -> None:
    """Delete a user with their keys, variables, flows and messages."""
    user = place.owner(username)
    users.remove(place.session, place.by, user.id, place.now)
    place.tell(f"The user {username} is deleted.", id=user.id)


def _change(place: Workplace, username: str, outcome: str, **changes: Any) -> None:
    user = place.owner(username)
    users.update(place.session, place.by, user.id, changes, place.hasher, place.now)
    place.tell(f"{user.username} {outcome}.", id=user.id, username=user.username)


def _row(user: User) -> dict[str, Any]:
    return {name: getattr(user, name) for name in _COLUMNS}
