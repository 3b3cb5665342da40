"""Streamed responses: OpenAI's events in OpenAI's order, each held against the official SDK's model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL

from service.domain.ports import Event
from service.domain.responses import Turn
from service.http.openai.responses import Head, ResponseEvents
from tests.http.api.test_responses import WITH_TOOL, error_of
from tests.http.api.test_runs import model_flow, store, with_credential
from tests.support import flows
from tests.support.client import Api
from tests.support.flows import edge
from tests.support.openai_events import checked_response, events_of, frames_of
from tests.support.provider import USAGE, Provider

OPENING = ["response.created", "response.in_progress"]
MESSAGE = ["response.output_item.added", "response.content_part.added"]
CLOSING = ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
DELTA = "response.output_text.delta"


@pytest.fixture
def streaming(make_app: Callable[..., Flask], sqlite_url: URL, provider: Provider) -> Iterator[Api]:
    """A server with a quick heartbeat, and flows that ask a model, use tools, and ask nobody."""
    api = Api.of_superuser(make_app(sqlite_url, openai_base_url=provider.url, heartbeat_seconds=0.05))
    with_credential(api)
    store(api, model_flow(), "model")
    store(api, flows.agent_with_calculator(), "agent")
    store(api, flows.echo(), "echo")
    yield api
    provider.go_on.set()


def ask(api: Api, model: str, text: str = "Hello", **body: Any) -> Any:
    sent = {"model": model, "input": text, "stream": True, **body}
    answer = api.post("/v1/responses", json=sent, buffered=False)
    assert answer.status_code == 200, answer.json
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    return answer


def events(api: Api, model: str, text: str = "Hello", **body: Any) -> list[Any]:
    return events_of(ask(api, model, text, **body).text)


def kinds(found: list[Any]) -> list[str]:
    return [event.type for event in found]


def deltas(found: list[Any]) -> str:
    return "".join(event.delta for event in found if event.type == DELTA)


def test_a_models_answer_comes_in_openais_order(streaming: Api) -> None:
    found = events(streaming, "model")
    assert kinds(found) == [*OPENING, *MESSAGE, DELTA, DELTA, *CLOSING, "response.completed"]
    assert deltas(found) == "You said: Hello"


def test_an_answer_that_nobody_streams_comes_in_one_piece(streaming: Api) -> None:
    found = events(streaming, "echo")
    assert kinds(found) == [*OPENING, *MESSAGE, DELTA, *CLOSING, "response.completed"]


@pytest.mark.parametrize("model", ["model", "agent", "echo"])
def test_events_are_numbered_without_a_gap(streaming: Api, model: str) -> None:
    found = events(streaming, model, WITH_TOOL)
    assert [event.sequence_number for event in found] == list(range(len(found)))


@pytest.mark.parametrize(("model", "text"), [("model", "Hello"), ("agent", WITH_TOOL), ("echo", "Hello")])
def test_the_last_event_has_what_the_plain_answer_has(streaming: Api, model: str, text: str) -> None:
    plain = checked_response(streaming.post("/v1/responses", json={"model": model, "input": text}).json)
    last = events(streaming, model, text)[-1].response
    assert (last.status, last.output_text, last.usage) == (plain.status, plain.output_text, plain.usage)
    assert [item.type for item in last.output] == [item.type for item in plain.output]


def test_usage_comes_with_the_last_event(streaming: Api) -> None:
    assert events(streaming, "model")[-1].response.usage.total_tokens == USAGE["total_tokens"]


def test_every_event_of_a_response_is_about_the_same_one(streaming: Api) -> None:
    found = events(streaming, "model")
    assert len({event.response.id for event in found if hasattr(event, "response")}) == 1
    assert {event.item_id for event in found if hasattr(event, "item_id")} == {found[-1].response.output[0].id}


def test_a_tool_comes_before_the_message_and_is_done_when_it_is_told(streaming: Api) -> None:
    found = events(streaming, "agent", WITH_TOOL)
    tool = ["response.output_item.added", "response.function_call_arguments.delta",
            "response.function_call_arguments.done", "response.output_item.done"]  # fmt: skip
    assert kinds(found) == [*OPENING, *tool, *MESSAGE, DELTA, DELTA, *CLOSING, "response.completed"]
    assert [event.output_index for event in found if hasattr(event, "output_index")] == [0] * 4 + [1] * 7
    assert json.loads(found[3].delta) == {"expression": "6*7"}


def test_results_of_tools_come_in_langflows_shape_where_they_are_asked_for(streaming: Api) -> None:
    text = ask(streaming, "agent", WITH_TOOL, include=["tool_call.results"]).text
    bodies = [json.loads(data) for _, data in frames_of(text)]
    done = next(one["item"] for one in bodies if one["type"] == "response.output_item.done")
    assert (done["type"], done["inputs"], done["results"]) == ("tool_call", {"expression": "6*7"}, {"result": "42"})
    assert bodies[-1]["response"]["output"][0] == done


def test_a_flow_with_two_outputs_has_two_messages(streaming: Api) -> None:
    start, one, two = flows.chat_input(), flows.chat_output("ChatOutput-1"), flows.chat_output("ChatOutput-2")
    data = flows.flow(
        [start, one, two], [edge(start, "message", one, "input_value"), edge(start, "message", two, "input_value")]
    )
    store(streaming, data, "two")
    last = events(streaming, "two")[-1].response
    assert [item.content[0].text for item in last.output] == ["Hello", "Hello"]
    assert len({item.id for item in last.output}) == 2


def test_an_output_that_is_no_chat_is_told_with_the_end(streaming: Api) -> None:
    start, end = flows.chat_input(), flows.text_output()
    store(streaming, flows.flow([start, end], [edge(start, "message", end, "input_value")]), "text")
    assert events(streaming, "text")[-1].response.output_text == "Hello"


def test_a_failure_on_the_way_is_a_failed_response_with_the_plain_answers_words(streaming: Api) -> None:
    plain = streaming.post("/v1/responses", json={"model": "model", "input": "!401"})
    last = events(streaming, "model", "!401")[-1]
    assert (last.type, last.response.status, last.response.error.code) == (
        "response.failed", "failed", "server_error",
    )  # fmt: skip
    assert last.response.error.message == error_of(plain)["message"]


def test_what_was_said_before_a_failure_is_marked_incomplete(streaming: Api) -> None:
    last = events(streaming, "model", "!error")[-1]
    item = last.response.output[0]
    assert (last.type, item.status, item.content[0].text) == ("response.failed", "incomplete", "You said: ")


@pytest.mark.parametrize("body", [{"model": "none"}, {"input": 7}, {"tools": [{"type": "function"}]}])
def test_what_can_be_refused_at_once_is_refused_with_its_status(streaming: Api, body: dict[str, Any]) -> None:
    answer = streaming.post("/v1/responses", json={"model": "echo", "input": "x", "stream": True} | body)
    assert (answer.status_code in {400, 404}, answer.is_json) == (True, True)


def test_silence_is_filled_with_comments(streaming: Api, provider: Provider) -> None:
    provider.go_on.clear()
    pieces = iter(ask(streaming, "model").response)
    seen = b""
    while seen.count(b": still running\n\n") < 2:
        seen += next(pieces)
    provider.go_on.set()
    assert kinds(events_of((seen + b"".join(pieces)).decode()))[-1] == "response.completed"


def test_a_client_that_goes_away_stops_the_run(streaming: Api, provider: Provider) -> None:
    provider.go_on.clear()
    provider.pieces = ("first",) + ("x" * 4000,) * 2000
    answer = ask(streaming, "model")
    pieces = iter(answer.response)
    while DELTA.encode() not in next(pieces):
        pass
    answer.close()
    provider.go_on.set()
    assert provider.abandoned.wait(10)


def test_a_conversation_goes_on_in_a_stream(streaming: Api, provider: Provider) -> None:
    first = events(streaming, "agent", "I am Ada.")[-1].response.id
    events(streaming, "agent", "Who am I?", previous_response_id=first)
    assert [turn["content"] for turn in provider.last.body["messages"]][1:] == [
        "I am Ada.", "You said: I am Ada.", "Who am I?",
    ]  # fmt: skip


def test_an_agent_that_talks_before_and_after_a_tool_goes_on_with_its_message() -> None:
    tool = {"type": "tool_use", "name": "look", "tool_input": {}, "output": "seen", "error": None}
    partial = {"id": "m", "properties": {"state": "partial"}, "content_blocks": [tool]}
    answer = {"text": "Let me see. Yes.", "data": {"id": "m"}, "content_blocks": [tool]}
    outputs = [{"outputs": [{"results": {"message": answer}}]}]
    run = [
        Event("token", {"id": "m", "chunk": "Let me see. "}),
        Event("add_message", partial),
        Event("token", {"id": "m", "chunk": "Yes."}),
        Event("end", {"outputs": outputs, "tokens": None}),
    ]
    story = ResponseEvents(Head(Turn.after(None), "flow", None, {}, with_results=False))
    told = [*story.begin(), *(one for event in run for one in story.follow(event))]
    found = events_of("".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in told))
    assert [(event.output_index, event.delta) for event in found if event.type == DELTA] == [
        (0, "Let me see. "), (0, "Yes."),
    ]  # fmt: skip
    assert [item.type for item in found[-1].response.output] == ["message", "function_call"]
    assert found[-1].response.output_text == "Let me see. Yes."
