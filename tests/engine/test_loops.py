from __future__ import annotations

from typing import Any

import pytest

from service.domain.errors import ComponentFailed, FlowInvalid, RunTooLarge
from service.engine import Limits
from tests.engine.conftest import Model, Runs
from tests.support import flows
from tests.support.flows import Json, edge, field, node


def rows(kind: str = "Table") -> Json:
    fields = [field("input_data", kind="other"), field("auto_parse", True, kind="bool"), field("output_type", kind)]
    return node("TypeConverter-t", "TypeConverterComponent", "Type Convert", fields, {
        "dataframe_output": "convert_to_dataframe",
    })  # fmt: skip


def loop(node_id: str = "LoopComponent-l") -> Json:
    outputs = {"item": "item_output", "done": "done_output"}
    return node(node_id, "LoopComponent", "Loop", [field("data", kind="other")], outputs)


def parser(node_id: str, pattern: str) -> Json:
    fields = [
        field("input_data", kind="other"),
        field("mode", "Parser"),
        field("pattern", pattern),
        field("sep", ","),
    ]
    return node(node_id, "ParserComponent", "Parser", fields, {"parsed_text": "parse_combined_text"})


def back(source: Json, output: str, target: Json) -> Json:
    """The edge that leads back into a loop: into an output, not into a field."""
    made = edge(source, output, target, "item")
    end = {"dataType": "LoopComponent", "id": target["id"], "name": "item", "output_types": ["Data"]}
    made["data"]["targetHandle"], made["targetHandle"] = end, flows.handle(end)
    return made


def looping(*, closed: bool = True) -> tuple[list[Json], list[Json]]:
    start, table, around = flows.chat_input(), rows(), loop()
    body, after, end = parser("Parser-body", "<{n}>"), parser("Parser-after", "{text}"), flows.chat_output()
    edges = [
        edge(start, "message", table, "input_data"),
        edge(table, "dataframe_output", around, "data"),
        edge(around, "item", body, "input_data"),
        edge(around, "done", after, "input_data"),
        edge(after, "parsed_text", end, "input_value"),
    ]
    return [start, table, around, body, after, end], edges + ([back(body, "parsed_text", around)] if closed else [])


THREE = '[{"n": 1}, {"n": 2}, {"n": 3}]'


def test_the_body_runs_once_for_each_item(runs: Runs) -> None:
    assert runs.text(flows.flow(*looping()), THREE) == "<1>,<2>,<3>"


def test_a_loop_without_items_is_done_at_once(runs: Runs) -> None:
    assert runs.text(flows.flow(*looping()), "[]") == ""


def test_a_loop_that_nothing_leads_back_into_runs_no_body(runs: Runs) -> None:
    answer: Any = runs.answer(flows.flow(*looping(closed=False)), THREE, output_type="debug")
    assert "Parser-body" not in {result["component_id"] for result in answer["outputs"]}


def test_a_loop_has_a_bounded_number_of_items(model: Model) -> None:
    with pytest.raises(RunTooLarge, match="more than 2 items"):
        Runs(model, Limits(max_loop_items=2)).text(flows.flow(*looping()), THREE)


def test_a_failure_in_the_body_names_the_component_in_it(runs: Runs) -> None:
    nodes, edges = looping()
    nodes[3]["data"]["node"]["template"]["pattern"]["value"] = "{missing}"
    nodes[3]["data"]["node"]["template"]["mode"]["value"] = "Parser"
    assert runs.text(flows.flow(nodes, edges), THREE) == ",,"
    nodes[3]["data"]["node"]["template"]["pattern"]["value"] = "{a.b}"
    with pytest.raises(FlowInvalid, match="template of Parser"):
        runs.text(flows.flow(nodes, edges), THREE)


def test_a_way_back_that_does_not_come_from_the_items_is_refused(runs: Runs) -> None:
    nodes, edges = looping(closed=False)
    with pytest.raises(FlowInvalid, match="does not come from its items"):
        runs.text(flows.flow(nodes, [*edges, back(nodes[1], "dataframe_output", nodes[2])]), THREE)


def test_a_body_waits_for_what_it_needs_from_outside(runs: Runs) -> None:
    nodes, edges = looping()
    prompt = node(
        "Prompt-p", "Prompt", "Prompt", [field("template", "{item} of {who}", kind="prompt"), field("item"),
                                          field("who")], {"prompt": "build_prompt"},
    )  # fmt: skip
    who = flows.text_input("TextInput-who", "Ada")
    edges = [e for e in edges if e["target"] != "LoopComponent-l" or e["data"]["targetHandle"].get("fieldName")]
    edges += [
        edge(nodes[3], "parsed_text", prompt, "item"),
        edge(who, "text", prompt, "who"),
        back(prompt, "prompt", nodes[2]),
    ]
    assert runs.text(flows.flow([*nodes, prompt, who], edges), THREE) == "<1> of Ada,<2> of Ada,<3> of Ada"


def test_components_that_wait_for_each_other_are_no_loop(runs: Runs) -> None:
    one, two = flows.chat_input(), flows.chat_output()
    circle = [edge(one, "message", two, "input_value"), edge(two, "message", one, "input_value")]
    with pytest.raises(FlowInvalid, match="in a cycle"):
        runs.engine.check(flows.flow([one, two], circle))


def test_a_draft_that_cannot_be_read_yet_may_be_stored(runs: Runs) -> None:
    runs.engine.check({"nodes": [{"id": "x"}], "edges": []})
    with pytest.raises(FlowInvalid):
        runs.engine.compile({"nodes": [{"id": "x"}], "edges": []})


def test_a_loop_refuses_what_has_no_items(runs: Runs) -> None:
    start, around, body, end = flows.chat_input(), loop(), parser("Parser-body", "{text}"), flows.chat_output()
    model = flows.language_model()
    edges = [
        edge(start, "message", model, "input_value"),
        edge(model, "model_output", around, "data"),
        edge(around, "item", body, "input_data"),
        back(body, "parsed_text", around),
        edge(around, "done", end, "input_value"),
    ]
    with pytest.raises(ComponentFailed, match="goes through a table"):
        runs.text(flows.flow([start, model, around, body, end], edges))


def test_a_loop_runs_though_its_export_names_no_outputs(runs: Runs) -> None:
    nodes, edges = looping()
    nodes[2]["data"]["node"]["outputs"] = []
    assert runs.text(flows.flow(nodes, edges), THREE) == runs.text(flows.flow(*looping()), THREE)
