"""``keyturn audit``."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from service.cli.options import Date, Workplace, of_superuser
from service.domain import audit
from service.domain.audit import Action, Filter

_COLUMNS = {
    "at": "When (UTC)", "action": "What", "outcome": "Outcome", "actor_name": "Who", "via": "Via",
    "address": "From", "subject_name": "Which",
}  # fmt: skip


@click.group("audit")
def group() -> None:
    """Read the audit trail."""


def _filter(command: Any) -> Any:
    """Add the options that choose events."""
    for option in (
        click.option("--action", type=click.Choice([action.value for action in Action])),
        click.option("--outcome", type=click.Choice(["done", "refused"])),
        click.option("--since", type=Date(), help="As 2027-01-31."),
        click.option("--until", type=Date(), help="As 2027-02-28."),
    ):
        command = option(command)
    return command


@group.command("list")
@_filter
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@of_superuser
def list_events(place: Workplace, limit: int, **wanted: Any) -> None:
    """Show the newest events."""
    rows, _ = audit.page(place.session, Filter(**wanted), None, limit)
    bodies = [audit.body_of(row) for row in rows]
    for body in bodies:
        if not place.as_json:
            body["at"] = datetime.fromisoformat(body["at"])
    place.show(bodies, _COLUMNS, "There are no such events.")


@group.command("export")
@_filter
@of_superuser
def export(place: Workplace, **wanted: Any) -> None:
    """Print all events as JSON lines, the oldest first."""
    for event in audit.export(place.session, Filter(**wanted)):
        click.echo(json.dumps(audit.body_of(event)))
