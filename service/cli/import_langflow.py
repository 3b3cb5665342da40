"""``keyturn import-langflow``: users, keys, variables, projects, flows and messages of a Langflow."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from service.adapters.langflow_database import LangflowDatabase, LangflowDatabaseError
from service.adapters.langflow_secrets import LangflowSecret, LangflowSecretError
from service.cli.options import (
    Workplace,
    ask_for_login,
    env_file_option,
    read_secret,
    read_settings,
    the_superuser,
    workplace,
)
from service.domain.audit import Actor
from service.domain.moving import BATCH, Move, Report
from service.storage.engine import begin_write

#: Reasons of one kind that are printed; JSON has all of them.
_MOST_REASONS = 10
SOME_CANNOT_COME = 4


@click.command("import-langflow")
@env_file_option
@click.option("--database-url", required=True, help="Langflow's database; it is only read.")
@click.option(
    "--secret-key-file", type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="The file secret_key of Langflow's config folder.  [default: it is asked for]",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would come, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def import_langflow(
    env_file: Path | None, database_url: str, secret_key_file: Path | None, dry_run: bool, as_json: bool
) -> None:
    """Bring everything of a Langflow 1.5 to 1.13: the same keys and passwords go on working.

    It can be run again: what is here already stays as it is. Status 0: everything came. 4: some things cannot
    come; the reasons are printed. 1: refused, and nothing was written.
    """
    settings = read_settings(env_file)
    login = ask_for_login(settings)
    secret = secret_key_file.read_text("utf-8").strip() if secret_key_file else read_secret("Langflow's secret key")
    try:
        source = LangflowDatabase(make_url(database_url), LangflowSecret(secret))
    except ArgumentError:
        raise click.UsageError("--database-url is not a URL such as sqlite:////path/langflow.db") from None
    except (LangflowDatabaseError, LangflowSecretError) as error:
        click.echo(f"keyturn: {error}", err=True)
        sys.exit(1)
    try:
        with workplace(settings) as place:
            place.by = Actor.at_the_console(the_superuser(place, login))
            report = _move(place, source, dry_run=dry_run)
    except (LangflowDatabaseError, ValueError) as error:
        text = str(error) if isinstance(error, LangflowDatabaseError) else "a row cannot be read (ValueError)"
        click.echo(f"keyturn: {text}; mend or remove it in Langflow and run this again", err=True)
        sys.exit(1)
    finally:
        source.close()
    _show(report, dry_run=dry_run, as_json=as_json)
    if report.refused:
        sys.exit(SOME_CANNOT_COME)


def _move(place: Workplace, source: LangflowDatabase, *, dry_run: bool) -> Report:
    move = Move(place.session, place.vault, source, place.by, place.now)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Bringing Langflow", total=source.count())
        for _ in move.steps():
            if not dry_run:
                # A batch is whole or not there; whoever stops this starts it again.
                place.session.commit()
                begin_write(place.session)
            progress.advance(task, BATCH)
    if dry_run:
        place.session.rollback()
    return move.report


def _show(report: Report, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        kinds = {
            kind: {"brought": tally.brought, "already_here": tally.already_here, "refused": tally.refused}
            for kind, tally in report.kinds.items()
        }
        click.echo(json.dumps({"dry_run": dry_run, "kinds": kinds, "notes": report.notes}))
        return
    came = "Would come" if dry_run else "Brought"
    table = Table("", came, "Already here", "Cannot come", box=SIMPLE_HEAD, pad_edge=False)
    for kind, tally in report.kinds.items():
        table.add_row(kind, str(tally.brought), str(tally.already_here), str(len(tally.refused)))
    Console(highlight=False, width=None if sys.stdout.isatty() else 78).print(table)
    for note in report.notes:
        click.echo(f"- {note}")
    for tally in report.kinds.values():
        for reason in tally.refused[:_MOST_REASONS]:
            click.echo(f"- cannot come: {reason}")
        if len(tally.refused) > _MOST_REASONS:
            click.echo(f"- and {len(tally.refused) - _MOST_REASONS} more; --json lists all of them")
