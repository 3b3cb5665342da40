"""What goes wrong with responses: OpenAI's shape and a status that its SDK knows, wherever the failure is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL

from tests.http.api.test_key_rights import limited
from tests.http.api.test_responses import PATHS, ask, echo, error_of
from tests.http.api.test_runs import model_flow, store, with_credential
from tests.support.client import Api
from tests.support.provider import Provider

REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no model": ({"input": "Hello"}, "model", "missing_required_parameter"),
    "no input": ({"model": "flow"}, "input", "missing_required_parameter"),
    "a model of the wrong type": ({"model": 7, "input": "Hello"}, "model", "invalid_type"),
    "an input of the wrong type": ({"model": "flow", "input": 7}, "input", "invalid_type"),
    "an input with NUL": ({"model": "flow", "input": "\x00"}, "input", "invalid_value"),
    "no message": ({"model": "flow", "input": []}, "input", "invalid_value"),
    "no message of the user": (
        {"model": "flow", "input": [{"role": "assistant", "content": "Hello"}]}, "input", "invalid_value",
    ),
    "an image": (
        {"model": "flow", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        "input", "unsupported_content",
    ),
    "a file": (
        {"model": "flow", "input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
        "input", "unsupported_content",
    ),
    "a part whose type is an object": (
        {"model": "flow", "input": [{"role": "user", "content": [{"type": {}, "text": "x"}]}]},
        "input", "unsupported_content",
    ),
    "a part without text": (
        {"model": "flow", "input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input", "invalid_type",
    ),
    "a message without content": ({"model": "flow", "input": [{"role": "user"}]}, "input", "invalid_type"),
    "a tool's result": (
        {"model": "flow", "input": [{"role": "user", "content": "x"},
                                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                                    {"type": "function_call_output", "call_id": "c", "output": "42"}]},
        "input", "tools_not_supported",
    ),
    "tools": ({"model": "flow", "input": "x", "tools": [{"type": "function"}]}, "tools", "tools_not_supported"),
    "background": ({"model": "flow", "input": "x", "background": True}, "background", "unsupported_parameter"),
    "store": ({"model": "flow", "input": "x", "store": False}, "store", "unsupported_value"),
    "a conversation": ({"model": "flow", "input": "x", "conversation": "c"}, "conversation", "unsupported_parameter"),
    "a prompt": ({"model": "flow", "input": "x", "prompt": {"id": "p"}}, "prompt", "unsupported_parameter"),
    "a format": (
        {"model": "flow", "input": "x", "text": {"format": {"type": "json_object"}}}, "text.format",
        "unsupported_parameter",
    ),
    "a stream of the wrong type": ({"model": "flow", "input": "x", "stream": "yes"}, "stream", "invalid_type"),
    "metadata of the wrong type": ({"model": "flow", "input": "x", "metadata": []}, "metadata", "invalid_type"),
    "a list": ([], "", "invalid_type"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "param", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_a_body_that_does_not_fit_is_a_400_that_names_the_field(mine: Api, body: Any, param: str, code: str) -> None:
    answer = mine.post("/v1/responses", json=body)
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["param"] or "", error["code"]) == (
        400, "invalid_request_error", param, code,
    )  # fmt: skip


def test_tools_are_refused_in_langflows_words(mine: Api) -> None:
    echo(mine)
    assert error_of(ask(mine, tools=[{"type": "function"}]))["message"] == "Tools are not supported yet"


def test_a_body_that_is_no_json_is_a_400(mine: Api) -> None:
    answer = mine.post("/v1/responses", data="{", content_type="application/json")
    assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_json")


def test_another_content_type_is_refused_in_the_same_shape(mine: Api) -> None:
    answer = mine.post("/v1/responses", data="model=flow", content_type="text/plain")
    assert (answer.status_code, error_of(answer)["type"]) == (415, "invalid_request_error")


@pytest.mark.parametrize("path", [*PATHS, "/v1/chat/completions"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sk-not-a-key"}, {"x-api-key": "junk"}])
def test_a_stranger_is_refused_by_the_door_in_the_same_shape(
    shared: Flask, path: str, headers: dict[str, str]
) -> None:
    answer = shared.test_client(use_cookies=False).post(path, json={}, headers=headers)
    assert (answer.status_code, error_of(answer)["type"]) == (403, "permission_error")


def test_other_routes_keep_their_shape(shared: Flask) -> None:
    assert set(shared.test_client().post("/api/v1/run/x", json={}).json) == {"detail"}


def test_a_bearer_token_is_a_key(mine: Api) -> None:
    echo(mine)
    client, headers = mine.app.test_client(use_cookies=False), {"Authorization": f"Bearer {mine.key}"}
    answer = client.post("/v1/responses", json={"model": "flow", "input": "Hello"}, headers=headers)
    assert answer.status_code == 200


def test_a_key_at_its_limit_is_told_when_to_come_back(mine: Api) -> None:
    echo(mine)
    key = limited(mine, rate_limit={"requests": 1, "window_seconds": 60})
    assert ask(key).status_code == 200
    answer = ask(key)
    assert (answer.status_code, error_of(answer)["type"], error_of(answer)["code"]) == (
        429, "rate_limit_error", "rate_limit_exceeded",
    )  # fmt: skip
    assert 0 < int(answer.headers["Retry-After"]) <= 60


def test_a_key_with_too_many_runs_is_told_so(lite_caller: Api, provider: Provider) -> None:
    with_credential(lite_caller)
    store(lite_caller, model_flow())
    key = limited(lite_caller, max_parallel_runs=1)
    provider.go_on.clear()
    first = key.post("/v1/responses", json={"model": "flow", "input": "hi", "stream": True}, buffered=False)
    pieces = iter(first.response)
    next(pieces)
    assert error_of(ask(key))["code"] == "rate_limit_exceeded"
    provider.go_on.set()
    for _ in pieces:
        pass
    first.close()


def test_a_failed_run_is_not_to_be_tried_again_by_the_sdk(lite_caller: Api) -> None:
    with_credential(lite_caller)
    store(lite_caller, model_flow())
    answer = ask(lite_caller, "!401")
    assert (answer.status_code, answer.headers["x-should-retry"]) == (502, "false")
    error = error_of(answer)
    assert (error["type"], error["code"], "Language Model" in error["message"]) == (
        "server_error", "provider_failed", True,
    )  # fmt: skip


def test_a_missing_variable_is_a_400_that_names_it(lite_caller: Api) -> None:
    store(lite_caller, model_flow())
    answer = ask(lite_caller)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "variable_missing")
    assert "OPENAI_API_KEY" in error_of(answer)["message"]


def test_a_flow_without_a_graph_is_told_so(mine: Api) -> None:
    mine.post("/flows/", json={"name": "empty", "endpoint_name": "empty"})
    answer = ask(mine, model="empty")
    assert (answer.status_code, error_of(answer)["code"]) == (422, "invalid_flow_request")


def test_a_failure_that_nobody_has_foreseen_has_the_same_shape_and_says_nothing(
    lite_caller: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise LookupError("the secret is 1234")

    monkeypatch.setattr(lite_caller.app.extensions["keyturn"].runner, "prepare", broken)
    answer = ask(lite_caller)
    assert (answer.status_code, error_of(answer)["message"]) == (500, "Internal Server Error")


def test_a_body_over_the_limit_is_refused_in_the_same_shape(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    api = Api.of_superuser(make_app(sqlite_url, max_body_bytes=1000))
    answer = ask(api, "x" * 2000)
    assert (answer.status_code, error_of(answer)["type"]) == (413, "invalid_request_error")
