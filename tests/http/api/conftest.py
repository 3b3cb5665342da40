"""What tests of running flows share: a provider on loopback, and callers of servers that use it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import URL, make_url
from sqlalchemy.orm import Session

from service.app import create_app
from service.domain import keys
from service.domain.audit import BOOT
from service.settings import Settings
from service.storage import User
from tests.conftest import PASSWORD, SECRET, SUPERUSER
from tests.support.client import Api
from tests.support.databases import empty_database
from tests.support.provider import Provider, serving


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving() as provider:
        yield provider


@pytest.fixture
def caller(make_app: Callable[..., Flask], database_url: URL, provider: Provider) -> Api:
    """The superuser of a server whose models are on loopback."""
    return Api.of_superuser(make_app(database_url, openai_base_url=provider.url))


@pytest.fixture
def lite_caller(make_app: Callable[..., Flask], sqlite_url: URL, provider: Provider) -> Api:
    return Api.of_superuser(make_app(sqlite_url, openai_base_url=provider.url))


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def shared_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    if request.param == "sqlite":
        yield make_url(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'keyturn.db'}")
        return
    server: URL = request.getfixturevalue("postgresql_server")
    with empty_database(server) as url:
        yield url


@pytest.fixture(scope="module")
def shared(shared_url: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The application of a whole file, on either database."""
    folder: Path = tmp_path_factory.mktemp("config")
    app = create_app(
        Settings(
            config_dir=folder, database_url=shared_url, superuser=SUPERUSER, superuser_password=PASSWORD,
            secret_key=SECRET, rate_limit_enabled=False, log_level="warning",
        )
    )  # fmt: skip
    yield app
    app.extensions["keyturn"].close()


@pytest.fixture
def mine(shared: Flask) -> Api:
    """A caller with the key of a new, ordinary user."""
    return newcomer(shared)


@pytest.fixture
def theirs(shared: Flask) -> Api:
    """A caller with the key of another new user."""
    return newcomer(shared)


@pytest.fixture
def chief(shared: Flask) -> Api:
    """A caller with the key of a new superuser."""
    return newcomer(shared, is_superuser=True)


def newcomer(app: Flask, *, is_superuser: bool = False) -> Api:
    name, now = f"u{uuid.uuid4().hex}", datetime.now(UTC)
    with Session(app.extensions["keyturn"].engine) as session:
        user = User(
            username=name, username_key=name, password_hash="none", is_active=True, is_superuser=is_superuser
        )  # fmt: skip
        session.add(user)
        session.flush()
        _, key = keys.create(session, BOOT, user.id, keys.NewKey("test", None), now)
        user_id = str(user.id)
        session.commit()
    return Api(app, key, user_id)
