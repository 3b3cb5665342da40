"""A start is killed in the middle of a migration while another one waits for it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import URL, Engine, inspect, text

from service import boot
from service.boot import Facts
from service.settings import Settings
from service.storage import schema
from service.storage.engine import create_engine
from tests.support.server import ROOT, Process, clean_environment

OLD = "0002"
#: Statements that the killed one does not get to: within a step, and at the end of all steps.
WITHIN, LAST = "TABLE limit_window", f"version_num='{schema.code_version()}'"


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: URL) -> Settings:
    return make_settings(database_url)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """A database of former days, with somebody in it."""
    boot.prepare(settings)
    made = create_engine(settings.database_url)
    with made.connect() as connection:
        schema.downgrade(connection, OLD)
        connection.commit()
    yield made
    made.dispose()


def killed_at(settings: Settings, statement: str, meanwhile: Callable[[], None]) -> None:
    """Let another process start, and kill it on its way to a statement."""
    url = settings.database_url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.faults.half_way", url, str(settings.config_dir), statement]
    process = Process(command, ROOT, clean_environment())
    try:
        process.wait_for("here")
        meanwhile()
    finally:
        process.kill()
        process.stop()


def users(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text('SELECT username FROM "user"')))


@pytest.mark.parametrize("statement", [WITHIN, LAST], ids=["within", "last"])
def test_nothing_of_it_is_there_and_the_next_start_does_it(
    settings: Settings, engine: Engine, statement: str
) -> None:
    before, known = users(engine), set(inspect(engine).get_table_names())
    killed_at(settings, statement, lambda: None)
    with engine.connect() as connection:
        assert schema.database_version(connection) == OLD
        assert set(inspect(connection).get_table_names()) == known
    boot.prepare(settings)
    with engine.connect() as connection:
        assert schema.database_version(connection) == schema.code_version()
        assert schema.differences(connection) == []
    assert users(engine) == before


def test_a_start_that_waits_for_it_goes_on_and_does_it(settings: Settings, engine: Engine) -> None:
    with ThreadPoolExecutor(1) as pool:
        second: list[Future[Facts]] = []
        begun = threading.Event()

        def prepare() -> Facts:
            begun.set()
            return boot.prepare(settings)

        def begin_too() -> None:
            second.append(pool.submit(prepare))
            assert begun.wait(30)

        killed_at(settings, WITHIN, begin_too)
        assert second[0].result(60).users == 1
    with engine.connect() as connection:
        assert schema.differences(connection) == []


def test_a_first_start_that_is_killed_leaves_no_half_of_a_superuser(
    make_settings: Callable[..., Settings], sqlite_url: URL
) -> None:
    settings = make_settings(sqlite_url)
    killed_at(settings, "INSERT INTO audit_event", lambda: None)
    assert boot.prepare(settings).users == 1
