"""A server with a flow, and somebody at its pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL

import service
from tests.support.client import Api
from tests.support.pages import Browser

DEMO = Path(service.__file__).parent / "demo"


@pytest.fixture
def app(make_app: Callable[..., Flask], database_url: URL) -> Flask:
    return make_app(database_url, rate_limit_enabled=False)


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser.signed_in(app)


@pytest.fixture
def api(app: Flask) -> Api:
    return Api.of_superuser(app)


@pytest.fixture
def echo(api: Api) -> dict[str, Any]:
    """A flow that says what it hears."""
    body = json.loads((DEMO / "echo.json").read_text())
    made = api.post("/flows/", json=body | {"name": "Echo", "endpoint_name": "echo"})
    assert made.status_code == 201, made.json
    return made.json
