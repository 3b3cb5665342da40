"""Fixtures: a real application on a real database, as its users would have it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import kombu.exceptions
import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from kombu import Connection
from sqlalchemy import URL, Engine, create_engine, make_url, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from service import boot
from service.app import create_app
from service.settings import Settings
from service.storage import User
from service.storage.engine import create_engine as make_engine
from tests.support.client import Api
from tests.support.databases import empty_database
from tests.support.server import clean_environment

POSTGRESQL = make_url(
    os.environ.get("KEYTURN_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
)
REDIS = os.environ.get("KEYTURN_TEST_REDIS", "redis://127.0.0.1:6379/15")
RABBITMQ = os.environ.get("KEYTURN_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//")
REDIS_BROKER = os.environ.get("KEYTURN_TEST_REDIS_BROKER", "redis://127.0.0.1:6379/14")
#: CI sets it: what is missing there fails instead of being skipped.
NOTHING_MAY_BE_SKIPPED = os.environ.get("KEYTURN_TEST_STRICT") == "1"

MakeApp = Callable[..., Flask]

SUPERUSER, PASSWORD = "administrator", "securepassword"
SECRET = "a-secret-for-tests-0123456789-abcdef"


class Clock:
    """A clock that tests set forward, instead of sleeping."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, **kwargs: float) -> None:
        self.ahead += timedelta(**kwargs)


def _postgresql_answers() -> bool:
    engine = create_engine(POSTGRESQL, connect_args={"connect_timeout": 3})
    try:
        with engine.connect():
            return True
    except OperationalError:
        return False
    finally:
        engine.dispose()


@pytest.fixture(scope="session")
def postgresql_server() -> URL:
    if not _postgresql_answers():
        reason = f"no PostgreSQL at {POSTGRESQL.host}:{POSTGRESQL.port}"
        pytest.fail(reason) if NOTHING_MAY_BE_SKIPPED else pytest.skip(reason)
    return POSTGRESQL


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A Redis that other programs may use too: subjects of tests hold ids of their own."""
    try:
        redis.Redis.from_url(REDIS).ping()
    except redis.RedisError:
        reason = f"no Redis at {REDIS}"
        pytest.fail(reason) if NOTHING_MAY_BE_SKIPPED else pytest.skip(reason)
    return REDIS


def _broker(url: str, name: str) -> str:
    with Connection(url, connect_timeout=3) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
        except (kombu.exceptions.OperationalError, OSError):
            reason = f"no {name} at {connection.as_uri()}"
            pytest.fail(reason) if NOTHING_MAY_BE_SKIPPED else pytest.skip(reason)
    return url


@pytest.fixture
def rabbitmq_url() -> str:
    """A RabbitMQ that other programs may use too: each test has a queue of its own."""
    return _broker(RABBITMQ, "RabbitMQ")


@pytest.fixture
def redis_broker_url() -> str:
    """A Redis for Celery, likewise."""
    return _broker(REDIS_BROKER, "Redis")


@pytest.fixture
def opened() -> list[Flask]:
    """The applications of this test; a database closes them before it goes."""
    return []


def close_all(opened: list[Flask]) -> None:
    while opened:
        opened.pop().extensions["keyturn"].close()


@pytest.fixture
def postgresql_url(postgresql_server: URL, opened: list[Flask]) -> Iterator[URL]:
    """An empty PostgreSQL database of the test's own."""
    with empty_database(postgresql_server) as url:
        yield url
        close_all(opened)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """An empty database; each test that asks for it, or for the application, runs on both."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    return make_url(f"sqlite:///{tmp_path / 'keyturn.db'}")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> URL:
    return make_url(f"sqlite:///{tmp_path / 'keyturn.db'}")


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Make settings for tests: quick, with a known superuser and no login limit."""

    return lambda url, **changes: settings_of(tmp_path, url, **changes)


def settings_of(folder: Path, url: URL, **changes: object) -> Settings:
    fields: dict[str, object] = {
        "config_dir": folder,
        "database_url": url,
        "superuser": SUPERUSER,
        "superuser_password": PASSWORD,
        "secret_key": SECRET,
        "rate_limit_enabled": False,
        "log_level": "warning",
    }
    return Settings(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def engine(make_settings: Callable[..., Settings], database_url: URL) -> Iterator[Engine]:
    """A database as a server prepares it, without a server."""
    boot.prepare(make_settings(database_url))
    made = make_engine(database_url, pool_size=20)
    yield made
    made.dispose()


@pytest.fixture
def owner(engine: Engine) -> uuid.UUID:
    """The id of the one user of that database."""
    with Session(engine) as session:
        return session.scalars(select(User.id)).one()


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take everything that Keyturn would read out of this process's environment, for commands that run in it."""
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_app(
    make_settings: Callable[..., Settings], clock: Clock, opened: list[Flask]
) -> Iterator[Callable[..., Flask]]:
    """Make applications, and close them in the end."""

    def make(url: URL, **changes: object) -> Flask:
        app = create_app(make_settings(url, **changes), now=clock)
        opened.append(app)
        return app

    yield make
    close_all(opened)


@pytest.fixture(scope="module")
def make_lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeApp]:
    """Make applications that live as long as the file's tests; on a SQLite database of its own unless told."""
    made: list[Flask] = []

    def make(url: URL | None = None, **changes: object) -> Flask:
        folder = tmp_path_factory.mktemp("lasting")
        own = url or make_url(f"sqlite:///{folder / 'keyturn.db'}")
        made.append(create_app(settings_of(folder, own, **({"log_level": "critical"} | changes))))
        return made[-1]

    yield make
    close_all(made)


@pytest.fixture(scope="module")
def lasting_postgresql_url(postgresql_server: URL) -> Iterator[URL]:
    """An empty PostgreSQL database of the file's own."""
    with empty_database(postgresql_server) as url:
        yield url


@pytest.fixture(scope="module")
def lasting(make_lasting: MakeApp) -> Flask:
    """One application of the file, with the usual settings."""
    return make_lasting()


@pytest.fixture
def app(make_app: Callable[..., Flask], database_url: URL) -> Flask:
    """The application on either database."""
    return make_app(database_url)


@pytest.fixture
def lite(make_app: Callable[..., Flask], sqlite_url: URL) -> Flask:
    """The application on SQLite alone, for what has nothing to do with the database."""
    return make_app(sqlite_url)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def api(app: Flask) -> Api:
    """A caller with the superuser's key."""
    return Api.of_superuser(app)


@pytest.fixture
def other(app: Flask, api: Api) -> Api:
    """A caller with the key of another, ordinary user."""
    return api.new_user("somebody")
