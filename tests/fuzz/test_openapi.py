"""The OpenAPI document is true of what users own, for a superuser, on SQLite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.document import Described, described

THINGS = ("keys", "users", "variables", "flows", "auth", "monitor", "audit")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    with described(tmp_path_factory.mktemp("openapi")) as server:
        yield server


def test_what_users_own_is_as_the_document_says(server: Described) -> None:
    tags = [option for tag in THINGS for option in ("--include-tag", tag)]
    server.check(server.key(), "--phases", "examples,coverage,fuzzing", *tags, examples=3)
