from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.domain.errors import ComponentFailed
from service.domain.ports import RunContext, StoredMessage
from tests.engine.conftest import FLOW_ID, Runs
from tests.support import flows
from tests.support.flows import Json, edge, field, node
from tests.support.history import Memory

START = datetime(2026, 1, 1, tzinfo=UTC)
SAID = (("User", "Ada", "I like tea."), ("Machine", "AI", "So do I."), ("User", "Alan", "I like chess."))


def history(*more: StoredMessage) -> Memory:
    said = [
        StoredMessage(str(at), FLOW_ID, text, sender, name, START + timedelta(seconds=at))
        for at, (sender, name, text) in enumerate(SAID)
    ]
    return Memory(*said, *more)


def remembering(kind: str, output: str, **values: Any) -> Json:
    kinds = {bool: "bool", int: "int"}
    fields = [field(name, value, kind=kinds.get(type(value), "str")) for name, value in values.items()]
    one, end = node(f"{kind}-m", kind, kind, [field("session_id"), *fields], {output: output}), flows.chat_output()
    return flows.flow([one, end], [edge(one, output, end, "input_value")])


def text(runs: Runs, past: Memory | None, kind: str = "Memory", output: str = "messages_text", **values: Any) -> str:
    return runs.text(remembering(kind, output, **values), None, context=RunContext(past))


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({}, "Ada: I like tea.\nAI: So do I.\nAlan: I like chess."),
        ({"order": "Descending", "n_messages": 2}, "Alan: I like chess.\nAI: So do I."),
        ({"n_messages": 1}, "Alan: I like chess."),
        ({"n_messages": 0}, ""),
        ({"sender_type": "Machine"}, "AI: So do I."),
        ({"sender_name": "Ada"}, "Ada: I like tea."),
        ({"template": "{sender}/{text}", "n_messages": 1}, "User/I like chess."),
    ],
)
def test_the_history_becomes_text(runs: Runs, values: dict[str, Any], lines: str) -> None:
    assert text(runs, history(), **values) == lines


def test_the_history_becomes_a_table(runs: Runs) -> None:
    shown = text(runs, history(), output="dataframe", n_messages=1)
    assert shown.splitlines()[0].startswith("| text")
    assert "I like chess." in shown


def test_without_a_history_nothing_was_said(runs: Runs) -> None:
    assert text(runs, None) == ""


def test_an_external_memory_is_refused(runs: Runs) -> None:
    with pytest.raises(ComponentFailed, match="External memories"):
        text(runs, history(), memory="zep")


@pytest.mark.parametrize("template", ["{text.x}", "{"])
def test_a_template_that_cannot_be_used_is_told(runs: Runs, template: str) -> None:
    with pytest.raises(ComponentFailed, match="template"):
        text(runs, history(), template=template)


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ({"mode": "Store", "message": "noted"}, ("Machine", "AI", "noted")),
        ({"mode": "Store", "message": "noted", "sender": "User"}, ("User", "User", "noted")),
        ({"mode": "Store", "message": "noted", "sender_name": "Bot"}, ("Machine", "Bot", "noted")),
    ],
)
def test_a_message_can_be_added(runs: Runs, values: dict[str, Any], stored: tuple[str, str, str]) -> None:
    memory = Memory()
    assert text(runs, memory, **values) == "noted"
    first = next(message for message in memory.messages.values() if message.text == "noted")
    assert (first.sender, first.sender_name, first.text) == stored


def test_nothing_to_store_is_told(runs: Runs) -> None:
    with pytest.raises(ComponentFailed, match="no message to store"):
        text(runs, Memory(), mode="Store")


def test_a_search_finds_the_messages_that_share_the_most_words(runs: Runs) -> None:
    answer: Any = runs.answer(
        remembering("MemoryBase", "retrieve_data", search_query="Who likes, I like, TEA?", top_k=2), None,
        output_type="debug", context=RunContext(history()),
    )  # fmt: skip
    rows = answer["outputs"][0]["results"]["retrieve_data"]
    assert [row["content"] for row in rows] == ["I like tea.", "I like chess."]
    assert rows[0]["_score"] > rows[1]["_score"]


def test_a_search_for_nothing_finds_nothing(runs: Runs) -> None:
    assert text(runs, history(), "MemoryBase", "retrieve_data", search_query=" ") == ""


def test_what_chat_components_say_goes_into_the_history_once(runs: Runs) -> None:
    memory = Memory()
    runs.text(flows.echo(), "hello", context=RunContext(memory), session_id="s")
    assert [(m.sender, m.text, m.session_id) for m in memory.messages.values()] == [
        ("User", "hello", "s"),
        ("Machine", "hello", "s"),
    ]


def test_a_streamed_answer_goes_into_the_history_whole(runs: Runs) -> None:
    memory = Memory()
    runs.events(flows.chat_with_model(), stream=True, context=RunContext(memory))
    assert [m.text for m in memory.messages.values()] == ["hello", "An answer"]
    assert [m.properties["state"] for m in memory.messages.values()] == ["complete", "complete"]
