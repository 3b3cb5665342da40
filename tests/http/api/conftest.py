"""What tests of running flows share: a provider on loopback, and callers of servers that use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from sqlalchemy import URL

from tests.support.client import Api
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
