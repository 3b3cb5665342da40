from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.domain.errors import ComponentFailed, RunTooLarge
from service.domain.ports import RunContext, StoredMessage, ToolCall
from service.engine import Limits
from tests.engine.conftest import FLOW_ID, Model, Runs
from tests.support import flows
from tests.support.flows import Json, edge, field, node
from tests.support.history import Memory

CHOSEN = [{"name": "gpt-4o-mini", "provider": "OpenAI"}]


def agent(*, node_id: str = "Agent-a", **values: Any) -> Json:
    settings = {"system_prompt": "Be brief.", "add_current_date_tool": False, "add_calculator_tool": True, **values}
    kinds = {bool: "bool", int: "int", list: "table"}
    fields = [field(name, value, kind=kinds.get(type(value), "str")) for name, value in settings.items()]
    model = field("model", CHOSEN, kind="model", _input_type="ModelInput")
    tools = field("tools", "", kind="other", list=True)
    key = field("api_key", "OPENAI_API_KEY", load_from_db=True, password=True, _input_type="SecretStrInput")
    more = [model, tools, key, field("input_value")]
    outputs = {"response": "message_response", "structured_response": "json_response"}
    return node(node_id, "Agent", "Agent", [*fields, *more], outputs)


def calculator(node_id: str = "CalculatorComponent-c", edits: object = None) -> Json:
    fields = [field("expression")]
    if edits is not None:
        fields.append(field("tools_metadata", edits, kind="tools"))
    return node(node_id, "CalculatorComponent", "Calculator", fields, {"component_as_tool": "to_toolkit"})


def chat(worker: Json, *tools: Json, output: str = "response") -> Json:
    start, end = flows.chat_input(), flows.chat_output()
    edges = [edge(start, "message", worker, "input_value"), edge(worker, output, end, "input_value")]
    edges += [edge(tool, "component_as_tool", worker, "tools") for tool in tools]
    return flows.flow([start, worker, end, *tools], edges)


def call(name: str, arguments: str, number: int = 1) -> ToolCall:
    return ToolCall(f"call_{number}", name, arguments)


def test_an_agent_calls_the_tool_that_the_model_wants_and_answers_with_what_it_makes_of_it(
    runs: Runs, model: Model
) -> None:
    model.script.extend([(call("evaluate_expression", '{"expression": "6*7"}'),), "It is 42."])
    assert runs.text(chat(agent())) == "It is 42."
    assert [turn.role for turn in model.asked[1].messages] == ["system", "user", "assistant", "tool"]
    assert model.asked[1].messages[-1].text == '{"result": "42"}'


def test_two_calls_of_one_turn_are_both_answered(runs: Runs, model: Model) -> None:
    calls = (call("evaluate_expression", '{"expression": "1+1"}', 1), call("evaluate_expression", "{}", 2))
    model.script.extend([calls, "done"])
    runs.text(chat(agent()))
    assert [turn.tool_call_id for turn in model.asked[1].messages if turn.role == "tool"] == ["call_1", "call_2"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{broken", "not valid JSON"),
        ("[1]", "have to be a JSON object"),
        ('{"expression": NaN}', "not valid JSON"),
        ('{"expression": 1e999}', "not valid JSON"),
        ('{"nope": 1}', "has no argument nope"),
        ('{"expression": {"a": 1}}', ""),
    ],
)
def test_wrong_arguments_are_for_the_model_to_read(runs: Runs, model: Model, arguments: str, told: str) -> None:
    model.script.extend([(call("evaluate_expression", arguments),), "sorry"])
    assert runs.text(chat(agent())) == "sorry"
    assert told in model.asked[1].messages[-1].text


def test_a_tool_that_does_not_exist_is_told_to_the_model(runs: Runs, model: Model) -> None:
    model.script.extend([(call("rm", "{}"),), "sorry"])
    runs.text(chat(agent()))
    assert "There is no tool rm. Known: evaluate_expression." in model.asked[1].messages[-1].text


def test_a_model_cannot_set_a_field_that_is_no_argument(runs: Runs, model: Model) -> None:
    search = node(
        "TavilySearchComponent-t", "TavilySearchComponent", "Tavily",
        [field("query"), field("api_key", "secret", password=True)], {"component_as_tool": "to_toolkit"},
    )  # fmt: skip
    model.script.extend([(call("fetch_content_dataframe", '{"query": "x", "api_key": "stolen"}'),), "sorry"])
    runs.text(chat(agent(), search))
    assert "has no argument api_key" in model.asked[1].messages[-1].text
    properties = model.asked[0].tools[0].parameters["properties"]
    assert list(properties) == ["query"]


def test_an_agent_stops_after_its_last_step(runs: Runs, model: Model) -> None:
    model.script.extend([(call("evaluate_expression", "{}"),)] * 9)
    assert runs.text(chat(agent(max_iterations=3))) == "Model call limits exceeded: run limit (3/3)"
    assert len(model.asked) == 3


def test_the_steps_of_an_agent_count_as_steps_of_the_run(model: Model) -> None:
    model.script.extend([(call("evaluate_expression", "{}"),)] * 50)
    with pytest.raises(RunTooLarge, match="more than 20 steps"):
        Runs(model, Limits(max_steps=20)).text(chat(agent(max_iterations=50)))


def test_calls_of_a_tool_that_does_not_exist_count_as_steps_of_the_run(model: Model) -> None:
    model.script.append((call("nope", "{}"),) * 50)
    with pytest.raises(RunTooLarge, match="more than 20 steps"):
        Runs(model, Limits(max_steps=20)).text(chat(agent()))


def test_a_model_cannot_want_any_number_of_calls_at_once(runs: Runs, model: Model) -> None:
    model.script.append((call("nope", "{}"),) * 101)
    with pytest.raises(ComponentFailed, match="wants 101 tool calls at once; 100 is most"):
        runs.text(chat(agent()))


def helper() -> Json:
    """A Language Model as a tool."""
    model = flows.language_model()
    model["data"]["node"]["outputs"].append({"name": "component_as_tool", "method": "to_toolkit", "types": ["Tool"]})
    return model


def test_a_model_as_a_tool_answers_and_does_not_give_itself_away(runs: Runs, model: Model) -> None:
    model.script.extend([(call("build_model", "{}", 1), call("text_response", "{}", 2)), "done"])
    assert runs.text(chat(agent(), helper())) == "done"
    assert [tool.name for tool in model.asked[0].tools if tool.name != "evaluate_expression"] == ["text_response"]


def test_tools_that_are_asked_for_as_an_output_are_named_by_their_type(runs: Runs, model: Model) -> None:
    answer: Any = runs.answer(chat(agent(), calculator()), outputs=("CalculatorComponent-c",))
    assert answer["outputs"][0]["results"] == {"component_as_tool": ["Tool"]}
    json.dumps(answer)


def test_what_an_agent_did_stands_in_its_message(runs: Runs, model: Model) -> None:
    model.script.extend([(call("evaluate_expression", '{"expression": "6*7"}'),), "It is 42."])
    blocks: Any = runs.answer(chat(agent()))["outputs"][0]["results"]["message"]["content_blocks"]
    assert [(block["type"], block.get("name"), block.get("output")) for block in blocks] == [
        ("tool_use", "evaluate_expression", {"result": "42"}),
        ("text", None, None),
    ]


def test_a_watched_agent_streams_what_it_says(runs: Runs, model: Model) -> None:
    model.pieces = ("It ", "is")
    events: Any = runs.events(chat(agent()), stream=True)
    assert [event.name for event in events] == ["add_message", "add_message", "token", "token", "add_message", "end"]
    ids = {event.data["id"] for event in events if event.name in ("token", "add_message")}
    assert len(ids) == 2
    assert events[-2].data["properties"]["state"] == "complete"


def test_a_watched_agent_shows_which_tool_it_uses_before_it_answers(runs: Runs, model: Model) -> None:
    model.script.extend([(call("evaluate_expression", '{"expression": "6*7"}'),), "It is 42."])
    events: Any = runs.events(chat(agent()), stream=True)
    assert [event.name for event in events] == ["add_message", "add_message", "token", "add_message", "end"]
    assert events[1].data["content_blocks"][0]["name"] == "evaluate_expression"
    assert events[1].data["properties"]["state"] == "partial"


def test_an_agent_sees_the_session_so_far_but_not_the_message_that_it_answers(runs: Runs, model: Model) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    memory = Memory(
        StoredMessage("1", FLOW_ID, "I am Ada.", "User", "User", start),
        StoredMessage("2", FLOW_ID, "Hello Ada.", "Machine", "AI", start + timedelta(seconds=1)),
    )
    runs.text(chat(agent()), "Who am I?", context=RunContext(memory))
    turns = [(turn.role, turn.text) for turn in model.asked[0].messages[1:]]
    assert turns == [("user", "I am Ada."), ("assistant", "Hello Ada."), ("user", "Who am I?")]


def test_no_history_is_read_when_the_author_wants_none(runs: Runs, model: Model) -> None:
    memory = Memory(StoredMessage("1", FLOW_ID, "before", "User", "User", datetime.now(UTC)))
    runs.text(chat(agent(n_messages=0)), context=RunContext(memory))
    assert [turn.text for turn in model.asked[0].messages] == ["Be brief.", "hello"]


def test_placeholders_of_the_system_prompt_are_filled_and_other_braces_left_alone(runs: Runs, model: Model) -> None:
    runs.text(chat(agent(system_prompt='{model_name} on {current_date}: {"a": 1}')))
    told = model.asked[0].messages[0].text
    assert told == f'gpt-4o-mini on {datetime.now(UTC):%Y-%m-%d}: {{"a": 1}}'


def test_the_authors_edits_name_and_switch_off_tools(runs: Runs, model: Model) -> None:
    row = {"name": "add up", "description": "Adds.", "tags": ["evaluate_expression"], "status": True}
    runs.text(chat(agent(add_calculator_tool=False), calculator(edits=[row])))
    assert [(tool.name, tool.description) for tool in model.asked[0].tools] == [("add-up", "Adds.")]
    runs.text(chat(agent(add_calculator_tool=False), calculator(edits=[{**row, "status": False}])))
    assert model.asked[1].tools == ()


def test_two_tools_of_one_name_are_told_apart_by_their_nodes(runs: Runs, model: Model) -> None:
    runs.text(chat(agent(add_calculator_tool=False), calculator("Calc-one"), calculator("Calc-two")))
    assert [tool.name for tool in model.asked[0].tools] == [
        "evaluate_expression_Calc_one",
        "evaluate_expression_Calc_two",
    ]


SCHEMA = [{"name": "name", "type": "str"}, {"name": "age", "type": "int"}]


def structured(runs: Runs, worker: Json) -> str:
    return runs.text(chat(worker, output="structured_response"))


def test_a_structured_answer_without_tools_is_asked_for_as_a_tool_call(runs: Runs, model: Model) -> None:
    model.script.append((call("OutputModel", '{"objects": [{"name": "Ada", "age": 36}]}'),))
    assert '"name": "Ada"' in structured(runs, agent(output_schema=SCHEMA, add_calculator_tool=False))
    assert model.asked[0].tool_choice == "OutputModel"


def test_a_structured_answer_with_tools_is_read_from_the_text(runs: Runs, model: Model) -> None:
    model.script.append('Here you are: {"objects": [{"name": "Ada", "age": 36}, {"name": "Alan", "age": 41}]}')
    assert '"results"' in structured(runs, agent(output_schema=SCHEMA))


def test_an_answer_without_json_is_told_as_an_error_in_the_record(runs: Runs, model: Model) -> None:
    model.script.append("I cannot.")
    assert '"error"' in structured(runs, agent(output_schema=SCHEMA))


def test_without_a_schema_the_record_holds_the_task(runs: Runs, model: Model) -> None:
    assert '"content": "hello"' in structured(runs, agent(output_schema=[]))
    assert model.asked == []


def test_an_unreadable_schema_is_an_error_of_the_component(runs: Runs) -> None:
    with pytest.raises(ComponentFailed, match="a row of the schema has no name"):
        structured(runs, agent(output_schema=[{"type": "str"}]))
