from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from service.domain.errors import ComponentFailed
from service.engine import catalogue, plan
from service.engine.component import Component, Output
from service.engine.values import Data, Message, Table
from tests.engine.conftest import Runs
from tests.support import flows


class Source(Component):
    """Gives out whatever the test has put in."""

    names = ("Source",)
    display_name = "Source"
    outputs = (Output("value", "give"),)
    value: ClassVar[Any] = None
    __slots__ = ()

    def give(self) -> object:
        return self.value


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, runs: Runs) -> Any:
    """Runs a value into Chat Output and returns the text."""
    monkeypatch.setattr(plan, "CATALOGUE", {**catalogue.CATALOGUE, "Source": Source})

    def show(value: object) -> str:
        monkeypatch.setattr(Source, "value", value)
        source, end = flows.node("Source-1", "Source", "Source", [], {"value": "give"}), flows.chat_output()
        return runs.text(flows.flow([source, end], [flows.edge(source, "value", end, "input_value")]), None)

    return show


def test_a_record_is_shown_as_a_json_block(shown: Any) -> None:
    assert shown(Data({"a": 1, "ö": "x"})) == '```json\n{\n  "a": 1,\n  "ö": "x"\n}\n```'


def test_a_table_is_shown_in_markdown(shown: Any) -> None:
    rows: list[dict[str, object]] = [{"name": "Ann", "age": 7}, {"name": "Bo|b\nx", "age": 12}]
    assert shown(Table(rows)) == (
        "| name        |   age |\n|:------------|------:|\n| Ann         |     7 |\n| Bo\\|b<br/>x |    12 |"
    )


def test_an_empty_table_is_shown_as_nothing(shown: Any) -> None:
    assert shown(Table([])) == ""


def test_a_list_is_shown_line_by_line(shown: Any) -> None:
    assert shown([Message("one"), "two", Data({})]) == "one\ntwo\n```json\n{}\n```"


def test_blank_lines_in_a_plain_text_are_thinned_out(shown: Any) -> None:
    assert shown("a\n\n\n\n  \nb") == "a\n\nb"


def test_a_message_is_shown_as_it_is(shown: Any) -> None:
    assert shown(Message("a\n\n\n\nb")) == "a\n\n\n\nb"


def test_an_output_without_an_input_fails_with_its_name(runs: Runs) -> None:
    with pytest.raises(ComponentFailed, match=r"Error building Component Chat Output: Input data cannot be None"):
        runs.events(flows.flow([flows.chat_output()], []), None)


def test_a_stored_text_may_write_newlines_as_backslash_n(runs: Runs) -> None:
    data = flows.echo()
    data["nodes"][0]["data"]["node"]["template"]["input_value"]["value"] = "a\\nb"
    assert runs.text(data, None) == "a\nb"


def test_a_given_text_is_left_as_it_is(runs: Runs) -> None:
    assert runs.text(flows.echo(), "a\\nb") == "a\\nb"


@pytest.mark.parametrize("session_id", ["", "s"])
def test_a_message_has_an_id_when_there_is_a_session_to_store_it_in(runs: Runs, session_id: str) -> None:
    message = runs.answer(flows.echo(), session_id=session_id)["outputs"][0]["results"]["message"]
    assert ("id" in message["data"]) is bool(session_id)


def test_a_message_that_is_not_to_be_stored_has_no_id(runs: Runs) -> None:
    data = flows.echo()
    for node in data["nodes"]:
        node["data"]["node"]["template"]["should_store_message"]["value"] = False
    answer = runs.answer(data, output_type="debug")
    assert ["id" in item["results"]["message"]["data"] for item in answer["outputs"]] == [False, False]


def test_sender_and_context_come_from_the_node(runs: Runs) -> None:
    data = flows.echo()
    data["nodes"][1]["data"]["node"]["template"]["context_id"]["value"] = "ctx"
    data["nodes"][1]["data"]["node"]["template"]["sender_name"]["value"] = "Robo"
    message = runs.answer(data)["outputs"][0]["results"]["message"]
    assert (message["context_id"], message["sender_name"]) == ("ctx", "Robo")


def test_a_text_input_shows_its_record_in_its_artifact(runs: Runs) -> None:
    shown = runs.answer(flows.flow([flows.text_input(value="x")], []), None, output_type="debug")["outputs"][0]
    assert json.loads(shown["artifacts"]["text"]["repr"])["text"] == "x"
