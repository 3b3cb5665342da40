from __future__ import annotations

from typing import Any

import pytest

from service.domain.errors import ProviderFailed, VariableMissing
from service.domain.ports import Event, RunInput, RunSpec
from tests.engine.conftest import FLOW_ID, KEYS, Model, Runs
from tests.support import flows


def told(events: list[Event]) -> list[tuple[str, Any, Any]]:
    """Name, text (or chunk) and state of each event."""
    found: list[tuple[str, Any, Any]] = []
    for event in events:
        data: Any = event.data
        properties = data.get("properties") or {}
        found.append((event.name, data.get("text", data.get("chunk")), properties.get("state")))
    return found


def test_a_chat_without_a_model_streams_both_messages_and_the_end(runs: Runs) -> None:
    events = runs.events(flows.echo(), stream=True)
    assert told(events)[:2] == [("add_message", "hello", "complete")] * 2
    assert [event.data.get("sender") for event in events] == ["User", "Machine", None]


def test_a_models_answer_streams_token_by_token(runs: Runs) -> None:
    assert told(runs.events(flows.chat_with_model(), stream=True)) == [
        ("add_message", "hello", "complete"),
        ("add_message", "An ", "partial"),
        ("token", "An ", None),
        ("token", "answer", None),
        ("add_message", "An answer", "complete"),
        ("end", None, None),
    ]


def test_all_events_of_an_answer_carry_one_id(runs: Runs) -> None:
    events: Any = runs.events(flows.chat_with_model(), stream=True)
    found = {event.data["id"] for event in events[1:-1]}
    assert found == {events[-1].data["outputs"][0]["outputs"][0]["results"]["message"]["data"]["id"]}
    assert events[0].data["id"] not in found


def test_the_end_is_what_the_same_run_would_answer_without_a_stream(runs: Runs) -> None:
    from tests.engine.test_results import masked

    streamed: Any = runs.events(flows.echo(), stream=True)[-1].data["outputs"]
    assert masked(streamed[0]) == masked(runs.answer(flows.echo()))


def test_the_tokens_used_come_with_the_complete_message(runs: Runs) -> None:
    events: Any = runs.events(flows.chat_with_model(), stream=True)
    assert events[-2].data["properties"]["usage"]["total_tokens"] == 12


def test_the_answer_is_stored_with_the_id_that_was_streamed_even_by_an_output_that_stores_nothing(runs: Runs) -> None:
    data = flows.chat_with_model()
    data["nodes"][2]["data"]["node"]["template"]["should_store_message"]["value"] = False
    events = runs.events(data, stream=True)
    assert told(events)[-2] == ("add_message", "An answer", "complete")


def test_a_model_in_the_middle_does_not_stream(runs: Runs, model: Model) -> None:
    data = flows.chat_with_model()
    start, middle, end = data["nodes"]
    ask = flows.prompt("Prompt-1", "<{a}>", {"a": ""})
    edges = [
        flows.edge(start, "message", middle, "input_value"),
        flows.edge(middle, "text_output", ask, "a"),
        flows.edge(ask, "prompt", end, "input_value"),
    ]
    events = runs.events(flows.flow([start, middle, ask, end], edges), stream=True)
    assert [event.name for event in events] == ["add_message", "add_message", "end"]
    assert model.asked[0].stream is False


def test_without_a_stream_there_is_only_the_end(runs: Runs, model: Model) -> None:
    assert [event.name for event in runs.events(flows.chat_with_model())] == ["end"]
    assert model.asked[0].stream is False


def test_closing_the_run_closes_the_providers_stream(runs: Runs, model: Model) -> None:
    bound = runs.engine.compile(flows.chat_with_model()).bind({})
    events: Any = bound.run(RunSpec(FLOW_ID, "s", RunInput("hi"), stream=True), KEYS)
    assert [next(events).name for _ in range(3)] == ["add_message", "add_message", "token"]
    assert model.closed == 0
    events.close()
    assert model.closed == 1


def test_nothing_is_yielded_after_a_failure(runs: Runs, model: Model) -> None:
    model.failure = ProviderFailed("no")
    events: Any = (
        runs.engine.compile(flows.chat_with_model())
        .bind({})
        .run(RunSpec(FLOW_ID, "s", RunInput("hi"), stream=True), KEYS)
    )
    assert next(events).name == "add_message"
    with pytest.raises(ProviderFailed):
        next(events)
    assert list(events) == []


def test_a_missing_variable_is_told_before_the_stream_begins(runs: Runs) -> None:
    bound = runs.engine.compile(flows.chat_with_model()).bind({})
    with pytest.raises(VariableMissing):
        bound.run(RunSpec(FLOW_ID, "s", RunInput("hi"), stream=True), {})


def test_two_outputs_of_one_model_get_ids_of_their_own(runs: Runs) -> None:
    data = flows.chat_with_model()
    second = flows.chat_output("ChatOutput-2")
    data["nodes"].append(second)
    data["edges"].append(flows.edge(data["nodes"][1], "text_output", second, "input_value"))
    events: Any = runs.events(data, stream=True)
    done = [event.data["id"] for event in events if told([event])[0][1:] == ("An answer", "complete")]
    assert len(set(done)) == 2
