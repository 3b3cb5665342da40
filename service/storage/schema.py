"""The schema's version: which one the database has, which one the code has, and the way between them.

A server that finds its database in order needs no Alembic, which takes 8 MiB, so it is loaded when there is something
to migrate.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from service.storage.base import Base

if TYPE_CHECKING:
    from alembic.config import Config


@cache
def _versions() -> tuple[str, ...]:
    """The migrations that this code knows, by number: their files begin with it."""
    files = resources.files("migrations").joinpath("versions").iterdir()
    return tuple(sorted(file.name[:4] for file in files if file.name[:4].isdigit() and file.name.endswith(".py")))


def code_version() -> str:
    """Return the newest migration that this code knows, such as ``"0001"``."""
    if not _versions():
        raise RuntimeError("the package was installed without its migrations")
    return _versions()[-1]


def database_version(connection: Connection) -> str | None:
    """Return the migration that the database is at; None when it has no schema of ours."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def is_known(version: str) -> bool:
    """Say whether this code has the migration; a database with another one is newer than the code."""
    return version in _versions()


def upgrade(connection: Connection, to: str = "head") -> None:
    """Migrate the database, in the connection's transaction; the caller commits."""
    from alembic import command

    command.upgrade(_config(connection), to)


def downgrade(connection: Connection, to: str) -> None:
    """Migrate back, in the connection's transaction; the caller commits."""
    from alembic import command

    command.downgrade(_config(connection), to)


def differences(connection: Connection) -> list[object]:
    """Return what the models say and the database lacks, or the other way round; empty when they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "migrations:")
    config.attributes["connection"] = connection
    return config
