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


def ask(
    app: Flask,
    origin: str | None,
    method: str = "GET",
    path: str = "/api/v1/users/whoami",
    wanted: str = "x-api-key",
) -> TestResponse:
    headers = {} if origin is None else {"Origin": origin}
    if method == "OPTIONS":
        headers |= {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}
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


USUAL = {
    "authorization", "content-type", "x-api-key",
    "last-event-id", "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id",
}  # fmt: skip


def headers_allowed(answer: TestResponse) -> set[str]:
    return set(answer.headers["Access-Control-Allow-Headers"].split(", "))


@pytest.mark.parametrize("wanted", [
    "x-langflow-global-var-openai_api_key", "if-match", "idempotency-key",
    "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-package-version,"
    "x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout",
    "X-Of-Ours, x-more", "x-!#$%&'+.^_`|~-9",
])  # fmt: skip
def test_a_named_origin_may_send_the_headers_that_it_asks_for(app: Flask, wanted: str) -> None:
    asked = {name.strip().lower() for name in wanted.split(",")}
    assert headers_allowed(ask(app, OURS, "OPTIONS", wanted=wanted)) == USUAL | asked


@pytest.mark.parametrize("wanted", [
    "", "*", "x-one x-two", "x-one,", "x-one,,x-two", "x-one;q=1", "x-n\u00e4me", '"x-one"', "x-one:", "(x-one)",
    "x" * 5000, ",".join(f"x-{number}" for number in range(200)),
], ids=lambda wanted: ascii(wanted[:20]))  # fmt: skip
def test_what_is_no_list_of_names_asks_for_nothing(app: Flask, wanted: str) -> None:
    answer = ask(app, OURS, "OPTIONS", wanted=wanted.encode().decode("latin-1"))
    assert headers_allowed(answer) == USUAL


def test_a_preflights_answer_depends_on_what_it_asks_for(app: Flask) -> None:
    assert {"Origin", "Access-Control-Request-Headers"} <= set(ask(app, OURS, "OPTIONS").vary)


def test_an_answer_that_is_read_depends_on_the_origin_alone(app: Flask) -> None:
    assert "Access-Control-Request-Headers" not in ask(app, OURS).vary


def test_a_star_allows_the_usual_headers_alone(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    app = make_app(sqlite_url, cors_origins=("*", OURS))
    assert headers_allowed(ask(app, OURS, "OPTIONS", wanted="idempotency-key")) == USUAL
