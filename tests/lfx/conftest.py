"""Applications whose second engine is a real lfx; starting one takes seconds, so the tests of a file share one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import make_url

from service.app import create_app
from service.settings import Settings
from tests.conftest import PASSWORD, SECRET, SUPERUSER
from tests.http.api.conftest import newcomer
from tests.support import lfx
from tests.support.client import Api
from tests.support.flows import Json

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Flask]]:
    """Make applications with lfx; settings as for ``Settings``."""
    python, user = lfx.place()
    with ExitStack() as stack:

        def make(**changes: Any) -> Flask:
            folder = tmp_path_factory.mktemp("lfx")
            fields: dict[str, Any] = {
                "config_dir": folder, "database_url": make_url(f"sqlite:///{folder / 'keyturn.db'}"),
                "superuser": SUPERUSER, "superuser_password": PASSWORD, "secret_key": SECRET,
                "rate_limit_enabled": False, "log_level": "warning", "lfx_python": python, "lfx_user": user,
            }  # fmt: skip
            app = create_app(Settings(**(fields | changes)))
            stack.callback(app.extensions["keyturn"].close)
            return app

        yield make


@pytest.fixture(scope="module")
def app(start: Callable[..., Flask]) -> Flask:
    """The application of a whole file."""
    return start()


@pytest.fixture
def mine(app: Flask) -> Api:
    """A caller with the key of a new, ordinary user."""
    return newcomer(app)


def store(api: Api, data: Json, name: str = "flow") -> str:
    made = api.post("/flows/", json={"name": name, "data": data, "endpoint_name": name})
    assert made.status_code == 201, made.json
    return str(made.json["id"])


def result_of(answer: Any) -> Json:
    assert answer.status_code == 200, answer.json
    return dict(answer.json["outputs"][0]["outputs"][0])


def text_of(answer: Any) -> str:
    return str(result_of(answer)["results"]["message"]["text"])


@pytest.fixture
def found(mine: Api) -> Callable[..., dict[str, Any]]:
    """Runs lines of Python in a flow and returns what they have found."""

    def run(*lines: str, given: str = "") -> dict[str, Any]:
        store(mine, lfx.probe(*lines))
        return dict(json.loads(text_of(mine.post("/run/flow", json={"input_value": given}))))

    return run


@pytest.fixture
def refusal(mine: Api) -> Callable[..., tuple[int, str]]:
    """Runs lines of Python that end the run, and returns the answer's status and text."""

    def run(*lines: str) -> tuple[int, str]:
        store(mine, lfx.probe(*lines))
        answer = mine.post("/run/flow", json={"input_value": "x"})
        return answer.status_code, json.loads(answer.json["detail"])["message"]

    return run
