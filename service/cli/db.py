"""``keyturn db``: the schema, as a step of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from service import boot
from service.cli.options import env_file_option, read_settings
from service.storage import schema


@click.group("db")
def db() -> None:
    """Look after the database's schema."""


@db.command("upgrade")
@env_file_option
def upgrade(env_file: Path | None) -> None:
    """Migrate the database to this version, and make what a first start makes."""
    boot.prepare(replace(read_settings(env_file), auto_migrate=True))
    click.echo(f"The database is at schema {schema.code_version()}.")


@db.command("current")
@env_file_option
def current(env_file: Path | None) -> None:
    """Say which schema the database has, and which one this version needs."""
    engine = boot.open_engine(read_settings(env_file))
    with engine.connect() as connection:
        version = schema.database_version(connection)
    engine.dispose()
    click.echo(f"database {version or 'none'}, code {schema.code_version()}")
