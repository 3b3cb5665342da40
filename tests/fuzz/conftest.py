"""How much is tried: little and always the same in the suite, as much as one likes in ``make fuzz``."""

from __future__ import annotations

import os

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings

from tests.conftest import MakeApp
from tests.support.client import Api

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


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def fuzzed(request: pytest.FixtureRequest, make_lasting: MakeApp) -> Flask:
    """One application on either database."""
    url = request.getfixturevalue("lasting_postgresql_url") if request.param == "postgresql" else None
    return make_lasting(url)


@pytest.fixture(scope="module")
def chief(fuzzed: Flask) -> Api:
    """The superuser of it."""
    return Api.of_superuser(fuzzed)
