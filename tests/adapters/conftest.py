"""A database as a server prepares it, for adapters that read and write it by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import URL, Engine

from service import boot
from service.settings import Settings
from service.storage.engine import create_engine


@pytest.fixture
def engine(make_settings: Callable[..., Settings], database_url: URL) -> Iterator[Engine]:
    boot.prepare(make_settings(database_url))
    made = create_engine(database_url, pool_size=20)
    yield made
    made.dispose()
