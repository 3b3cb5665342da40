"""``keyturn variables``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from sqlalchemy import select

from service.cli.options import Workplace, of_superuser, of_superuser_with_secret, user_option
from service.domain import variables
from service.domain.errors import NotFound
from service.domain.variables import CREDENTIAL, GENERIC
from service.execution import flow_runner
from service.storage import Variable

_COLUMNS = {"id": "ID", "name": "Name", "type": "Type", "value": "Value", "default_fields": "Fields"}
_EXPLAINED = {
    "variable": "Variable", "source": "Source", "component": "Component", "field": "Field", "problem": "Problem",
}  # fmt: skip


@click.group("variables")
def group() -> None:
    """Set, list, explain and delete global variables of any user."""


@group.command("list")
@user_option
@of_superuser
def list_variables(place: Workplace, username: str | None) -> None:
    """List a user's variables; the value of a Credential is never shown."""
    views = variables.list_of(place.session, place.vault, place.owner(username).id)
    rows = [asdict(view) for view in views]
    place.show(rows, _COLUMNS, "There are no variables. Make one with `keyturn variables set NAME`.")


@group.command("set")
@click.argument("name")
@click.option("--generic", is_flag=True, help="A value that may be shown; a Credential otherwise.")
@click.option("--field", "fields", multiple=True, help="Field that it is offered for; again for each.")
@user_option
@of_superuser_with_secret("Value")
def set_variable(
    place: Workplace, name: str, generic: bool, fields: tuple[str, ...], username: str | None, secret: str
) -> None:
    """Make or change the variable NAME; the value is read from a prompt or from standard input."""
    owner = place.owner(username)
    kind = GENERIC if generic else CREDENTIAL
    known = place.session.scalar(select(Variable).where(Variable.user_id == owner.id, Variable.name == name))
    if known is None:
        new = {"name": name, "value": secret, "type": kind, "default_fields": list(fields)}
        view = variables.create(place.session, place.vault, place.by, owner.id, new, place.now)
    else:
        changes: dict[str, Any] = {"value": secret, "type": kind}
        if fields:
            changes["default_fields"] = list(fields)
        view = variables.update(place.session, place.vault, place.by, owner.id, known.id, changes, place.now)
    place.tell(f"The variable {name} is set.", id=view.id, name=name)


@group.command("delete")
@click.argument("name")
@user_option
@of_superuser
def delete(place: Workplace, name: str, username: str | None) -> None:
    """Delete the variable NAME."""
    owner = place.owner(username)
    known = place.session.scalar(select(Variable.id).where(Variable.user_id == owner.id, Variable.name == name))
    if known is None:
        raise NotFound(f"{owner.username} has no variable {name}")
    variables.remove(place.session, place.by, owner.id, known, place.now)
    place.tell(f"The variable {name} is deleted.", id=known, name=name)


@group.command("explain")
@click.argument("flow")
@user_option
@of_superuser
def explain(place: Workplace, flow: str, username: str | None) -> None:
    """Say for each field of FLOW (id or endpoint name) that wants a variable where its value would come from."""
    runner = flow_runner(place.settings, place.engine, place.vault)
    rows = [asdict(one) for one in runner.explain(place.session, place.owner(username).id, flow)]
    place.show(rows, _EXPLAINED, "No field of this flow wants a variable.")
