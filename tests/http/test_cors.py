"""Pages of other origins read answers only where the operator names their origin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import URL, make_url
from werkzeug.test import TestResponse

from tests.conftest import MakeApp

OURS, OURS_TOO = "https://ours.example", "http://localhost:3000"
STRANGERS = [
    "null", "", "*", "https://evil.example", "https://ours.example.evil.example", "https://evil-ours.example",
    "https://evilours.example", "https://ours.example:8443", "http://ours.example", "https://sub.ours.example",
    "https://ours.example/", "https://ours.example@evil.example", "https://ours.example, https://evil.example",
    "HTTPS://OURS.EXAMPLE", "https://ours.example#", "http://localhost:30000", "http://localhost", "file://",
    "https://ours.exampl\u0435",
]  # fmt: skip
ALLOWING = "access-control-"


@pytest.fixture(scope="module")
def app(make_lasting: MakeApp) -> Flask:
    return make_lasting(make_url("sqlite://"), cors_origins=(OURS, OURS_TOO), cors_allow_credentials=True)


def ask(app: Flask, origin: str | None, method: str = "GET", path: str = "/api/v1/users/whoami") -> TestResponse:
    headers = {} if origin is None else {"Origin": origin}
    if method == "OPTIONS":
        headers |= {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    return app.test_client(use_cookies=False).open(path, method=method, headers=headers)


def allowed(answer: TestResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers if name.lower().startswith(ALLOWING)}


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize("origin", [OURS, OURS_TOO])
def test_a_named_origin_may_read_with_its_cookies(app: Flask, origin: str, method: str) -> None:
    found = allowed(ask(app, origin, method))
    assert found["access-control-allow-origin"] == origin
    assert found["access-control-allow-credentials"] == "true"
    assert ("access-control-allow-methods" in found) == (method == "OPTIONS")


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize("origin", STRANGERS, ids=ascii)
def test_every_other_origin_gets_no_header(app: Flask, origin: str, method: str) -> None:
    assert allowed(ask(app, origin.encode().decode("latin-1"), method)) == {}


@pytest.mark.parametrize("origin", [None, OURS, "https://evil.example"])
@pytest.mark.parametrize("path", ["/health", "/api/v1/users/whoami", "/nowhere"])
def test_a_cache_is_told_that_answers_depend_on_the_origin(app: Flask, origin: str | None, path: str) -> None:
    assert "Origin" in ask(app, origin, path=path).vary


@pytest.mark.parametrize("origin", [OURS, "null", "https://evil.example"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_without_a_setting_nobody_gets_a_header(
    make_app: Callable[..., Flask], sqlite_url: URL, origin: str, method: str
) -> None:
    assert allowed(ask(make_app(sqlite_url), origin, method)) == {}


@pytest.mark.parametrize("origin", [OURS, "null", "https://evil.example"])
def test_a_star_lets_all_read_and_none_with_cookies(
    make_app: Callable[..., Flask], sqlite_url: URL, origin: str
) -> None:
    found = allowed(ask(make_app(sqlite_url, cors_origins=("*", OURS)), origin))
    assert found["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in found
