"""The schema's version: which one the database has, which one the code has, and the way between them."""

from __future__ import annotations

from functools import cache

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from service.storage.base import Base


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "migrations:")
    config.attributes["connection"] = connection
    return config


@cache
def code_version() -> str:
    """Return the newest migration that this code knows, such as ``"0001"``."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("the package was installed without its migrations")
    return head


def database_version(connection: Connection) -> str | None:
    """Return the migration that the database is at; None when it has no schema of ours."""
    return MigrationContext.configure(connection).get_current_revision()


def is_known(version: str) -> bool:
    """Say whether this code has the migration; a database with another one is newer than the code."""
    scripts = ScriptDirectory.from_config(_config())
    return version in {revision.revision for revision in scripts.walk_revisions()}


def upgrade(connection: Connection, to: str = "head") -> None:
    """Migrate the database, in the connection's transaction; the caller commits."""
    command.upgrade(_config(connection), to)


def downgrade(connection: Connection, to: str) -> None:
    """Migrate back, in the connection's transaction; the caller commits."""
    command.downgrade(_config(connection), to)


def differences(connection: Connection) -> list[object]:
    """Return what the models say and the database lacks, or the other way round; empty when they agree."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))
