"""``keyturn flows``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from service.cli.options import Workplace, of_superuser, user_option
from service.domain import flows
from service.domain.errors import Rejected
from service.storage import Flow, User

_COLUMNS = {
    "id": "ID", "name": "Name", "endpoint_name": "Endpoint", "mcp_enabled": "MCP", "access_type": "Access",
    "updated_at": "Changed",
}  # fmt: skip
_EXPORTED = ("id", "name", "description", "endpoint_name", "data", "tags", "is_component", "webhook", "access_type")


@click.group("flows")
def group() -> None:
    """List, upload, download and delete flows of any user."""


@group.command("list")
@user_option
@of_superuser
def list_flows(place: Workplace, username: str | None) -> None:
    """List a user's flows."""
    found = flows.list_of(place.session, place.owner(username).id, with_data=False)
    rows = [{name: getattr(flow, name) for name in _COLUMNS} for flow in found]
    place.show(rows, _COLUMNS, "There are no flows. Upload one with `keyturn flows upload FILE`.")


@group.command("upload")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@user_option
@of_superuser
def upload(place: Workplace, files: tuple[Path, ...], username: str | None) -> None:
    """Store the flows of exported FILES; all or none."""
    owner = place.owner(username)
    made = [flow for file in files for flow in _stored(place, owner, file)]
    rows = [{name: getattr(flow, name) for name in _COLUMNS} for flow in made]
    place.show(rows, _COLUMNS, "The files hold no flows.")


@group.command("download")
@click.argument("flow")
@user_option
@of_superuser
def download(place: Workplace, flow: str, username: str | None) -> None:
    """Print the FLOW of an id, endpoint name or name as JSON, as it was exported."""
    found = place.flow(place.owner(username), flow)
    click.echo(json.dumps({name: getattr(found, name) for name in _EXPORTED}, indent=2, default=str))


@group.command("delete")
@click.argument("flow")
@user_option
@of_superuser
def delete(place: Workplace, flow: str, username: str | None) -> None:
    """Delete the FLOW of an id, endpoint name or name, with its messages and files."""
    owner = place.owner(username)
    found = place.flow(owner, flow)
    flows.remove(place.session, owner.id, [found.id])
    place.tell(f"The flow {found.name} is deleted.", id=found.id)


def _stored(place: Workplace, owner: User, file: Path) -> list[Flow]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError):
        raise Rejected(f"{file} is not JSON") from None
    bodies = content["flows"] if isinstance(content, dict) and "flows" in content else [content]
    flows.check_exported(bodies, str(file))
    return flows.create_many(place.session, place.by, owner.id, [flows.fields_of(body) for body in bodies], place.now)
