"""``POST /chat/completions``: flows for tools that speak nothing else, held against the official SDK's models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from sqlalchemy import URL

from tests.http.api.test_responses import error_of
from tests.http.api.test_runs import model_flow, store, with_credential
from tests.support import flows
from tests.support.client import Api
from tests.support.flows import edge
from tests.support.openai_events import frames_of
from tests.support.provider import USAGE, Provider

PATHS = ("/api/v1/chat/completions", "/v1/chat/completions")
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def chatting(make_app: Callable[..., Flask], sqlite_url: URL, provider: Provider) -> Iterator[Api]:
    api = Api.of_superuser(make_app(sqlite_url, openai_base_url=provider.url, heartbeat_seconds=0.05))
    with_credential(api)
    store(api, model_flow(), "model")
    store(api, flows.agent_with_calculator(), "agent")
    yield api
    provider.go_on.set()


def ask(api: Api, model: str = "model", messages: Any = HELLO, path: str = PATHS[1], **body: Any) -> Any:
    return api.post(path, json={"model": model, "messages": messages, **body}, buffered=False)


def chunks(api: Api, model: str = "model", **body: Any) -> list[ChatCompletionChunk]:
    *found, (_, done) = frames_of(ask(api, model, stream=True, **body).text)
    assert done == "[DONE]"
    return [ChatCompletionChunk.model_validate_json(data, strict=True) for _, data in found]


def two_outputs() -> dict[str, Any]:
    start, one, two = flows.chat_input(), flows.chat_output("ChatOutput-1"), flows.chat_output("ChatOutput-2")
    return flows.flow(
        [start, one, two], [edge(start, "message", one, "input_value"), edge(start, "message", two, "input_value")]
    )


@pytest.mark.parametrize("path", PATHS)
def test_a_flow_answers_in_the_sdks_shape(chatting: Api, path: str) -> None:
    made = ChatCompletion.model_validate(ask(chatting, path=path).json, strict=True)
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("You said: Hello", "stop")
    assert made.usage.model_dump(exclude_none=True) == USAGE


def test_the_last_message_of_the_user_is_what_the_flow_reads(chatting: Api, provider: Provider) -> None:
    parts = [{"type": "text", "text": "the"}, {"type": "text", "text": "last"}]
    before = [{"role": "system", "content": "s"}, {"role": "user", "content": "first"},
              {"role": "assistant", "content": "a"}]  # fmt: skip
    ask(chatting, messages=[*before, {"role": "user", "content": parts}])
    assert [turn["content"] for turn in provider.last.body["messages"]] == ["the\nlast"]


def test_a_session_goes_on_where_it_is_named(chatting: Api, provider: Provider) -> None:
    for text in ("I am Ada.", "Who am I?"):
        ask(chatting, "agent", [{"role": "user", "content": text}], session_id="ada")
    assert [turn["content"] for turn in provider.last.body["messages"]][1:] == [
        "I am Ada.", "You said: I am Ada.", "Who am I?",
    ]  # fmt: skip


def test_without_a_session_nothing_is_remembered(chatting: Api, provider: Provider) -> None:
    for text in ("I am Ada.", "Who am I?"):
        ask(chatting, "agent", [{"role": "user", "content": text}])
    assert [turn["content"] for turn in provider.last.body["messages"]][1:] == ["Who am I?"]


def test_a_stream_comes_in_chunks_and_ends_as_openais_do(chatting: Api) -> None:
    found = chunks(chatting)
    assert found[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.content for chunk in found[1:-1]] == ["You said: ", "Hello"]
    assert [chunk.choices[0].finish_reason for chunk in found] == [None] * 3 + ["stop"]
    assert len({chunk.id for chunk in found}) == 1


def test_a_stream_tells_the_usage_where_it_is_asked_for(chatting: Api) -> None:
    *_, last = chunks(chatting, stream_options={"include_usage": True})
    assert (last.choices, last.usage.total_tokens) == ([], USAGE["total_tokens"])


def test_several_outputs_follow_one_another_plain_and_streamed(chatting: Api) -> None:
    store(chatting, two_outputs(), "two")
    plain = ask(chatting, "two").json["choices"][0]["message"]["content"]
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks(chatting, "two"))
    assert (plain, streamed) == ("Hello\n\nHello", "Hello\n\nHello")


def test_a_failure_on_the_way_is_an_error_with_the_plain_answers_words(chatting: Api) -> None:
    failing = [{"role": "user", "content": "!401"}]
    plain = ask(chatting, messages=failing)
    *_, (_, last) = frames_of(ask(chatting, messages=failing, stream=True).text)[:-1]
    assert json.loads(last)["error"]["message"] == error_of(plain)["message"]


def test_a_client_that_goes_away_stops_the_run(chatting: Api, provider: Provider) -> None:
    provider.go_on.clear()
    provider.pieces = ("first",) + ("x" * 4000,) * 2000
    answer = ask(chatting, stream=True)
    pieces = iter(answer.response)
    while b"first" not in next(pieces):
        pass
    answer.close()
    provider.go_on.set()
    assert provider.abandoned.wait(10)


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no messages": ({"messages": None}, "messages", "missing_required_parameter"),
    "tools": ({"tools": [{"type": "function"}]}, "tools", "tools_not_supported"),
    "a tool's result": (
        {"messages": [*HELLO, {"role": "tool", "tool_call_id": "c", "content": "42"}]}, "messages",
        "tools_not_supported",
    ),
    "functions": ({"functions": [{"name": "f"}]}, "functions", "unsupported_parameter"),
    "two answers": ({"n": 2}, "n", "unsupported_parameter"),
    "a format": ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
    "sound": ({"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
    "an image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "messages", "unsupported_content",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "param", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_a_body_that_does_not_fit_is_a_400_that_names_the_field(
    chatting: Api, body: Any, param: str, code: str
) -> None:
    answer = ask(chatting, **body)
    assert (answer.status_code, error_of(answer)["param"], error_of(answer)["code"]) == (400, param, code)


def test_somebody_elses_flow_is_answered_like_one_that_never_existed(chatting: Api) -> None:
    other = chatting.new_user("other")
    answer, never = ask(other, "model"), ask(other, "never")
    assert (answer.status_code, answer.json) == (404, never.json)
