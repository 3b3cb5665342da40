"""``keyturn db``: the schema, as a step of its own."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click

from service import boot
from service.boot import BootError
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


@db.command("backup")
@env_file_option
@click.argument("file", type=click.Path(path_type=Path))
def backup(env_file: Path | None, file: Path) -> None:
    """Copy a SQLite database into FILE, whole and of one moment, while the server runs.

    The secret is not in it: keep a copy of that too, in another place.
    """
    settings = read_settings(env_file)
    if settings.database_url.get_backend_name() != "sqlite":
        raise BootError("the database is PostgreSQL, which has a command for this: pg_dump --format=custom")
    try:
        # Before anything is in it: SQLite would make a file that others may read.
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise BootError(f"the copy {file} cannot be made ({error.strerror}): name a new file") from None
    engine = boot.open_engine(settings)
    # The driver's own connection: SQLAlchemy's would begin a transaction, in which SQLite makes no copy.
    connection = engine.raw_connection()
    connection.cursor().execute("VACUUM INTO ?", (str(file),))
    connection.close()
    engine.dispose()
    click.echo(f"The database is in {file}. It is of no use without the server's secret.")
