"""Lines of the log: whatever a record brings along, no key and no token stands in them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import URL

from service import observability
from tests.support.client import Api

KEYS = ["sk-" + "Canary-7_" * 6, "kta_" + "Canary-7_" * 5, "ktr_" + "Canary-7_" * 5, "sk-ant-" + "canary7" * 5]
both_forms = pytest.mark.parametrize("as_json", [False, True], ids=["plain", "JSON"])


def written(tmp_path: Path, write: Callable[[logging.Logger], None], *, as_json: bool) -> str:
    log_file = tmp_path / "log"
    observability.install("debug", log_file, as_json=as_json)
    own = logging.getLogger("service")
    try:
        write(own.getChild("test"))
    finally:
        for handler in own.handlers:
            handler.close()
        own.handlers = []
    return log_file.read_text("utf-8")


def fail(log: logging.Logger, key: str) -> None:
    try:
        try:
            raise ValueError(f"of the cause: {key}")
        except ValueError as error:
            raise RuntimeError({"headers": {"x-api-key": key}}) from error
    except RuntimeError:
        log.exception("it failed")


WAYS: dict[str, Callable[[logging.Logger, str], None]] = {
    "the text": lambda log, key: log.warning("refused " + key),
    "an argument": lambda log, key: log.warning("refused %s", key),
    "a URL": lambda log, key: log.warning("GET %s", f"/api/v1/users/whoami?x-api-key={key}&page=1"),
    "a header": lambda log, key: log.warning("%r", {"Authorization": f"Bearer {key}"}),
    "bytes": lambda log, key: log.warning("%r", key.encode()),
    "a field": lambda log, key: log.warning("asked", extra={"fields": {"caller": key}}),
    "an exception": fail,
}


@both_forms
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("way", WAYS)
def test_a_key_is_cut_short_wherever_it_stands(tmp_path: Path, way: str, key: str, as_json: bool) -> None:
    text = written(tmp_path, lambda log: WAYS[way](log, key), as_json=as_json)
    assert text
    assert "canary" not in text.lower()


def test_an_exception_is_one_line_of_json(tmp_path: Path) -> None:
    (line,) = written(tmp_path, lambda log: fail(log, KEYS[0]), as_json=True).splitlines()
    assert "RuntimeError" in json.loads(line)["exception"]


@pytest.mark.parametrize("text", ["two\nlines", "a\rb", "\x1b[31mred", "\u2028", '"quoted"', "\x00"], ids=ascii)
def test_what_a_caller_sends_makes_no_line_of_its_own_in_json(tmp_path: Path, text: str) -> None:
    (line,) = written(tmp_path, lambda log: log.warning("from %s", text), as_json=True).split("\n")[:-1]
    assert json.loads(line)["message"] == f"from {text}"


@pytest.mark.parametrize("text", ["two\nlines", "a\rb", "\x1b[31mred", "\u2028", "\x9b31m"], ids=ascii)
def test_what_a_caller_sends_makes_no_line_of_its_own_for_people(tmp_path: Path, text: str) -> None:
    (line,) = written(tmp_path, lambda log: log.warning("from %s", text), as_json=False).splitlines()
    assert line.endswith("from " + ascii(text)[1:-1])


@both_forms
def test_a_failure_that_carries_the_callers_key_is_logged_without_it(
    make_app: Callable[..., Flask], sqlite_url: URL, tmp_path: Path, as_json: bool
) -> None:
    log_file = tmp_path / "log"
    api = Api.of_superuser(make_app(sqlite_url, log_level="debug", log_file=log_file, log_json=as_json))

    def break_down() -> None:
        raise RuntimeError(f"provoked with {api.key}")

    api.app.view_functions["users.whoami"] = break_down
    answer = api.get("/users/whoami")
    for handler in logging.getLogger("service").handlers:
        handler.flush()
    text = log_file.read_text("utf-8")
    assert (answer.status_code, str(api.key) in answer.text) == (500, False)
    assert "provoked with sk-***" in text
    assert str(api.key) not in text


def test_the_folder_of_the_log_is_made(make_app: Callable[..., Flask], sqlite_url: URL, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "of" / "keyturn.log"
    make_app(sqlite_url, log_file=log)
    assert log.is_file()
