"""The database fails in the middle of a request, or at its very end: no answer claims more than is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from tests.support.client import Api

VARIABLE = {"name": "N", "value": "v", "type": "Generic", "default_fields": []}


def fail(*_: Any) -> None:
    raise OperationalError("a statement", None, psycopg.errors.AdminShutdown("terminating connection"))


@contextmanager
def stopped(app: Flask, when: str) -> Iterator[None]:
    """Let the database fail at an event of SQLAlchemy's, as one does that is just stopped."""
    engine = app.extensions["keyturn"].engine
    event.listen(engine, when, fail)
    yield
    event.remove(engine, when, fail)


@pytest.fixture
def api(lite: Flask) -> Api:
    return Api.of_superuser(lite)


def posted(api: Api) -> TestResponse:
    """A request whose commit fails."""
    with stopped(api.app, "commit"):
        return api.post("/variables/", json=VARIABLE)


def test_a_commit_that_fails_makes_503_of_the_answer(api: Api) -> None:
    answer = posted(api)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json == {"detail": "The database is not available. Try again in a moment."}
    assert api.get("/variables/").json == []


def test_it_has_the_headers_of_every_answer(api: Api) -> None:
    answer = posted(api)
    assert answer.headers["X-Request-ID"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_it_is_counted_as_what_the_client_was_told(api: Api) -> None:
    posted(api)
    key_id = api.get("/api_key/").json["api_keys"][0]["id"]
    statuses = api.get(f"/api_key/{key_id}/usage").json["days"][0]["statuses"]
    assert (statuses["503"], "201" in statuses) == (1, False)


def test_openais_clients_are_told_in_openais_shape(api: Api) -> None:
    with stopped(api.app, "before_cursor_execute"):
        answer = api.get("/v1/models")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json["error"]["type"] == "server_error"
