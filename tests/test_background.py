"""Jobs put together from the settings."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from sqlalchemy import URL

from service.background import celery_of
from service.boot import BootError
from service.settings import Settings


@pytest.mark.parametrize(("url", "missing"), [("amqp://127.0.0.1", "celery"), ("redis://127.0.0.1", "redis")])
def test_a_broker_without_its_packages_stops_the_start_and_says_what_to_install(
    make_settings: Callable[..., Settings], sqlite_url: URL, monkeypatch: pytest.MonkeyPatch, url: str, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "service.adapters.job_celery", raising=False)
    with pytest.raises(BootError, match=r"pip install 'keyturn\[celery\]'"):
        celery_of(make_settings(sqlite_url, broker_url=url))
