"""``langflow superuser``: another superuser."""

from __future__ import annotations

from pathlib import Path

import click

from service.cli.options import env_file_option, read_settings, the_superuser, workplace
from service.domain import users
from service.domain.audit import Actor
from service.domain.errors import Forbidden
from service.storage.base import utc_now


@click.command("superuser")
@env_file_option
@click.option("--username", prompt=True, help="Name of the new superuser.")
def superuser(env_file: Path | None, username: str) -> None:
    """Make a superuser; the password is asked for and never an argument.

    Needs an existing superuser's password (LANGFLOW_SUPERUSER_PASSWORD, or it asks): whoever merely has a
    shell cannot make one (CVE-2025-57760).
    """
    settings = read_settings(env_file)
    if not settings.enable_superuser_cli:
        raise Forbidden("LANGFLOW_ENABLE_SUPERUSER_CLI is off")
    with workplace(settings) as place:
        maker = the_superuser(place, settings)
        password = click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
        new = users.NewUser(username, password, is_active=True, is_superuser=True)
        users.create(place.session, Actor.at_the_console(maker), new, place.hasher, utc_now())
    click.echo(f"Superuser {username} made.")
