"""How much is tried: little and always the same in the suite, as much as one likes in ``make fuzz``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from sqlalchemy import URL, make_url

from service.app import create_app
from service.settings import Settings
from tests.conftest import PASSWORD, SECRET, SUPERUSER
from tests.families.conftest import lasting_postgresql_url
from tests.support.client import Api

__all__ = ["lasting_postgresql_url"]

#: Set by ``make fuzz``.
EXAMPLES = os.environ.get("KEYTURN_FUZZ_EXAMPLES")

_SLOW_IS_NO_FAULT = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
settings.register_profile(
    "suite", max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=_SLOW_IS_NO_FAULT
)
settings.register_profile(
    "long", max_examples=int(EXAMPLES or 1000), deadline=None, database=None, print_blob=True,
    suppress_health_check=_SLOW_IS_NO_FAULT,
)  # fmt: skip
settings.load_profile("long" if EXAMPLES else "suite")
#: For properties that send many requests with each example.
FEW = settings(max_examples=max(1, int(EXAMPLES or 48) // 4))


@pytest.fixture(scope="module")
def make_fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Flask]]:
    """Make applications that live as long as the file's tests."""
    opened: list[Flask] = []

    def make(url: URL | None = None, **changes: object) -> Flask:
        folder: Path = tmp_path_factory.mktemp("fuzz")
        fields: dict[str, object] = {
            "config_dir": folder,
            "database_url": url or make_url(f"sqlite:///{folder / 'keyturn.db'}"),
            "superuser": SUPERUSER,
            "superuser_password": PASSWORD,
            "secret_key": SECRET,
            "rate_limit_enabled": False,
            "log_level": "critical",
        }
        opened.append(create_app(Settings(**(fields | changes))))  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for app in opened:
        app.extensions["keyturn"].close()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def fuzzed(request: pytest.FixtureRequest, make_fuzzed: Callable[..., Flask]) -> Flask:
    """One application on either database."""
    url = request.getfixturevalue("lasting_postgresql_url") if request.param == "postgresql" else None
    return make_fuzzed(url)


@pytest.fixture(scope="module")
def chief(fuzzed: Flask) -> Api:
    """The superuser of it."""
    return Api.of_superuser(fuzzed)
