"""Null and empty credentials: what is no credential is refused, wherever one is read and whatever it looks like."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from service.http.rules import RULES
from tests.conftest import MakeApp
from tests.families.routes import (
    CLOSED,
    NEW_PASSWORD,
    ONE_OF_EACH_KIND,
    PASSWORD,
    Owner,
    Route,
    call_of,
    ghost,
    name_of,
    rule_of,
    status_of,
)

VALUES: dict[str, str] = {
    "empty": "",
    "a space": " ",
    "null": "null",
    "None": "None",
    "undefined": "undefined",
    "a list": "[]",
    "an object": "{}",
    "zero": "0",
    "true": "true",
    "false": "false",
    "NaN": "NaN",
    "the mark of a key": "sk-",
    "the mark of a token": "kta_",
    "the mark of a refresh token": "ktr_",
    "a star": "*",
    "a percent sign": "%",
    # Without spaces: a cookie with one inside is no cookie to werkzeug.
    "SQL": "'OR'1'='1'--",
    "NUL": "\x00",
    "NUL at the end": "sk-" + "a" * 43 + "\x00",
    "64 kB": "a" * 65_536,
    "64 kB of a key": "sk-" + "a" * 65_536,
    "not ASCII": "kéy-ключ-鍵",
    "half of a surrogate pair": "sk-\ud800",
    "a comma list": "sk-a,sk-b",
    "a comma": ",",
    "quoted": '""',
    "a JWT without a signature": "eyJhbGciOiJub25lIn0.eyJzdWIiOiIwIn0.",
}
CARRIERS = ("header", "query", "bearer", "cookie")

every_value = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
every_carrier = pytest.mark.parametrize("carrier", CARRIERS)


@pytest.fixture(scope="module")
def owner(lasting: Flask) -> Owner:
    made = Owner(lasting)
    made.all_things()
    return made


@pytest.fixture(scope="module")
def opened(make_lasting: MakeApp) -> Flask:
    """An application where a request without a credential passes as the superuser."""
    return make_lasting(langflow_version="1.13.0", auto_login=True, skip_auth_auto_login=True)


def raw(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def carried(value: str, carrier: str) -> dict[str, str]:
    """The WSGI environment in which a server hands a value over: bytes in the clothes of Latin-1."""
    text = raw(value).decode("latin-1")
    if carrier == "query":
        return {"QUERY_STRING": f"x-api-key={quote_from_bytes(raw(value), safe='')}"}
    return {
        "header": {"HTTP_X_API_KEY": text},
        "bearer": {"HTTP_AUTHORIZATION": f"Bearer {text}"},
        "cookie": {"HTTP_COOKIE": f"access_token_lf={text}"},
    }[carrier]


def ask(app: Flask, route: Route, owner: Owner, environ: dict[str, str]) -> TestResponse:
    things = ghost(owner.things)
    return call_of(app, route, lambda place, thing: things[thing]).send(app, **environ)


@every_value
def test_it_opens_no_closed_route(lasting: Flask, owner: Owner, value: str) -> None:
    environ = carried(value, "header")
    answers = {name_of(route): status_of(ask(lasting, route, owner, environ)) for route in CLOSED}
    assert {route: status for route, status in answers.items() if status not in {401, 403}} == {}


@every_value
@every_carrier
def test_it_opens_nothing_from_any_carrier(lasting: Flask, owner: Owner, value: str, carrier: str) -> None:
    environ = carried(value, carrier)
    answers = {name_of(route): status_of(ask(lasting, route, owner, environ)) for route in ONE_OF_EACH_KIND}
    assert {route: status for route, status in answers.items() if status not in {401, 403}} == {}


@every_value
@every_carrier
def test_it_is_not_taken_for_no_credential_where_none_is_needed(
    opened: Flask, owner: Owner, value: str, carrier: str
) -> None:
    routes = [("GET", name) for name in ("users.whoami", "monitor.config", "keys.list")]
    statuses = {ask(opened, route, owner, carried(value, carrier)).status_code for route in routes}
    assert statuses <= {401, 403}


@every_value
@pytest.mark.parametrize("beside", CARRIERS)
@every_carrier
def test_it_spoils_the_good_key_beside_it(
    lasting: Flask, owner: Owner, value: str, carrier: str, beside: str
) -> None:
    good = carried(owner.key, beside) if beside != "cookie" else carried(owner.tokens.access, "cookie")
    environ = good | carried(value, carrier)
    if beside == carrier == "query":
        environ["QUERY_STRING"] = "&".join([good["QUERY_STRING"], carried(value, "query")["QUERY_STRING"]])
    elif beside == carrier:
        environ = {name: f"{text},{carried(value, carrier)[name]}" for name, text in good.items()}
    assert ask(lasting, ("GET", "users.whoami"), owner, environ).status_code in {401, 403}


@every_value
@every_carrier
def test_it_signs_nobody_in(lasting: Flask, value: str, carrier: str) -> None:
    answer = lasting.test_client(use_cookies=False).get("/api/v1/session", environ_overrides=carried(value, carrier))
    assert (answer.status_code, answer.json["authenticated"]) == (200, False)


@every_value
def test_it_is_no_refresh_token(lasting: Flask, value: str) -> None:
    environ = {"HTTP_COOKIE": f"refresh_token_lf={raw(value).decode('latin-1')}"}
    assert (
        lasting.test_client(use_cookies=False).post("/api/v1/refresh", environ_overrides=environ).status_code == 401
    )


def sign_in(app: Flask, username: str, password: str) -> int:
    body = "&".join(
        f"{name}={quote_from_bytes(raw(value), safe='')}"
        for name, value in (("username", username), ("password", password))
    )
    form = "application/x-www-form-urlencoded"
    return app.test_client(use_cookies=False).post("/api/v1/login", data=body, content_type=form).status_code


@every_value
def test_it_is_no_password(lasting: Flask, owner: Owner, value: str) -> None:
    assert sign_in(lasting, owner.mark, value) in {401, 413, 422}


@every_value
def test_it_is_no_users_name(lasting: Flask, value: str) -> None:
    assert sign_in(lasting, value, PASSWORD) in {401, 413, 422}


@pytest.mark.parametrize("form", [{}, {"username": ""}, {"password": PASSWORD}, {"username": "a", "password": ""}])
def test_a_form_without_a_field_signs_nobody_in(lasting: Flask, form: dict[str, str]) -> None:
    assert lasting.test_client(use_cookies=False).post("/api/v1/login", data=form).status_code in {401, 413, 422}


def reset(app: Flask, owner: Owner, current: Any) -> int:
    body = {"password": NEW_PASSWORD} | ({} if current is ... else {"current_password": current})
    answer = app.test_client(use_cookies=False).patch(
        f"/api/v1/users/{owner.user_id}/reset-password", headers=owner.session, data=json.dumps(body),
        content_type="application/json",
    )  # fmt: skip
    return answer.status_code


@every_value
def test_it_is_no_current_password(lasting: Flask, owner: Owner, value: str) -> None:
    assert reset(lasting, owner, value) in {400, 422}


@pytest.mark.parametrize(
    "value", [..., None, True, False, 0, 1, [], {}, [PASSWORD], {"password": PASSWORD}], ids=repr
)
def test_what_is_no_text_is_no_current_password(lasting: Flask, owner: Owner, value: Any) -> None:
    assert reset(lasting, owner, value) == 422


def test_every_route_that_takes_a_password_or_a_refresh_token_is_here(lasting: Flask) -> None:
    known = {"auth.login", "auth.refresh", "users.reset_password", "pages.login", "pages.change_password"}
    suspects = {name for name in RULES if any(word in name for word in ("login", "refresh", "password", "token"))}
    assert suspects - known - {"auth.auto_login"} == set(), [
        rule_of(lasting, ("POST", name)) for name in suspects - known
    ]
