"""``langflow superuser``: another superuser."""

from __future__ import annotations

import hmac
from dataclasses import replace
from pathlib import Path

import click

from service import boot
from service.cli.options import (
    BreakGlassRefused,
    ask_for_login,
    env_file_option,
    read_new_password,
    read_secret,
    read_settings,
    the_superuser,
    workplace,
)
from service.domain import users
from service.domain.audit import CONSOLE, Actor
from service.domain.errors import Forbidden
from service.storage.base import utc_now


def _refuse_argument(ctx: click.Context, param: click.Parameter, value: str | None) -> None:  # noqa: ARG001 - as click asks
    if value is not None:
        raise click.UsageError(
            "Secrets are no arguments here: whoever lists this machine's processes would see them. Leave --password "
            "and --auth-token out; passwords are asked for, or read from standard input, one a line."
        )


@click.command("superuser")
@env_file_option
@click.option("--username", prompt=True, help="Name of the new superuser.")
@click.option("--break-glass", is_flag=True, help="Nobody knows a superuser's password: give the server's secret.")
@click.option("--log-level", hidden=True, expose_value=False, help="Langflow's; without effect.")
@click.option("--password", "--auth-token", hidden=True, expose_value=False, callback=_refuse_argument)
def superuser(env_file: Path | None, username: str, break_glass: bool) -> None:
    """Make a superuser; passwords are asked for, or read from standard input, and never an argument.

    Needs an existing superuser's password (LANGFLOW_SUPERUSER_PASSWORD, or it asks), or --break-glass and the
    server's secret, or an empty database: whoever merely has a shell cannot make one (CVE-2025-57760). Each is in
    the audit trail.
    """
    settings = read_settings(env_file)
    if not settings.enable_superuser_cli:
        raise Forbidden("LANGFLOW_ENABLE_SUPERUSER_CLI is off")
    first = boot.has_no_users(settings)
    secret = read_secret("Secret key of the server") if break_glass and not first else None
    login = None if break_glass or first else ask_for_login(settings)
    password = read_new_password("New password")
    if first:
        # The server's own first superuser, under the name and password that are wanted here.
        settings = replace(settings, superuser=username, superuser_password=password)
    with workplace(settings) as place:
        by = CONSOLE
        if secret is not None and not hmac.compare_digest(secret.encode(), boot.secret_of(settings)[0].encode()):
            raise BreakGlassRefused("That is not the server's secret key")
        if login is not None:
            by = Actor.at_the_console(the_superuser(place, login))
        if not first:
            new = users.NewUser(username, password, is_active=True, is_superuser=True)
            how = {"reason": "break glass"} if break_glass else None
            users.create(place.session, by, new, place.hasher, utc_now(), how)
    click.echo(f"Superuser {username} made.")
