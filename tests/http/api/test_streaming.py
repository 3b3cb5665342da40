"""Streams: what clients read while a flow runs, and what happens when they go away."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL

from tests.http.api.test_runs import model_flow, store, with_credential
from tests.support import flows
from tests.support.client import Api
from tests.support.flows import edge
from tests.support.provider import Provider
from tests.support.waiting import until


@pytest.fixture
def streaming(make_app: Callable[..., Flask], sqlite_url: URL, provider: Provider) -> Iterator[Api]:
    """A server with a quick heartbeat and a flow that asks a model."""
    api = Api.of_superuser(make_app(sqlite_url, openai_base_url=provider.url, heartbeat_seconds=0.05))
    with_credential(api)
    store(api, model_flow())
    yield api
    provider.go_on.set()


def stream(api: Api, query: str = "", text: str = "hi", **kwargs: Any) -> Any:
    return api.post(f"/run/flow?stream=true{query}", json={"input_value": text}, buffered=False, **kwargs)


def names(text: str) -> list[str]:
    return [json.loads(frame)["event"] for frame in text.split("\n\n") if frame.strip()]


def test_events_come_bare_with_a_blank_line_between(streaming: Api) -> None:
    answer = stream(streaming)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert names(answer.text) == ["add_message", "add_message", "token", "token", "add_message", "end"]
    assert "data:" not in answer.text.split("{", 1)[0]


def test_a_client_may_ask_for_one_object_a_line(streaming: Api) -> None:
    answer = stream(streaming, headers={"Accept": "application/x-ndjson"})
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    assert [json.loads(line)["event"] for line in answer.text.splitlines() if line][-1] == "end"


def test_a_client_may_ask_for_real_server_sent_events(streaming: Api) -> None:
    first, *_ = stream(streaming, "&format=sse").text.split("\n\n")
    assert first.startswith("event: add_message\ndata: {")


@pytest.mark.parametrize(
    ("query", "said", "kind"),
    [("", True, "text/event-stream"), ("", False, "application/json"), ("?stream=false", True, "application/json"),
     ("?stream=true", False, "text/event-stream")],
)  # fmt: skip
def test_the_body_may_ask_for_a_stream_and_the_query_decides(streaming: Api, query: str, said: bool,
                                                             kind: str) -> None:  # fmt: skip
    answer = streaming.post(f"/run/flow{query}", json={"input_value": "hi", "stream": said})
    assert answer.mimetype == kind


def test_an_unknown_format_is_refused_before_anything_runs(streaming: Api, provider: Provider) -> None:
    assert stream(streaming, "&format=xml").status_code == 422
    assert provider.requests == []


def test_silence_is_filled_with_empty_lines(streaming: Api, provider: Provider) -> None:
    provider.go_on.clear()
    pieces = iter(stream(streaming).response)
    seen = b"".join(next(pieces) for _ in range(6))
    assert seen.endswith(b"\n\n\n")
    provider.go_on.set()
    assert names((seen + b"".join(pieces)).decode())[-1] == "end"


def test_a_client_that_goes_away_while_the_provider_is_silent_ends_the_providers_stream(
    streaming: Api, provider: Provider
) -> None:
    provider.go_on.clear()
    provider.pieces = ("first",) + ("x" * 4000,) * 2000
    answer = stream(streaming)
    pieces = iter(answer.response)
    while b'"token"' not in next(pieces):
        pass
    answer.close()
    provider.go_on.set()
    assert provider.abandoned.wait(10)


def test_a_failure_in_the_middle_is_an_event_with_the_plain_answers_body(streaming: Api, provider: Provider) -> None:
    plain = streaming.post("/run/flow", json={"input_value": "!401"})
    *_, last = [json.loads(frame) for frame in stream(streaming, text="!401").text.split("\n\n") if frame.strip()]
    assert last["event"] == "error"
    status, _, detail = last["data"]["error"].partition(": ")
    # Not encoded once more: what clients cut off behind the status is an object.
    assert (int(status), detail) == (plain.status_code, plain.json["detail"])
    assert "Language Model" in json.loads(detail)["message"]


@pytest.mark.parametrize("body", [{"tweaks": {"code": "x"}}, {"input_type": "bogus"}])
def test_what_can_be_refused_at_once_is_refused_with_its_status(streaming: Api, body: dict[str, Any]) -> None:
    answer = streaming.post("/run/flow?stream=true", json=body)
    assert (answer.status_code, answer.is_json) == (422, True)


def test_only_so_many_runs_go_at_once_and_the_next_one_is_told_when_to_come_back(
    make_app: Callable[..., Flask], sqlite_url: URL, provider: Provider
) -> None:
    app = make_app(sqlite_url, openai_base_url=provider.url, max_parallel_runs=1)
    api = Api.of_superuser(app)
    with_credential(api)
    store(api, model_flow())
    provider.go_on.clear()
    answer = stream(api)
    pieces = iter(answer.response)
    next(pieces)
    refused = api.post("/run/flow", json={"input_value": "me too"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    provider.go_on.set()
    for _ in pieces:
        pass
    answer.close()
    assert api.post("/run/flow", json={"input_value": "now"}).status_code == 200


def test_no_thread_is_left_behind(streaming: Api) -> None:
    for _ in range(3):
        answer = stream(streaming)
        answer.get_data()
        answer.close()
    for thread in [thread for thread in threading.enumerate() if thread.name == "stream"]:
        thread.join(5)
        assert not thread.is_alive()


def test_a_flow_runs_another_one_of_its_owner_by_name(lite_caller: Api) -> None:
    store(lite_caller, flows.echo(), "inner")
    store(lite_caller, flows.running_another("inner"), "outer")
    answer = lite_caller.post("/run/outer", json={"input_value": "through both"})
    assert answer.json["outputs"][0]["outputs"][0]["results"]["message"]["text"] == "through both"


def test_a_flow_cannot_run_somebody_elses(lite_caller: Api) -> None:
    store(lite_caller.new_user("other"), flows.echo(), "theirs")
    store(lite_caller, flows.running_another("theirs"), "outer")
    answer = lite_caller.post("/run/outer", json={"input_value": "x"})
    assert (answer.status_code, "There is no flow theirs" in answer.json["detail"]) == (500, True)


def test_flows_that_run_each_other_come_to_an_end(lite_caller: Api) -> None:
    store(lite_caller, flows.running_another("itself"), "itself")
    answer = lite_caller.post("/run/itself", json={"input_value": "x"})
    assert answer.status_code == 422
    assert "nested more than 5 deep" in answer.json["detail"]


def test_a_circle_is_refused_when_the_flow_is_saved(lite_caller: Api) -> None:
    one, two = flows.chat_input(), flows.chat_output()
    data = flows.flow(
        [one, two], [edge(one, "message", two, "input_value"), edge(two, "message", one, "input_value")]
    )
    for answer in (
        lite_caller.post("/flows/", json={"name": "x", "data": data}),
        lite_caller.post("/flows/batch/", json={"flows": [{"name": "x", "data": data}]}),
        lite_caller.patch(f"/flows/{store(lite_caller, flows.echo(), 'y')}", json={"data": data}),
    ):
        assert answer.status_code == 422
        assert "in a cycle" in answer.json["detail"]
    assert [flow["name"] for flow in lite_caller.get("/flows/").json] == ["y"]


def test_a_webhook_hands_its_body_to_the_flow(lite_caller: Api) -> None:
    hook = flows.node("Webhook-w", "Webhook", "Webhook", [flows.field("data")], {"output_data": "build_data"})
    pattern = [
        flows.field("input_data", kind="other"),
        flows.field("pattern", "{name} came"),
        flows.field("mode", "Parser"),
    ]
    parser = flows.node("Parser-p", "ParserComponent", "Parser", pattern, {"parsed_text": "parse_combined_text"})
    end = flows.chat_output()
    data = flows.flow([hook, parser, end], [edge(hook, "output_data", parser, "input_data"),
                                            edge(parser, "parsed_text", end, "input_value")])  # fmt: skip
    store(lite_caller, data)
    assert lite_caller.post("/webhook/flow", json={"name": "Ada"}).status_code == 202
    said = until(lambda: lite_caller.get("/monitor/messages").json)
    assert [message["text"] for message in said] == ["Ada came"]


@pytest.mark.parametrize("query", ["", "?stream=true", "?stream=true&format=sse"])
def test_a_number_that_json_does_not_have_goes_out_as_null(lite_caller: Api, query: str) -> None:
    fields = [flows.field("input_data", kind="other"), flows.field("auto_parse", True, kind="bool")]
    turn = flows.node("TypeConverter-t", "TypeConverterComponent", "Type Convert", fields,
                      {"data_output": "convert_to_data"})  # fmt: skip
    start, end = flows.chat_input(), flows.chat_output()
    store(lite_caller, flows.flow([start, turn, end], [edge(start, "message", turn, "input_data"),
                                                      edge(turn, "data_output", end, "input_value")]))  # fmt: skip
    body = {"input_value": '{"a": NaN, "b": 1e999}', "output_type": "debug"}
    answer = lite_caller.post(f"/run/flow{query}", json=body)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for frame in [part for part in answer.text.split("\n\n") if part]:
        text = frame.partition("data: ")[2] if frame.startswith("event:") else frame
        json.loads(text, parse_constant=refuse)
    assert '"a": null' in answer.text or '"a":null' in answer.text
