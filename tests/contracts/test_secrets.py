"""A walk over the API with canaries: each secret comes out in the one answer made for it, and nowhere else."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL
from werkzeug.test import TestResponse

from tests.conftest import PASSWORD, SUPERUSER
from tests.support import flows
from tests.support.logs import Collector
from tests.support.provider import Provider, serving

CREDENTIAL = "canary-credential-3b1f"
NEW_PASSWORD = "canary-password-9c27"
ENVIRONMENT = "canary-environment-55d0"
SENT_BAD_KEY = "sk-" + "canaryBADkey0" * 3 + "xxxx"


@dataclass
class Walk:
    """What came out on the way: each answer under a name, and every line of the log."""

    app: Flask
    log_file: Path
    answers: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def step(self, name: str, method: str, path: str, **kwargs: Any) -> TestResponse:
        answer = self.app.test_client(use_cookies=False).open(f"/api/v1{path}", method=method, **kwargs)
        self.answers[name] = f"{answer.status} {answer.headers} {answer.get_data(as_text=True)}"
        return answer

    def shown_in(self, secret: str) -> set[str]:
        return {name for name, text in self.answers.items() if self.secrets[secret] in text}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made, loggers = Collector(), [logging.getLogger(), logging.getLogger("service")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(made)
        logger.setLevel(logging.DEBUG)
    yield made
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(made)
        logger.setLevel(level)
    for handler in list(loggers[1].handlers):
        loggers[1].removeHandler(handler)
        handler.close()


@pytest.fixture
def walk(make_app: Callable[..., Flask], sqlite_url: URL, tmp_path: Path, collector: Collector) -> Walk:
    with serving() as provider:
        provider.pieces = ("An ", "answer")
        app = make_app(
            sqlite_url,
            log_level="debug",
            log_file=tmp_path / "log",
            openai_base_url=provider.url,
            environment={"TAVILY_API_KEY": ENVIRONMENT},
        )
        logging.getLogger("service").addHandler(collector)
        made = Walk(app, tmp_path / "log")
        sign_in(made)
        walk_over_keys_and_variables(made)
        run_flows(made, provider)
        leave(made)
    return made


def sign_in(walk: Walk) -> None:
    form = {"username": SUPERUSER, "password": PASSWORD}
    first = walk.step("login", "POST", "/login", data=form).json
    cookie = {"Cookie": f"refresh_token_lf={first['refresh_token']}"}
    second = walk.step("refresh", "POST", "/refresh", headers=cookie).json
    walk.secrets |= {
        "first access token": first["access_token"],
        "first refresh token": first["refresh_token"],
        "access token": second["access_token"],
        "refresh token": second["refresh_token"],
        "password": PASSWORD,
        "new password": NEW_PASSWORD,
        "credential": CREDENTIAL,
        "environment": ENVIRONMENT,
        "bad key": SENT_BAD_KEY,
    }
    walk.step("login with a wrong password", "POST", "/login", data=form | {"password": NEW_PASSWORD})
    walk.step("login with a body", "POST", "/login", json=form)


def walk_over_keys_and_variables(walk: Walk) -> None:
    bearer = {"Authorization": f"Bearer {walk.secrets['access token']}"}
    made = walk.step("create key", "POST", "/api_key/", json={"name": "canary"}, headers=bearer).json
    walk.secrets["key"] = made["api_key"]
    own = {"x-api-key": made["api_key"]}
    variable = {"name": "OPENAI_API_KEY", "value": CREDENTIAL, "type": "Credential", "default_fields": []}
    made = walk.step("create variable", "POST", "/variables/", json=variable, headers=own).json
    walk.step("create it again", "POST", "/variables/", json=variable, headers=own)
    walk.step("change variable", "PATCH", f"/variables/{made['id']}", json=made | {"value": CREDENTIAL}, headers=own)
    walk.step("show variable", "PATCH", f"/variables/{made['id']}", json={"id": made["id"], "type": "Generic"},
              headers=own)  # fmt: skip
    user = {"username": "somebody", "password": NEW_PASSWORD}
    walk.step("create user", "POST", "/users/", json=user, headers=own)
    walk.step("create user again", "POST", "/users/", json=user, headers=own)
    walk.step("create user badly", "POST", "/users/", json={"username": 7, "password": NEW_PASSWORD}, headers=own)
    walk.step("store", "POST", "/api_key/store", json={"api_key": walk.secrets["key"]}, headers=own)
    for path in ("/users/whoami", "/users/", "/api_key/", "/variables/", "/flows/", "/config", "/session"):
        walk.step(f"get {path}", "GET", path, headers=own)
        walk.step(f"get {path} with the key in the query", "GET", path, query_string=own)
        walk.step(f"get {path} with a bad key", "GET", path, headers={"x-api-key": SENT_BAD_KEY})
        walk.step(f"get {path} with a bad bearer", "GET", path, headers={"Authorization": f"Bearer {SENT_BAD_KEY}"})
    walk.step("a missing page with the key", "GET", f"/nowhere/{walk.secrets['key']}", headers=own)
    walk.step("a method that is not there", "PUT", "/api_key/", headers=own)
    walk.step("bad JSON", "POST", "/variables/", data=f'{{"value": "{CREDENTIAL}"', headers=own,
              content_type="application/json")  # fmt: skip


def run_flows(walk: Walk, provider: Provider) -> None:
    own = {"x-api-key": walk.secrets["key"]}
    body = {"name": "canary", "endpoint_name": "canary", "data": flows.chat_with_model()}
    walk.step("create flow", "POST", "/flows/", json=body, headers=own)
    walk.step("run", "POST", "/run/canary", json={"input_value": "Hello"}, headers=own)
    walk.step("stream", "POST", "/run/canary?stream=true", json={"input_value": "Hello"}, headers=own)
    provider.failures.append(401)
    provider.reason = f"Incorrect API key provided: {CREDENTIAL}"
    walk.step("a run that the provider refuses", "POST", "/run/canary", json={"input_value": "Hello"}, headers=own)
    walk.step("a run with a bad key", "POST", "/run/canary", json={}, headers={"x-api-key": SENT_BAD_KEY})
    headers = own | {"X-LANGFLOW-GLOBAL-VAR-OPENAI_API_KEY": CREDENTIAL}
    walk.step("a run with a value of its own", "POST", "/run/canary", json={"input_value": "Hello"}, headers=headers)
    assert {one.headers["authorization"] for one in provider.requests} == {f"Bearer {CREDENTIAL}"}


def leave(walk: Walk) -> None:
    bearer = {"Authorization": f"Bearer {walk.secrets['access token']}"}
    user_id = walk.step("whoami with the token", "GET", "/users/whoami", headers=bearer).json["id"]
    change = {"current_password": NEW_PASSWORD, "password": PASSWORD}
    walk.step("reset password badly", "PATCH", f"/users/{user_id}/reset-password", json=change, headers=bearer)
    walk.step("logout", "POST", "/logout", headers=bearer)
    walk.step("whoami after it", "GET", "/users/whoami", headers=bearer)


#: Where each secret may be seen; nowhere at all where it is not named.
ALLOWED = {
    "first access token": {"login"},
    "first refresh token": {"login"},
    "access token": {"refresh"},
    "refresh token": {"refresh"},
    "key": {"create key"},
}


def test_a_secret_is_shown_in_the_one_answer_that_is_made_for_it(walk: Walk) -> None:
    assert {name: walk.shown_in(name) for name in walk.secrets} == {
        name: ALLOWED.get(name, set()) for name in walk.secrets
    }


def test_no_answer_holds_a_ciphertext_or_a_hash(walk: Walk) -> None:
    marks = ("kt1:", "$argon2", "gAAAA")
    assert {name for name, text in walk.answers.items() for mark in marks if mark in text} == set()


def test_the_walk_reached_what_it_meant_to(walk: Walk) -> None:
    reached = {name: walk.answers[name][:3] for name in ("create variable", "create user", "create flow", "run")}
    assert reached == {"create variable": "201", "create user": "201", "create flow": "201", "run": "200"}


def test_no_line_of_the_log_holds_a_secret(walk: Walk) -> None:
    written = walk.log_file.read_text("utf-8") if walk.log_file.exists() else ""
    assert {name for name, secret in walk.secrets.items() if secret in written} == set()


def test_no_line_of_any_library_holds_a_secret_even_at_debug(walk: Walk, collector: Collector) -> None:
    assert collector.lines
    leaks = {
        (name, line.partition(" ")[0])
        for name, secret in walk.secrets.items()
        for line in collector.lines
        if secret in line
    }
    assert leaks == set()


def test_a_flow_keeps_the_name_of_a_variable_and_not_its_value(walk: Walk) -> None:
    assert CREDENTIAL not in json.dumps(walk.answers["create flow"])


@pytest.mark.parametrize("secret", ["sk-canary0123456789", "kta_canary0123456789", "ktr_canary0123456789"])
def test_a_key_that_reaches_the_log_after_all_is_cut(walk: Walk, secret: str) -> None:
    logging.getLogger("service.somewhere").warning("tried %s", secret, exc_info=ValueError(secret))
    assert "canary0123456789" not in walk.log_file.read_text("utf-8")
