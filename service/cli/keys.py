"""``langflow api-key``, as Langflow's documents make one, and ``keyturn keys`` for everything else."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.box import ROUNDED
from rich.console import Console
from rich.panel import Panel
from sqlalchemy import select

from service.cli.options import (
    Date,
    Workplace,
    ask_for_login,
    env_file_option,
    of_superuser,
    read_settings,
    the_superuser,
    user_option,
    workplace,
)
from service.domain import key_records, keys, rotation, usage
from service.domain.audit import Actor
from service.domain.errors import NotFound, Rejected
from service.domain.permissions import Rate, Rights, Scope, rights_from
from service.storage import ApiKey, User
from service.storage.base import utc_now

_COLUMNS = {
    "id": "ID", "name": "Name", "key": "Key", "state": "State", "scopes": "Scopes", "expires_at": "Expires",
    "last_used_at": "Last used", "total_uses": "Uses",
}  # fmt: skip
_NO_KEYS = "There are no keys. Make one with `keyturn keys create --name NAME`."


@click.command("api-key")
@env_file_option
@click.option("--name", default="CLI", show_default=True, help="What the key is called in lists.")
@click.option("--plain", is_flag=True, help="Print the key alone, for scripts.")
@click.option("--log-level", hidden=True, help="Langflow's; without effect.")
def api_key(env_file: Path | None, name: str, plain: bool, log_level: str | None) -> None:
    """Make an API key for the superuser and show it, this once.

    Works whether the server runs or not. With AUTO_LOGIN off it needs the superuser's password:
    LANGFLOW_SUPERUSER_PASSWORD, or it asks. On an empty database it makes the superuser first, and shows the
    password that it has made. It only ever adds a key; none is replaced.
    """
    del log_level
    settings = read_settings(env_file)
    login = ask_for_login(settings)
    with workplace(settings) as place:
        owner = the_superuser(place, login)
        new = keys.NewKey(name)
        _, key = keys.create(place.session, Actor.at_the_console(owner), owner.id, new, utc_now(), place.rules)
    if plain:
        click.echo(key)
        return
    text = (
        "API Key Created Successfully:\n\n"
        f"[bold]{key}[/bold]\n\n"
        "This is the only time the API key will be displayed.\n"
        "Make sure to store it in a secure location.\n"
        "Send it in the x-api-key header of each request."
    )
    Console(width=78, highlight=False).print(Panel(text, box=ROUNDED, expand=False, padding=(1, 2)))


@click.group("keys")
def group() -> None:
    """Make, limit, rotate and revoke API keys of any user."""


def _limits(command: Any) -> Any:
    """Add the options that limit a key."""
    for option in (
        click.option("--scope", "scopes", multiple=True, type=click.Choice([scope.value for scope in Scope]),
                     help="What it may do; again for each.  [default: all that the owner may]"),
        click.option("--flow", "flows", multiple=True, help="Id or endpoint name of a flow it may run."),
        click.option("--network", "networks", multiple=True, help="Network it may come from, as 203.0.113.0/24."),
        click.option("--rate", help="Requests per seconds, as 100/60."),
        click.option("--parallel", type=int, help="Runs at once."),
        click.option("--expires", type=Date(), help="When it ends, as 2027-01-31 or 2027-01-31T12:00:00+0100."),
    ):  # fmt: skip
        command = option(command)
    return command


@group.command("list")
@user_option
@click.option("--stale", is_flag=True, help="Only keys that nobody has used for long.")
@of_superuser
def list_keys(place: Workplace, username: str | None, stale: bool) -> None:
    """List a user's keys."""
    before = place.now - place.rules.stale_after if stale else None
    _, rows = keys.list_of(place.session, place.owner(username).id, stale_before=before)
    place.show([_row(row, place) for row in rows], _COLUMNS, "There are no stale keys." if stale else _NO_KEYS)


@group.command("create")
@user_option
@click.option("--name", help="What it is called in lists.")
@_limits
@of_superuser
def create(place: Workplace, username: str | None, name: str | None, expires: datetime | None, **limits: Any) -> None:
    """Make a key and print it, this once."""
    owner = place.owner(username)
    new = keys.NewKey(name, expires, _rights(place, owner, **limits))
    row, key = keys.create(place.session, place.by, owner.id, new, place.now, place.rules)
    place.tell(key, id=row.id, api_key=key)


@group.command("update")
@click.argument("key")
@click.option("--name", help="Rename it.")
@click.option("--enable/--disable", "is_active", default=None, help="Switch it on or off.")
@click.option("--unlimited", is_flag=True, help="Take all limits away first.")
@_limits
@of_superuser
def update(
    place: Workplace, key: str, name: str | None, is_active: bool | None, unlimited: bool, expires: datetime | None,
    **limits: Any,
) -> None:  # fmt: skip
    """Rename, disable, enable or limit the KEY of an id or of its first characters."""
    row = _find(place, key)
    rights = _rights(place, place.session.get_one(User, row.user_id), **limits)
    given = {name: getattr(rights, name) for name in Rights.__dataclass_fields__}
    changes = given if unlimited else {name: value for name, value in given.items() if value is not None}
    changes |= {
        field: value
        for field, value in (("name", name), ("is_active", is_active), ("expires_at", expires))
        if value is not None
    }
    if not changes:
        raise click.UsageError("say what to change, as --disable or --name NAME")
    changed = keys.change(place.session, place.by, row.user_id, row.id, changes, place.now, place.rules)
    place.show([_row(changed, place)], _COLUMNS, "")


@group.command("rotate")
@click.argument("key")
@click.option("--grace", type=int, default=0, show_default=True, help="Seconds that the former secret lives on.")
@of_superuser
def rotate(place: Workplace, key: str, grace: int) -> None:
    """Give the KEY of an id or of its first characters a new secret and print it, this once."""
    row = _find(place, key)
    row, secret = rotation.rotate(
        place.session, place.by, row.user_id, row.id, timedelta(seconds=grace), place.now, place.rules
    )
    place.tell(secret, id=row.id, api_key=secret, former_valid_until=row.former_until)


@group.command("revoke")
@click.argument("key")
@of_superuser
def revoke(place: Workplace, key: str) -> None:
    """Delete the KEY of an id or of its first characters; it is refused at once."""
    row = _find(place, key)
    keys.revoke(place.session, place.by, row.user_id, row.id, place.now)
    place.tell(f"The key {row.name or row.id} is revoked.", id=row.id)


@group.command("usage")
@click.argument("key")
@click.option("--days", type=click.IntRange(1, usage.MOST_DAYS), default=30, show_default=True)
@of_superuser
def show_usage(place: Workplace, key: str, days: int) -> None:
    """Show how often the KEY of an id or of its first characters was used, by day and status."""
    row = _find(place, key)
    _, found = usage.report(place.session, row.user_id, row.id, days, place.now)
    rows = [
        {"date": str(day.date), "status": status, "count": count}
        for day in found
        for status, count in day.statuses.items()
    ]
    columns = {"date": "Day (UTC)", "status": "Status", "count": "Requests"}
    place.show(rows, columns, f"The key was not used in the last {days} days.")


def _rights(place: Workplace, owner: User, scopes: tuple[str, ...], flows: tuple[str, ...], networks: tuple[str, ...],
            rate: str | None, parallel: int | None) -> Rights:  # fmt: skip
    parts = (rate or "").split("/")
    if rate and not (len(parts) == 2 and all(part.isascii() and part.isdigit() for part in parts)):
        raise click.UsageError("--rate is written as REQUESTS/SECONDS, as 100/60")
    limit = Rate(int(parts[0]), int(parts[1])) if rate else None
    ids = [str(place.flow(owner, text).id) for text in flows]
    return rights_from(scopes or None, ids or None, networks or None, limit, parallel)


def _find(place: Workplace, text: str) -> ApiKey:
    """Find a key of any user by its id, or by the first characters that lists show."""
    try:
        where = ApiKey.id == uuid.UUID(text)
    except ValueError:
        where = ApiKey.prefix == text.rstrip("*")[:8]
    rows = place.session.scalars(select(ApiKey).where(where).limit(2)).all()
    if len(rows) > 1:
        raise Rejected(f"several keys begin with {text[:8]}: name the key by its id")
    if not rows:
        raise NotFound(f"there is no key {text[:36]}; `keyturn keys list` shows the ids")
    return rows[0]


def _row(row: ApiKey, place: Workplace) -> dict[str, Any]:
    rights = key_records.rights_of(row)
    owner = place.session.get(User, row.user_id)
    return {
        "id": row.id, "name": row.name, "key": row.prefix + "...", "owner": owner.username if owner else None,
        "state": _state(row, place), "scopes": row.scopes if row.scopes is not None else "all",
        "flows": row.flows, "networks": row.networks,
        "rate": rights.rate and f"{rights.rate.requests}/{rights.rate.seconds}", "parallel": row.max_parallel,
        "created_at": row.created_at, "expires_at": row.expires_at, "last_used_at": row.last_used_at,
        "total_uses": row.total_uses,
    }  # fmt: skip


def _state(row: ApiKey, place: Workplace) -> str:
    if row.expires_at is not None and row.expires_at <= place.now:
        return "expired"
    if not row.is_active:
        return "disabled"
    return "stale" if keys.is_stale(row, place.now, place.rules) else "active"
