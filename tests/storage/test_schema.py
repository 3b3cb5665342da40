"""Versions of the schema are known without Alembic, and are the ones that it knows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, text

from service.storage import schema
from service.storage.engine import create_engine
from tests.support.server import clean_environment


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", "migrations:")
    return ScriptDirectory.from_config(config)


def test_the_newest_migration_is_alembics_head() -> None:
    assert schema.code_version() == scripts().get_current_head()


def test_every_migration_is_known_and_no_other() -> None:
    every = {script.revision for script in scripts().walk_revisions()}
    assert all(schema.is_known(version) for version in every)
    assert not any(schema.is_known(version) for version in ("", "000", "9999", "__in", "0001_the_house"))


def test_the_version_of_a_database_is_read_as_alembic_reads_it(database_url: URL) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        assert schema.database_version(connection) is None
        for version in ("0001", "0003", schema.code_version()):
            schema.upgrade(connection, version)
            assert schema.database_version(connection) == version
            assert MigrationContext.configure(connection).get_current_revision() == version
        connection.execute(text("DELETE FROM alembic_version"))
        assert schema.database_version(connection) is None
    engine.dispose()


def test_an_idle_server_has_not_loaded_what_pages_and_migrations_need(tmp_path: Path) -> None:
    code = (
        "import sys; from service.app import create_app; from service.settings import Settings;"
        "app = create_app(Settings.from_env()); app.test_client().get('/health');"
        "print(sorted({'alembic', 'mako', 'bs4', 'lxml', 'markdownify', 'openai', 'anthropic', 'docx', 'pypdf'}"
        " & sys.modules.keys()))"
    )
    environment = clean_environment(LANGFLOW_CONFIG_DIR=str(tmp_path), LANGFLOW_SUPERUSER_PASSWORD="long-enough")
    told = [
        subprocess.run(
            [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    # The first one had a database to make.
    assert told[1].strip() == "[]"
