"""Waits on the database end: nobody holds a thread by holding a lock."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import URL, create_engine, text

from tests.support.client import Api


@pytest.mark.postgresql
@pytest.mark.parametrize(("table", "path"), [("variable", "/variables/"), ("api_key", "/users/whoami")])
def test_a_request_that_waits_for_a_lock_is_given_up(
    make_app: Callable[..., Flask], postgresql_url: URL, table: str, path: str
) -> None:
    api = Api.of_superuser(make_app(postgresql_url, database_statement_seconds=1))
    other = create_engine(postgresql_url)
    with other.connect() as connection:
        connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        answer = api.get(path)
    other.dispose()
    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "1")
    assert api.get(path).status_code == 200
