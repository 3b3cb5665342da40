"""Empty fields that variables fill by the fields' display names: which count, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.ports import BoundFlow, RunInput, RunSpec
from service.engine import EmbeddedEngine, Limits, Outside
from service.engine.elsewhere import ElsewhereEngine
from tests.engine.conftest import FLOW_ID, Model, Runs
from tests.engine.test_elsewhere import NoModels, Stranger, field_of, strange
from tests.engine.test_graph import grouped
from tests.support import flows

Json = dict[str, Any]


def labels(flow: BoundFlow) -> set[tuple[str, str]]:
    return {(one.field, one.label) for one in flow.empty}


def greeting(**field: Any) -> Json:
    """A Text Input whose one field is as told, and a Chat Output."""
    text, end = flows.text_input(**field), flows.chat_output()
    return flows.flow([text, end], [flows.edge(text, "text", end, "input_value")])


def filled(flow: BoundFlow, **names: str) -> BoundFlow:
    """The flow with variables for empty fields, by the field's name."""
    return flow.filled({(one.node_id, one.field): names[one.field] for one in flow.empty if one.field in names})


def said(flow: BoundFlow, values: dict[str, str], value: str | None = None) -> str:
    spec = RunSpec(FLOW_ID, FLOW_ID, RunInput(value))
    outputs: Any = list(flow.run(spec, values))[-1].data["outputs"]
    return str(outputs[0]["outputs"][0]["results"]["message"]["text"])


@pytest.mark.parametrize("value", ["", None])
@pytest.mark.parametrize("marked", [False, True])
def test_an_empty_text_field_counts_whatever_it_is_marked(runs: Runs, value: str | None, marked: bool) -> None:
    data = greeting(value=value, load_from_db=marked, display_name="Greeting")
    assert ("input_value", "Greeting") in labels(runs.engine.compile(data).bind({}))


@pytest.mark.parametrize(
    "field",
    [{"value": "hi"}, {"value": "NAME", "load_from_db": True}, {"show": False}, {"kind": "int"}, {"kind": "prompt"},
     {"display_name": ""}, {"display_name": None}, {"value": []}],
)  # fmt: skip
def test_any_other_field_does_not(runs: Runs, field: Json) -> None:
    assert "input_value" not in dict(labels(runs.engine.compile(greeting(**field)).bind({})))


def test_a_field_that_an_edge_leads_to_does_not(runs: Runs) -> None:
    start, end = flows.text_input(), flows.chat_output(age="1.5")
    data = flows.flow([start, end], [flows.edge(start, "text", end, "input_value")])
    empty = runs.engine.compile(data).bind({}).empty
    assert {one.node_id for one in empty if one.field == "input_value"} == {start["id"]}


def test_the_sessions_field_does_not(runs: Runs) -> None:
    assert "session_id" not in dict(labels(runs.engine.compile(flows.echo()).bind({})))


def test_a_field_that_a_group_shows_has_the_groups_name_for_it(runs: Runs) -> None:
    data = grouped()
    shown = data["nodes"][1]["data"]["node"]["template"]["c_Prompt-2"]
    shown |= {"value": "", "display_name": "For all"}
    assert ("c", "For all") in labels(runs.engine.compile(data).bind({}))


def test_a_run_reads_the_variable(runs: Runs) -> None:
    flow = filled(runs.engine.compile(greeting()).bind({}), input_value="NAME")
    assert said(flow, {"NAME": "Robo"}) == "Robo"


def test_the_next_run_of_the_same_compiled_flow_does_not(runs: Runs) -> None:
    compiled = runs.engine.compile(greeting())
    filled(compiled.bind({}), input_value="NAME")
    assert compiled.bind({}).variables == ()
    assert said(compiled.bind({}), {"NAME": "Robo"}) == ""


def test_an_input_wins_over_the_variable(runs: Runs) -> None:
    data = flows.echo()
    data["nodes"][0]["data"]["node"]["template"]["input_value"]["value"] = ""
    flow = filled(runs.engine.compile(data).bind({}), input_value="NAME")
    assert [said(flow, {"NAME": "Robo"}, given) for given in ("hi", None)] == ["hi", "Robo"]


def test_a_tweak_wins_over_the_variable_and_an_empty_one_leaves_the_field_empty(runs: Runs) -> None:
    compiled = runs.engine.compile(greeting(value="stored"))
    assert "input_value" not in dict(labels(compiled.bind({"TextInput-a": {"input_value": "mine"}})))
    flow = filled(compiled.bind({"TextInput-a": {"input_value": ""}}), input_value="NAME")
    assert said(flow, {"NAME": "Robo"}) == "Robo"


def test_other_tweaks_of_the_node_stay(runs: Runs) -> None:
    data = flows.echo()
    data["nodes"][0]["data"]["node"]["template"]["input_value"]["value"] = ""
    flow = filled(runs.engine.compile(data).bind({"ChatInput-probe": {"sender_name": "Me"}}), input_value="NAME")
    events = list(flow.run(RunSpec(FLOW_ID, FLOW_ID, RunInput(None), outputs=("ChatInput-probe",)), {"NAME": "Robo"}))
    message = events[-1].data["outputs"][0]["outputs"][0]["results"]["message"]  # type: ignore[index]
    assert (message["text"], message["sender_name"]) == ("Robo", "Me")


def test_a_filled_key_takes_the_place_of_the_providers_usual_variable(runs: Runs) -> None:
    flow = runs.engine.compile(flows.chat_with_model(flows.language_model(key=flows.secret()))).bind({})
    assert [use.name for use in flow.variables] == ["OPENAI_API_KEY"]
    (use,) = filled(flow, api_key="MYKEY").variables
    assert (use.name, use.field, use.secret, use.required) == ("MYKEY", "api_key", True, True)


def unchosen() -> Json:
    """A model node that names no provider and has no key."""
    model = flows.language_model(key=flows.secret())
    model["data"]["node"]["template"]["model"]["value"] = []
    return flows.chat_with_model(model)


def test_a_key_does_not_go_to_a_provider_that_the_caller_has_chosen() -> None:
    engine = EmbeddedEngine(Outside({"OpenAI": Model(), "Anthropic": Model()}))
    tweaks = {"Language Model": {"provider": "Anthropic", "model_name": "m"}}
    flow = filled(engine.compile(unchosen()).bind(tweaks), api_key="MYKEY", system_message="TONE")
    assert {use.field: use.name for use in flow.variables} == {
        "api_key": "ANTHROPIC_API_KEY", "system_message": "TONE"
    }  # fmt: skip


def test_a_key_goes_along_when_the_caller_chooses_another_model_of_the_same_provider(runs: Runs) -> None:
    data = flows.chat_with_model(flows.language_model(key=flows.secret()))
    tweaks = {"Language Model": {"model": [{"name": "gpt-4o", "provider": "OpenAI"}]}}
    flow = filled(runs.engine.compile(data).bind(tweaks), api_key="MYKEY")
    assert [use.name for use in flow.variables] == ["MYKEY"]


@pytest.fixture
def stranger() -> Stranger:
    return Stranger()


@pytest.fixture
def elsewhere(stranger: Stranger) -> ElsewhereEngine:
    return ElsewhereEngine(stranger, Outside(NoModels()), Limits(), "nobody has")


def test_fields_of_components_that_only_another_executor_has_count(elsewhere: ElsewhereEngine) -> None:
    secret = flows.secret("token")
    found = {one.field: one.secret for one in elsewhere.compile(strange(secret, flows.field("tone"))).bind({}).empty}
    assert (found["token"], found["tone"]) == (True, False)
    assert not {"input_value", "session_id", "code"} & {
        one.field for one in elsewhere.compile(strange(secret)).bind({}).empty if one.node_id == "Strange-s"
    }


def test_another_executor_gets_the_values_of_filled_fields_and_no_others(
    elsewhere: ElsewhereEngine, stranger: Stranger
) -> None:
    bound = elsewhere.compile(strange(flows.secret("token"), flows.field("tone"))).bind({})
    flow = filled(bound, token="MINE")
    list(flow.run(RunSpec(FLOW_ID, "s", RunInput("hi")), {"MINE": "sk-1", "OTHER": "sk-2"}))
    assert field_of(stranger.orders[0], "Strange-s", "token") == "sk-1"
    assert field_of(stranger.orders[0], "Strange-s", "tone") == ""
    assert "sk-2" not in str(stranger.orders[0])
    assert "MINE" not in str(stranger.orders[0])


def test_tweaks_of_another_executors_flow_stay(elsewhere: ElsewhereEngine, stranger: Stranger) -> None:
    bound = elsewhere.compile(strange(flows.field("mood"), flows.field("tone"))).bind(
        {"Strange-s": {"mood": "good", "tone": ""}}
    )
    list(filled(bound, tone="TONE", mood="MOOD").run(RunSpec(FLOW_ID, "s", RunInput("hi")), {"TONE": "calm"}))
    assert [field_of(stranger.orders[0], "Strange-s", name) for name in ("mood", "tone")] == ["good", "calm"]
