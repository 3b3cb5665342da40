"""Databases that real Langflows wrote, and a Keyturn to move into."""

from __future__ import annotations

import gzip
import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import URL, make_url

from service.cli import main
from tests.conftest import PASSWORD, SECRET, SUPERUSER

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = sorted(path.name.removesuffix(".sql.gz") for path in FIXTURES.glob("*.sql.gz"))


@dataclass
class Langflow:
    """A database of a Langflow, and the clear values that are known to be in it."""

    name: str
    url: str
    known: dict[str, Any]
    #: None: it is PostgreSQL.
    path: Path | None


def opened(name: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Langflow]:
    """Make the database of a fixture anew."""
    script = gzip.decompress((FIXTURES / f"{name}.sql.gz").read_bytes()).decode()
    known = json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))
    if "postgresql" not in name:
        path = folder / "langflow.db"
        with sqlite3.connect(path) as connection:
            connection.executescript(script)
        connection.close()
        yield Langflow(name, f"sqlite:///{path}", known, path)
        return
    server: URL = request.getfixturevalue("postgresql_server")
    base = f"langflow_{uuid.uuid4().hex}"
    admin = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{base}"')
    url = make_url(admin).set(database=base).render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(script)
    yield Langflow(name, url, known, None)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{base}" WITH (FORCE)')


#: Each database of a Langflow moves into SQLite, and one of each age into PostgreSQL.
PAIRS = [(name, "sqlite") for name in NAMES] + [("1.5.1-sqlite", "postgresql"), ("1.13.0-postgresql", "postgresql")]


@pytest.fixture(
    params=[
        pytest.param(pair, marks=[pytest.mark.postgresql] if "postgresql" in "".join(pair) else []) for pair in PAIRS
    ],
    ids=" into ".join,
)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Which Langflow, and what it moves into."""
    return tuple(request.param)


@pytest.fixture
def langflow(
    pair: tuple[str, str], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Langflow]:
    """Each of the fixtures in turn."""
    yield from opened(pair[0], tmp_path_factory.mktemp("langflow"), request)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> URL:
    """The empty database that is moved into."""
    target = request.getfixturevalue("pair")[1] if "pair" in request.fixturenames else "sqlite"
    return request.getfixturevalue(f"{target}_url")


@pytest.fixture
def younger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Langflow]:
    """One of Langflow 1.13."""
    yield from opened("1.13.0-sqlite", tmp_path_factory.mktemp("langflow"), request)


@pytest.fixture
def older(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Langflow]:
    """One of Langflow 1.5, with two users whose names differ in case only."""
    yield from opened("1.5.1-sqlite", tmp_path_factory.mktemp("langflow"), request)


@pytest.fixture
def move(
    tmp_path: Path, database_url: URL, monkeypatch: pytest.MonkeyPatch, bare_environment: None
) -> Callable[..., Result]:
    """Run ``keyturn import-langflow`` into the database of the test."""
    monkeypatch.chdir(tmp_path)
    own = {
        "LANGFLOW_CONFIG_DIR": str(tmp_path),
        "LANGFLOW_DATABASE_URL": database_url.render_as_string(hide_password=False).replace("+psycopg", ""),
        "LANGFLOW_SUPERUSER": SUPERUSER,
        "LANGFLOW_SUPERUSER_PASSWORD": PASSWORD,
        "LANGFLOW_SECRET_KEY": SECRET,
    }

    def call(langflow: Langflow, *words: str, secret: str | None = None) -> Result:
        (tmp_path / "langflow_secret").write_text(langflow.known["secret"] if secret is None else secret)
        return CliRunner().invoke(
            main, ["import-langflow", "--database-url", langflow.url, "--secret-key-file", "langflow_secret", *words],
            env=own,
        )  # fmt: skip

    return call
