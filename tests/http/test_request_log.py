"""Ids and lines of requests: an operator finds what a caller complains of, and no secret on the way."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL

from tests.support.client import Api

HEADER = "X-Request-ID"


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def api(make_app: Callable[..., Flask], sqlite_url: URL, log_file: Path) -> Api:
    return Api.of_superuser(make_app(sqlite_url, log_level="info", log_file=log_file, log_json=True))


def lines(log_file: Path) -> list[dict[str, Any]]:
    for handler in logging.getLogger("service").handlers:
        handler.flush()
    return [json.loads(line) for line in log_file.read_text().splitlines()]


def test_every_answer_has_an_id_of_its_own(api: Api) -> None:
    ids = {api.get(path).headers[HEADER] for path in ("/health", "/users/whoami", "/users/whoami", "/nowhere")}
    assert len(ids) == 4


def test_a_refusal_at_the_door_has_an_id_too(api: Api) -> None:
    assert len(Api(api.app, None, "").get("/users/whoami").headers[HEADER]) == 16


def test_a_callers_own_id_is_kept(api: Api) -> None:
    assert api.get("/health", headers={HEADER: "order-4711.retry_2"}).headers[HEADER] == "order-4711.retry_2"


@pytest.mark.parametrize(
    "given", ["short", "a" * 65, "two words here", "sk-" + "a" * 43, "new\tline-here", "ümlaut-ümlaut"]
)
def test_an_id_that_could_do_harm_is_replaced(api: Api, given: str) -> None:
    assert api.get("/health", headers={HEADER: given}).headers[HEADER] != given


def test_a_request_is_a_line_that_says_who_did_what(api: Api, log_file: Path) -> None:
    answer = api.get("/users/whoami")
    line = lines(log_file)[-1]
    assert (line["request_id"], line["logger"]) == (answer.headers[HEADER], "service.requests")
    assert [line[name] for name in ("method", "endpoint", "status", "address")] == [
        "GET", "users.whoami", 200, "127.0.0.1",
    ]  # fmt: skip
    assert line["caller"].startswith("administrator, key ")
    assert line["milliseconds"] > 0


def test_neither_the_path_nor_the_query_stands_in_a_line(api: Api, log_file: Path) -> None:
    api.get("/flows/canary-in-the-path", query_string={"x-api-key": str(api.key), "note": "canary-in-the-query"})
    text = log_file.read_text()
    assert ("canary" in text, str(api.key) in text) == (False, False)


def test_a_stranger_is_nobody(api: Api, log_file: Path) -> None:
    Api(api.app, None, "").get("/users/whoami")
    assert [lines(log_file)[-1][name] for name in ("status", "caller")] == [403, "nobody"]


def test_lines_can_be_switched_off_and_ids_stay(
    make_app: Callable[..., Flask], sqlite_url: URL, log_file: Path
) -> None:
    app = make_app(sqlite_url, log_level="info", log_file=log_file, request_log=False)
    assert HEADER in app.test_client().get("/health").headers
    assert "service.requests" not in log_file.read_text()


def test_a_line_for_people_ends_with_the_id(make_app: Callable[..., Flask], sqlite_url: URL, log_file: Path) -> None:
    answer = make_app(sqlite_url, log_level="info", log_file=log_file).test_client().get("/health")
    line = log_file.read_text().splitlines()[-1]
    assert "GET monitor.health 200 " in line
    assert line.endswith(f"by nobody from 127.0.0.1 [{answer.headers[HEADER]}]")
