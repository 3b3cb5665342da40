"""Headers that close doors in the browser: on every kind of answer, and each of them once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import make_url
from werkzeug.test import TestResponse

from service.app import create_app
from service.settings import Settings
from tests.conftest import PASSWORD, SECRET, SUPERUSER
from tests.support import flows
from tests.support.client import Api

OF_API = "default-src 'none'; frame-ancestors 'none'"
#: How a page's own policy begins.
OF_PAGE = "default-src 'none'; script-src 'self'; "
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: Headers that may come more than once.
REPEATED = {"set-cookie", "vary"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    folder: Path = tmp_path_factory.mktemp("headers")
    made = create_app(
        Settings(
            config_dir=folder, database_url=make_url(f"sqlite:///{folder / 'keyturn.db'}"), superuser=SUPERUSER,
            superuser_password=PASSWORD, secret_key=SECRET, rate_limit_enabled=False, log_level="critical",
            cors_origins=("https://ours.example",), trusted_proxies=1,
        )
    )  # fmt: skip

    def break_down() -> None:
        raise RuntimeError("provoked")

    made.view_functions["monitor.version"] = break_down
    yield made
    made.extensions["keyturn"].close()


@pytest.fixture(scope="module")
def api(app: Flask) -> Api:
    api = Api.of_superuser(app)
    body = {"name": "echo", "endpoint_name": "echo", "data": flows.echo(), "mcp_enabled": True}
    assert api.post("/flows/", json=body).status_code == 201
    return api


def plain(app: Flask, path: str, method: str = "GET", **kwargs: Any) -> TestResponse:
    return app.test_client(use_cookies=False).open(path, method=method, buffered=True, **kwargs)


def not_modified(api: Api) -> TestResponse:
    tag = plain(api.app, "/static/app.css").headers["ETag"]
    return plain(api.app, "/static/app.css", headers={"If-None-Match": tag})


def mcp_stream(api: Api) -> TestResponse:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {}}}
    body["params"]["_meta"] = {"progressToken": 1}  # type: ignore[index]
    accept = {"Accept": "application/json, text/event-stream"}
    return api.post("/api/v1/mcp/streamable", json=body, headers=accept)


NO_STORE, NO_CACHE, FOR_EVER = "no-store", "no-cache", "public, max-age=31536000, immutable"
Ask = Callable[[Api], TestResponse]
#: Status, Cache-Control, the beginning of the policy, and how to get such an answer.
KINDS: dict[str, tuple[int, str, str, Ask]] = {
    "JSON": (200, NO_STORE, OF_API, lambda api: api.get("/users/whoami")),
    "health": (200, NO_STORE, OF_API, lambda api: plain(api.app, "/health")),
    "metrics": (
        200, NO_STORE, OF_API, lambda api: plain(api.app, "/metrics", headers={"x-api-key": str(api.key)})
    ),
    "OpenAPI": (200, NO_STORE, OF_API, lambda api: plain(api.app, "/openapi.json")),
    "a run": (200, NO_STORE, OF_API, lambda api: api.post("/run/echo", json={"input_value": "hi"})),
    "a streamed run": (200, NO_CACHE, OF_API, lambda api: api.post("/run/echo?stream=true", json={})),
    "an MCP answer": (200, NO_CACHE, OF_API, mcp_stream),
    "a preflight": (
        200, NO_STORE, OF_API, lambda api: plain(
            api.app, "/api/v1/users/whoami", "OPTIONS",
            headers={"Origin": "https://ours.example", "Access-Control-Request-Method": "GET"},
        )
    ),
    "a page": (200, NO_STORE, OF_PAGE, lambda api: plain(api.app, "/login")),
    "a redirect": (303, NO_STORE, OF_PAGE, lambda api: plain(api.app, "/flows")),
    "a missing page": (404, NO_STORE, OF_PAGE, lambda api: plain(api.app, "/static/nothing.css")),
    "a static file": (200, FOR_EVER, OF_PAGE, lambda api: plain(api.app, "/static/app.css")),
    "304": (304, FOR_EVER, OF_PAGE, not_modified),
    "400": (400, NO_STORE, OF_API, lambda api: api.post("/files/upload/" + "0" * 32, data={})),
    "401": (
        401, NO_STORE, OF_API, lambda api: plain(
            api.app, "/api/v1/users/whoami", headers={"Authorization": "Bearer nonsense"}
        )
    ),
    "403": (403, NO_STORE, OF_API, lambda api: plain(api.app, "/api/v1/users/whoami")),
    "404": (404, NO_STORE, OF_API, lambda api: plain(api.app, "/nowhere")),
    "405": (405, NO_STORE, OF_API, lambda api: plain(api.app, "/health", "DELETE")),
    "411": (
        411, NO_STORE, OF_API, lambda api: plain(
            api.app, "/api/v1/login", "POST",
            environ_overrides={"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""},
        )
    ),
    "413": (413, NO_STORE, OF_API, lambda api: plain(api.app, "/api/v1/login", "POST", data=b"x" * 70_000)),
    "422": (422, NO_STORE, OF_API, lambda api: api.post("/api_key/", json={"name": 5})),
    "500": (500, NO_STORE, OF_API, lambda api: plain(api.app, "/api/v1/version")),
}  # fmt: skip

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_an_answer_has_them_all(api: Api, kind: str) -> None:
    status, caching, policy, ask = KINDS[kind]
    answer = ask(api)
    assert answer.status_code == status, answer.text
    assert {name: answer.headers.get(name) for name in ALWAYS} == ALWAYS
    assert answer.headers["Cache-Control"] == caching
    assert answer.headers["Content-Security-Policy"].startswith(policy)
    assert len(answer.headers["X-Request-ID"]) == 16


@every_kind
def test_no_header_comes_twice(api: Api, kind: str) -> None:
    names = [name.lower() for name, _ in KINDS[kind][3](api).headers if name.lower() not in REPEATED]
    assert sorted(names) == sorted(set(names))


@every_kind
def test_no_answer_tells_the_server_and_its_version(api: Api, kind: str) -> None:
    told = str(KINDS[kind][3](api).headers)
    assert [name for name in ("Server:", "X-Powered-By", "Werkzeug", "Python") if name in told] == []


@pytest.mark.parametrize(("scheme", "told"), [("https", "max-age=31536000"), ("http", None)])
def test_only_answers_over_https_say_that_it_shall_stay_so(app: Flask, scheme: str, told: str | None) -> None:
    answer = plain(app, "/health", headers={"X-Forwarded-Proto": scheme})
    assert answer.headers.get("Strict-Transport-Security") == told


def test_it_can_be_left_unsaid(make_app: Callable[..., Flask], sqlite_url: Any) -> None:
    answer = make_app(sqlite_url, hsts_seconds=0).test_client().get("/health", base_url="https://localhost")
    assert "Strict-Transport-Security" not in answer.headers
