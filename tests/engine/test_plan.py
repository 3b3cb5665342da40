from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from service.domain.errors import UnknownComponents, VariableMissing
from service.domain.ports import RunInput, RunSpec, VariableUse
from service.engine import EmbeddedEngine, Outside
from tests.engine.conftest import FLOW_ID, KEYS, Model, Runs
from tests.support import flows


def uses(runs: Runs, flow: Any, tweaks: dict[str, Any] | None = None) -> list[tuple[str, str, bool]]:
    bound = runs.engine.compile(flow).bind(tweaks or {})
    return [(use.field, use.name, use.secret) for use in bound.variables]


def test_an_edge_overrides_the_stored_value(runs: Runs) -> None:
    start, ask, end = flows.chat_input(), flows.prompt("Prompt-1", "{a}", {"a": "stored"}), flows.chat_output()
    edges = [flows.edge(start, "message", ask, "a"), flows.edge(ask, "prompt", end, "input_value")]
    assert runs.text(flows.flow([start, ask, end], edges)) == "hello"


def test_an_edge_turns_the_variable_of_a_field_off(runs: Runs) -> None:
    start, ask, end = flows.chat_input(), flows.prompt("Prompt-1", "{a}", {"a": "NAME"}), flows.chat_output()
    ask["data"]["node"]["template"]["a"]["load_from_db"] = True
    edges = [flows.edge(start, "message", ask, "a"), flows.edge(ask, "prompt", end, "input_value")]
    assert uses(runs, flows.flow([start, ask, end], edges)) == []


def test_a_variable_is_used_by_name_and_its_value_only_comes_with_the_run(runs: Runs) -> None:
    text, end = flows.text_input(value="GREETING", load_from_db=True), flows.chat_output()
    data = flows.flow([text, end], [flows.edge(text, "text", end, "input_value")])
    assert uses(runs, data) == [("input_value", "GREETING", False)]
    assert runs.text(data, None, values={"GREETING": "good day"}) == "good day"


def test_a_password_field_may_take_a_credential(runs: Runs) -> None:
    assert uses(runs, flows.chat_with_model()) == [("api_key", "OPENAI_API_KEY", True)]


def test_a_visible_field_that_the_editor_masks_may_not_take_a_credential(runs: Runs) -> None:
    text, end = flows.text_input(value="NAME", load_from_db=True, password=True), flows.chat_output()
    data = flows.flow([text, end], [flows.edge(text, "text", end, "input_value")])
    assert uses(runs, data) == [("input_value", "NAME", False)]


@pytest.mark.parametrize("age", ["1.13", "1.5"])
def test_a_model_without_a_key_uses_its_providers_variable(runs: Runs, age: str) -> None:
    data = flows.chat_with_model(flows.language_model(age=age, key=flows.secret()), age=age)
    assert uses(runs, data) == [("api_key", "OPENAI_API_KEY", True)]


def test_a_key_that_is_a_variables_name_is_taken_for_one(runs: Runs) -> None:
    model = flows.language_model(key=flows.secret(value="MY_OPENAI_KEY"))
    assert uses(runs, flows.chat_with_model(model)) == [("api_key", "MY_OPENAI_KEY", True)]


def test_a_key_that_is_stored_in_the_flow_needs_no_variable(runs: Runs, model: Model) -> None:
    data = flows.chat_with_model(flows.language_model(key=flows.secret(value="sk-stored")))
    assert uses(runs, data) == []
    runs.events(data, values={})
    assert model.asked[0].api_key == "sk-stored"


def test_each_provider_has_its_own_variable(model: Model) -> None:
    engine = EmbeddedEngine(Outside({"Anthropic": model, "Google Generative AI": model}))
    for provider, name in (("Anthropic", "ANTHROPIC_API_KEY"), ("Google Generative AI", "GOOGLE_API_KEY")):
        data = flows.chat_with_model(flows.language_model(provider=provider, key=flows.secret()))
        assert [use.name for use in engine.compile(data).bind({}).variables] == [name]


def test_a_missing_variable_is_named_before_anything_runs(runs: Runs, model: Model) -> None:
    with pytest.raises(VariableMissing, match="OPENAI_API_KEY"):
        runs.events(flows.chat_with_model(), values={})
    assert model.asked == []


@pytest.mark.parametrize("age", ["1.13", "1.5"])
def test_a_provider_that_the_server_lacks_is_named_before_anything_runs(runs: Runs, age: str) -> None:
    data = flows.chat_with_model(flows.language_model(age=age, provider="Anthropic"), age=age)
    with pytest.raises(UnknownComponents) as caught:
        runs.engine.compile(data)
    assert caught.value.names == ("LanguageModelComponent (Anthropic)",)


def test_a_list_field_collects_all_incoming_edges(runs: Runs) -> None:
    one, two, end = (
        flows.text_input("TextInput-1", "one"),
        flows.text_input("TextInput-2", "two"),
        flows.chat_output(),
    )
    end["data"]["node"]["template"]["input_value"]["list"] = True
    edges = [flows.edge(one, "text", end, "input_value"), flows.edge(two, "text", end, "input_value")]
    assert runs.text(flows.flow([one, two, end], edges), None) == "one\ntwo"


def test_the_order_follows_the_edges_whatever_the_export_says(runs: Runs) -> None:
    data = flows.prompt_chain(3)
    data["nodes"].reverse()
    data["edges"].reverse()
    assert runs.text(data) == "hello..."


def test_the_order_is_always_the_same() -> None:
    data = flows.flow([flows.text_input(f"TextInput-{at}", str(at)) for at in range(20)], [])
    orders = {
        tuple(
            step.node_id for step in EmbeddedEngine(Outside({})).compile(data)._plan.steps
        )  # the plan has no public order
        for _ in range(5)
    }
    assert orders == {tuple(f"TextInput-{at}" for at in range(20))}


def test_a_chain_without_a_connection_to_the_chat_does_not_run(runs: Runs) -> None:
    data = flows.echo()
    apart = flows.text_input("TextInput-apart", "SOME_NAME", load_from_db=True)
    data["nodes"].append(apart)
    assert uses(runs, data) == []
    assert len(runs.answer(data, output_type="debug")["outputs"]) == 2


def test_a_hidden_field_keeps_its_stored_value_to_itself(runs: Runs, model: Model) -> None:
    data = flows.chat_with_model()
    template = data["nodes"][1]["data"]["node"]["template"]
    template["system_message"].update(value="hidden", show=False)
    runs.events(data)
    assert [turn.role for turn in model.asked[0].messages] == ["user"]


def test_a_plan_holds_no_stored_code() -> None:
    data = flows.echo()
    for node in data["nodes"]:
        node["data"]["node"]["template"]["code"]["value"] = "x" * 1_000_000
    compiled = EmbeddedEngine(Outside({})).compile(data)
    assert reachable_size(compiled) < 200_000


def reachable_size(root: object) -> int:
    """Bytes of text that can be reached from an object."""
    import gc

    seen: set[int] = set()
    pending, size = [root], 0
    while pending:
        item = pending.pop()
        if id(item) in seen or isinstance(item, type | type(sys)) or callable(item):
            continue
        seen.add(id(item))
        size += sys.getsizeof(item) if isinstance(item, str | bytes) else 0
        pending.extend(gc.get_referents(item))
    return size


def test_a_bound_flow_says_which_node_uses_a_variable(runs: Runs) -> None:
    (use,) = runs.engine.compile(flows.chat_with_model()).bind({}).variables
    assert use == VariableUse("LanguageModelComponent-a", "Language Model", "api_key", "OPENAI_API_KEY", secret=True)


@pytest.mark.parametrize(
    ("name", "owner_only"), [("url_input", True), ("headers", True), ("method", False), ("query_params", False)]
)
def test_a_use_says_whether_only_the_owner_may_give_the_value(runs: Runs, name: str, owner_only: bool) -> None:
    one = flows.node("APIRequest-a", "APIRequest", "API", [flows.field(name, "V", load_from_db=True)], {"data": "m"})
    (use,) = runs.engine.compile(flows.flow([one], [])).bind({}).variables
    assert use.owner_only is owner_only


def test_the_cost_of_a_run_grows_in_step_with_the_nodes(runs: Runs) -> None:
    def seconds(length: int) -> float:
        bound = runs.engine.compile(flows.prompt_chain(length)).bind({})
        spec = RunSpec(FLOW_ID, FLOW_ID, RunInput("hello"))
        took = []
        for _ in range(7):
            start = time.process_time()
            for _ in range(10):
                list(bound.run(spec, KEYS))
            took.append(time.process_time() - start)
        return min(took)

    assert seconds(200) < 20 * seconds(20) + 0.05
