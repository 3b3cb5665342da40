"""Applications of a whole file: the families send thousands of requests, and change nothing that is not theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import URL, make_url

from service.app import create_app
from service.settings import Settings
from tests.conftest import PASSWORD, SECRET, SUPERUSER
from tests.support.databases import empty_database

MakeApp = Callable[..., Flask]


@pytest.fixture(scope="module")
def make_lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeApp]:
    """Make applications that live as long as the file's tests; on a SQLite database of its own unless told."""
    opened: list[Flask] = []

    def make(url: URL | None = None, **changes: object) -> Flask:
        folder: Path = tmp_path_factory.mktemp("families")
        fields: dict[str, object] = {
            "config_dir": folder,
            "database_url": url or make_url(f"sqlite:///{folder / 'keyturn.db'}"),
            "superuser": SUPERUSER,
            "superuser_password": PASSWORD,
            "secret_key": SECRET,
            "rate_limit_enabled": False,
            "log_level": "critical",
        }
        app = create_app(Settings(**(fields | changes)))  # type: ignore[arg-type]
        opened.append(app)
        return app

    yield make
    for app in opened:
        app.extensions["keyturn"].close()


@pytest.fixture(scope="module")
def lasting_postgresql_url(postgresql_server: URL) -> Iterator[URL]:
    """An empty PostgreSQL database of the file's own."""
    with empty_database(postgresql_server) as url:
        yield url


@pytest.fixture(scope="module")
def lasting(make_lasting: MakeApp) -> Flask:
    """One application with the usual settings."""
    return make_lasting()
