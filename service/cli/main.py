"""The commands, and what they share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from service import __version__
from service.boot import BootError, exit_on_error
from service.cli import audit, flows, keys, secrets, users, variables
from service.cli.db import db
from service.cli.import_langflow import import_langflow
from service.cli.keys import api_key
from service.cli.quickstart import quickstart
from service.cli.run import run
from service.cli.superuser import superuser
from service.cli.worker import worker
from service.domain.errors import DomainError, Invalid
from service.environment import SettingsError
from service.settings import Settings

_MANUAL = """Serve Langflow flows behind API keys.

\b
First steps:
  keyturn run                 start the server on http://127.0.0.1:7860
  keyturn api-key             make an API key for the superuser
  curl -X POST "$URL/api/v1/run/FLOW" -H "x-api-key: $KEY" \\
       -H "content-type: application/json" -d '{"input_value": "hello"}'

Settings come from options, then the env file (.env here, or --env-file), then the
environment; their names are Langflow's (LANGFLOW_...). docs/settings.md lists them.
"""


#: Langflow's commands that have another name or need no replacement.
_INSTEAD = {
    "migration": "`keyturn db upgrade` migrates the database, and a start does so by itself",
    "copy-db": "`keyturn import-langflow` brings what Langflow's database holds",
}


class _Group(click.Group):
    """Turns every expected failure into one line and a status: 1 refused, 2 wrong usage, 3 cannot start."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] in _INSTEAD:
            ctx.fail(f"There is no command {args[0]!r} here: {_INSTEAD[args[0]]}.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            for problem in error.problems:
                click.echo(f"keyturn: {problem}", err=True)
            sys.exit(3)
        except BootError as error:
            click.echo(f"keyturn: {error}", err=True)
            sys.exit(3)
        except DomainError as error:
            click.echo(f"keyturn: {error.in_words() if isinstance(error, Invalid) else error}", err=True)
            sys.exit(1)


def _tell_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001 - as click asks
    """Tell scripts that call ``langflow`` the version that is served, as ``/api/v1/version`` does."""
    if not value:
        return
    if ctx.info_name != "langflow":
        click.echo(f"keyturn, version {__version__}")
    else:
        with exit_on_error():
            click.echo(f"langflow {Settings.from_env().langflow_version}")
    ctx.exit()


@click.group(
    cls=_Group, help=_MANUAL, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96}
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the version and exit.",
)
@click.option("--env-file", type=click.Path(path_type=Path), help="Read settings from this file instead of .env.")
@click.pass_context
def main(ctx: click.Context, env_file: Path | None) -> None:
    """See ``_MANUAL``."""
    ctx.obj = env_file


for command in (
    run, quickstart, api_key, keys.group, users.group, variables.group, flows.group, audit.group, secrets.group,
    superuser, db, import_langflow, worker,
):  # fmt: skip
    main.add_command(command)
