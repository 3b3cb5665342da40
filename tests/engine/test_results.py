from __future__ import annotations

import json
import re
from typing import Any

from tests.engine.conftest import FLOW_ID, Runs
from tests.support import flows

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} UTC"
UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def masked(value: Any) -> str:
    """JSON in the order of its keys, with times and random ids masked."""
    text = re.sub(TIME, "<time>", json.dumps(value, indent=1))
    return re.sub(UUID4, "<id>", text.replace(FLOW_ID, "<flow>"))


def properties(source: str | None = None, **more: Any) -> dict[str, Any]:
    name = None if source is None else "Chat Input"
    return {
        "text_color": None,
        "background_color": None,
        "edited": False,
        "source": {"id": source, "display_name": name, "source": name},
        "icon": None,
        "allow_markdown": False,
        "positive_feedback": None,
        "state": "complete",
        "targets": [],
        "usage": None,
        "build_duration": None,
        **more,
    }


def message(text: str, sender: str, sender_name: str, source: str | None) -> dict[str, Any]:
    return {
        "text_key": "text",
        "data": {
            "timestamp": "<time>",
            "sender": sender,
            "sender_name": sender_name,
            "session_id": "<flow>",
            "context_id": "",
            "text": text,
            "files": [],
            "error": False,
            "edit": False,
            "properties": properties(source),
            "category": "message",
            "content_blocks": [],
            "session_metadata": {"graph_run_id": "<id>"},
            "id": "<id>",
            "flow_id": "<flow>",
            "run_id": "<id>",
            "duration": None,
        },
        "default_value": "",
        "sender": sender,
        "sender_name": sender_name,
        "files": [],
        "session_id": "<flow>",
        "context_id": "",
        "run_id": "<id>",
        "timestamp": "<time>",
        "flow_id": "<flow>",
        "error": False,
        "edit": False,
        "properties": properties(source),
        "category": "message",
        "content_blocks": [],
        "duration": None,
        "session_metadata": {"graph_run_id": "<id>"},
        "text": text,
    }


def result(node_id: str, name: str, sender: str, sender_name: str, source: str | None = None) -> dict[str, Any]:
    line = {"message": "hello", "sender": sender, "sender_name": sender_name}
    return {
        "results": {"message": message("hello", sender, sender_name, source)},
        "artifacts": {**line, "files": [], "type": "object"},
        "outputs": {"message": {"message": "hello", "type": "text"}},
        "logs": {"message": []},
        "messages": [
            {**line, "session_id": "<flow>", "stream_url": None, "component_id": node_id, "files": [], "type": "text"}
        ],
        "timedelta": None,
        "duration": None,
        "component_display_name": name,
        "component_id": node_id,
        "used_frozen_result": False,
        "token_usage": None,
    }


OUTPUT = result("ChatOutput-probe", "Chat Output", "Machine", "AI", "ChatInput-probe")
INPUT = result("ChatInput-probe", "Chat Input", "User", "User")


def test_a_chat_answer_has_every_key_of_langflow_in_langflows_order(runs: Runs) -> None:
    expected = {"inputs": {"input_value": "hello"}, "outputs": [OUTPUT]}
    assert masked(runs.answer(flows.echo())) == json.dumps(expected, indent=1)


def test_a_debug_answer_shows_every_component(runs: Runs) -> None:
    expected = {"inputs": {"input_value": "hello"}, "outputs": [INPUT, OUTPUT]}
    assert masked(runs.answer(flows.echo(), output_type="debug")) == json.dumps(expected, indent=1)


def test_a_text_output_shows_its_text_as_an_artifact(runs: Runs) -> None:
    text, end = flows.text_input(), flows.text_output()
    data = flows.flow([text, end], [flows.edge(text, "text", end, "input_value")])
    shown = runs.answer(data, "hi", kind="text", output_type="text")["outputs"][0]
    assert shown["artifacts"] == {"text": {"repr": "hi", "raw": "hi", "type": "text"}}
    assert shown["outputs"] == {"text": {"message": "hi", "type": "text"}}
    assert shown["results"]["text"]["run_id"] is None


def test_an_output_that_nobody_reads_is_listed_as_unknown(runs: Runs) -> None:
    shown = runs.answer(flows.chat_with_model(), output_type="debug")["outputs"][1]
    assert shown["outputs"] == {
        "text_output": {"message": "An answer", "type": "text"},
        "model_output": {"message": "", "type": "unknown"},
    }
    assert list(shown["results"]) == ["text_output"]


def test_the_tokens_of_all_models_before_it_are_added_up_on_the_answer(runs: Runs) -> None:
    first, second = flows.language_model("LanguageModelComponent-1"), flows.language_model("LanguageModelComponent-2")
    start, end = flows.chat_input(), flows.chat_output()
    edges = [
        flows.edge(start, "message", first, "input_value"),
        flows.edge(first, "text_output", second, "input_value"),
        flows.edge(second, "text_output", end, "input_value"),
    ]
    shown = runs.answer(flows.flow([start, first, second, end], edges), output_type="debug")["outputs"]
    once = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    assert [item["token_usage"] for item in shown] == [None, once, once, None]
    assert shown[3]["results"]["message"]["properties"]["usage"] == {
        "input_tokens": 14,
        "output_tokens": 10,
        "total_tokens": 24,
    }


def test_an_answer_names_the_model_as_its_source(runs: Runs) -> None:
    shown = runs.answer(flows.chat_with_model())["outputs"][0]["results"]["message"]
    assert shown["properties"]["source"] == {
        "id": "LanguageModelComponent-a",
        "display_name": "Language Model",
        "source": "gpt-4o-mini",
    }


def test_what_a_machine_says_has_paragraphs_in_the_chat_lines_only(runs: Runs) -> None:
    shown = runs.answer(flows.echo(), "a\nb\n\nc")["outputs"][0]
    assert shown["messages"][0]["message"] == shown["artifacts"]["message"] == "a\n\nb\n\nc"
    assert shown["results"]["message"]["text"] == "a\nb\n\nc"


def test_every_answer_is_json(runs: Runs) -> None:
    for data in (flows.echo(), flows.prompt_chain(2), flows.chat_with_model()):
        assert json.loads(json.dumps(runs.answer(data, output_type="debug")))


def test_ids_and_times_have_langflows_form(runs: Runs) -> None:
    shown = runs.answer(flows.echo())["outputs"][0]["results"]["message"]
    assert re.fullmatch(UUID4, shown["data"]["id"])
    assert re.fullmatch(TIME, shown["timestamp"])
