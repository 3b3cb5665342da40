"""The body of a run: JSON under any content type, or a form, from whoever shows a key that no page could send."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL
from werkzeug.test import TestResponse

from tests.http.api.test_runs import store, text_of
from tests.support import flows
from tests.support.client import Api

HELLO = json.dumps({"input_value": "hello"})
FORM, TEXT, PARTS = "application/x-www-form-urlencoded", "text/plain", "multipart/form-data"
OTHERS = [FORM, TEXT, "text/plain; charset=utf-8", "application/octet-stream", "nonsense"]


@pytest.fixture
def echo(lite_caller: Api) -> Api:
    store(lite_caller, flows.echo())
    return lite_caller


def run(api: Api, body: Any, kind: str, path: str = "/run/flow", **kwargs: Any) -> TestResponse:
    return api.post(path, data=body, content_type=kind, **kwargs)


def problems(answer: TestResponse) -> list[tuple[str, list[Any]]]:
    assert answer.status_code == 422, answer.text
    return [(one["type"], one["loc"]) for one in answer.json["detail"]]


@pytest.mark.parametrize("kind", [*OTHERS, "", "application/json", "application/json; charset=utf-8"])
def test_json_counts_under_any_content_type(echo: Api, kind: str) -> None:
    assert text_of(run(echo, HELLO, kind)) == "hello"


def test_a_key_as_a_bearer_token_is_in_a_header_too(echo: Api) -> None:
    bearer = {"Authorization": f"Bearer {echo.key}"}
    assert text_of(run(Api(echo.app, None, ""), HELLO, FORM, headers=bearer)) == "hello"


def test_the_fields_of_a_form_are_those_of_the_body(echo: Api) -> None:
    tweaks = json.dumps({"ChatOutput-probe": {"sender_name": "Robo"}})
    form = {"input_value": "hello", "session_id": "of the form", "tweaks": tweaks, "other": "x"}
    answer = run(echo, form, PARTS)
    assert (text_of(answer), answer.json["session_id"]) == ("hello", "of the form")
    assert answer.json["outputs"][0]["outputs"][0]["results"]["message"]["sender_name"] == "Robo"


def test_a_form_may_leave_its_tweaks_empty(echo: Api) -> None:
    assert text_of(run(echo, {"input_value": "hello", "tweaks": ""}, PARTS)) == "hello"


@pytest.mark.parametrize(
    ("form", "kind", "place"),
    [
        ({"input_value": "x", "tweaks": "{"}, "json_invalid", ["body", "tweaks"]),
        ({"tweaks": "[" * 100_000}, "json_invalid", ["body", "tweaks"]),
        ({"tweaks": "[1]"}, "dict_type", ["body", "tweaks"]),
        ({"input_type": "bogus"}, "value_error", ["body", "input_type"]),
        ({"session_id": "s" * 256}, "string_too_long", ["body", "session_id"]),
        ({"input_value": ["one", "two"]}, "value_error", ["body", "input_value"]),
        ({"input_value": "x", "file": (io.BytesIO(b"content"), "a.txt")}, "value_error", ["body", "file"]),
    ],
    ids=["cut", "deep", "list", "unknown", "long", "twice", "file"],
)
def test_a_field_of_a_form_that_is_no_good_is_named(echo: Api, form: Any, kind: str, place: list[str]) -> None:
    assert problems(run(echo, form, PARTS)) == [(kind, place)]
    assert echo.get("/monitor/messages").json == []


@pytest.mark.parametrize("kind", [PARTS, f"{PARTS}; boundary=x"])
def test_a_form_that_cannot_be_read_is_refused(echo: Api, kind: str) -> None:
    assert problems(run(echo, HELLO, kind)) == [("value_error", ["body"])]


@pytest.mark.parametrize("body", ["input_value=hello", "{", "[" * 100_000, '{"input_value": NaN}'])
def test_what_is_no_json_is_refused_under_any_content_type(echo: Api, body: str) -> None:
    assert [kind for kind, _ in problems(run(echo, body, FORM))] == ["json_invalid"]


@pytest.mark.parametrize("says_its_length", [True, False])
@pytest.mark.parametrize("kind", [FORM, TEXT, f"{PARTS}; boundary=x"])
def test_a_body_over_the_limit_is_refused_under_any_content_type(echo: Api, kind: str, says_its_length: bool) -> None:
    field = b'--x\r\nContent-Disposition: form-data; name="input_value"; filename="a"\r\n\r\n'
    body = (field if "x" in kind else b"") + b"a" * 17 * 1024 * 1024
    unsaid = {"input_stream": io.BytesIO(body), "environ_overrides": {"wsgi.input_terminated": True}}
    sent: dict[str, Any] = {"data": body} if says_its_length else unsaid
    assert echo.post("/run/flow", content_type=kind, **sent).status_code == 413


def test_the_fields_of_a_form_may_not_be_too_large_together(echo: Api) -> None:
    assert run(echo, {"input_value": "a" * 500_001}, PARTS).status_code == 413


@pytest.mark.parametrize("kind", [FORM, TEXT, PARTS])
def test_a_key_in_the_query_is_no_reason_to_take_what_a_form_could_send(echo: Api, kind: str) -> None:
    body = {"input_value": "hello"} if kind == PARTS else HELLO
    answer = run(Api(echo.app, None, ""), body, kind, f"/run/flow?x-api-key={echo.key}")
    assert (answer.status_code, answer.json) == (415, {"detail": "Content-Type must be application/json"})
    assert echo.get("/monitor/messages").json == []


@pytest.mark.parametrize("kind", [FORM, TEXT, PARTS])
def test_neither_is_an_open_configuration(make_app: Callable[..., Flask], sqlite_url: URL, kind: str) -> None:
    app = make_app(sqlite_url, langflow_version="1.13.0", auto_login=True, skip_auth_auto_login=True)
    owner, nobody = Api.of_superuser(app), Api(app, None, "")
    store(owner, flows.echo())
    assert text_of(nobody.post("/run/flow", json={"input_value": "hello"})) == "hello"
    body = {"input_value": "hello"} if kind == PARTS else HELLO
    assert run(nobody, body, kind).status_code == 415


def test_an_advanced_run_takes_json_alone(echo: Api) -> None:
    assert run(echo, "{}", FORM, "/run/advanced/flow").status_code == 415


@pytest.mark.parametrize("kind", [FORM, TEXT, f"{PARTS}; boundary=x", ""])
def test_a_webhook_takes_any_body(echo: Api, kind: str) -> None:
    assert run(echo, "what ever", kind, "/webhook/flow").status_code == 202
