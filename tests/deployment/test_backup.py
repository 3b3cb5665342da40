"""Backup while the server works, and what a restored database is good for: the commands of docs/deployment.md."""

from __future__ import annotations

import shutil
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import URL, make_url

from service.boot import BootError
from tests.conftest import NOTHING_MAY_BE_SKIPPED, SECRET, close_all
from tests.http.api.test_runs import CREDENTIAL, model_flow, store, with_credential
from tests.support.client import Api
from tests.support.databases import empty_database
from tests.support.provider import Provider
from tests.support.server import ROOT, run

PAGE = (ROOT / "docs" / "deployment.md").read_text()
Restore = Callable[[], URL]


def as_on_the_page(command: str, **ours: str) -> list[str]:
    """Take a command from the page, with our places for its own; one that the page no longer has fails the test."""
    assert command in PAGE
    for theirs, place in ours.items():
        command = command.replace(theirs, place)
    return command.split()


def run_program(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        reason = f"no {command[0]} on this machine"
        pytest.fail(reason) if NOTHING_MAY_BE_SKIPPED else pytest.skip(reason)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def empty_postgresql(postgresql_server: URL, opened: list[Flask]) -> Iterator[URL]:
    """A database to restore into, without anything in it."""
    with empty_database(postgresql_server) as url:
        yield url
        close_all(opened)


@pytest.fixture
def backed_up(request: pytest.FixtureRequest, database_url: URL, tmp_path: Path) -> Restore:
    """Return what makes a backup and restores it elsewhere; it returns where."""
    if database_url.get_backend_name() == "sqlite":

        def copied() -> URL:
            copy = tmp_path / "copy.db"
            values = {"LANGFLOW_CONFIG_DIR": str(tmp_path)}
            made = run(["keyturn", "db", "backup", str(copy)], tmp_path, **values)
            assert made.returncode == 0, made.stderr
            assert stat.S_IMODE(copy.stat().st_mode) == 0o600
            return make_url(f"sqlite:///{copy}")

        return copied
    empty = request.getfixturevalue("empty_postgresql")

    def dumped() -> URL:
        ours = {"/var/backups/keyturn/keyturn.dump": str(tmp_path / "keyturn.dump")}
        # On the page the machine's user is the database's; here URIs say who and where.
        source, target = (url.set(drivername="postgresql").render_as_string(False) for url in (database_url, empty))
        *dump, _ = as_on_the_page("pg_dump --format=custom --file=/var/backups/keyturn/keyturn.dump keyturn", **ours)
        run_program([*dump, source])
        restore = "pg_restore --exit-on-error --no-owner --dbname=keyturn /var/backups/keyturn/keyturn.dump"
        words = as_on_the_page(restore, **ours)
        run_program([word.replace("--dbname=keyturn", f"--dbname={target}") for word in words])
        return empty

    return dumped


def test_what_was_backed_up_while_it_was_written_to_serves_the_same_keys_and_credentials(
    make_app: Callable[..., Flask], database_url: URL, backed_up: Restore, provider: Provider
) -> None:
    before = Api.of_superuser(make_app(database_url, openai_base_url=provider.url))
    with_credential(before)
    store(before, model_flow())
    done = threading.Event()
    begun = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            body = {"name": f"V{number}", "value": "x" * 500, "type": "Credential", "default_fields": []}
            assert before.post("/variables/", json=body).status_code == 201
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(60)
        restored = backed_up()
    finally:
        done.set()
        writer.join(60)
    after = make_app(restored, openai_base_url=provider.url)
    again = Api(after, before.key, before.user_id)
    assert again.post("/run/flow", json={"input_value": "hi"}).status_code == 200
    assert provider.last.headers["authorization"] == f"Bearer {CREDENTIAL}"
    with pytest.raises(BootError, match="is not the one that this database was encrypted with"):
        make_app(restored, secret_key=SECRET[::-1])


def test_a_backup_writes_nothing_over(tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("another")
    refused = run(["keyturn", "db", "backup", "copy.db"], tmp_path, LANGFLOW_CONFIG_DIR=str(tmp_path))
    assert (refused.returncode, (tmp_path / "copy.db").read_text()) == (3, "another")


def test_a_backup_of_postgresql_is_postgresqls_own(tmp_path: Path) -> None:
    values = {"LANGFLOW_CONFIG_DIR": str(tmp_path), "LANGFLOW_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    refused = run(["keyturn", "db", "backup", "copy.db"], tmp_path, **values)
    assert refused.returncode == 3
    assert "pg_dump --format=custom" in refused.stderr
