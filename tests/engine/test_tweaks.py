from __future__ import annotations

import time
from typing import Any

import pytest

from service.domain.errors import InputConflict, Invalid, TweaksRefused
from service.domain.ports import RunInput, RunSpec
from service.engine import EmbeddedEngine, Limits, Outside
from service.engine.graph import NodeField
from service.engine.limits import Policy
from service.engine.tweaks import setting
from tests.engine.conftest import Model, Runs
from tests.engine.test_graph import grouped
from tests.support import flows


def sender_name(runs: Runs, tweaks: dict[str, Any], flow: Any = None) -> Any:
    result = runs.answer(flow or flows.echo(), tweaks=tweaks)["outputs"][0]
    return result["results"]["message"]["sender_name"]


@pytest.mark.parametrize(
    ("tweaks", "name"),
    [
        ({"ChatOutput-probe": {"sender_name": "Robo"}}, "Robo"),
        ({"Chat Output": {"sender_name": "Robo"}}, "Robo"),
        ({"ChatOutput": {"sender_name": "Robo"}}, "AI"),
        ({"sender_name": "Robo"}, "Robo"),
        ({"ChatOutput-probe": {"sender_name": {"value": "Robo"}}}, "Robo"),
        ({"ChatOutput-probe": {"nope": 1}}, "AI"),
        ({"Nope": {"sender_name": "Robo"}}, "AI"),
        ({"nope": 1, "stream": False}, "AI"),
        ({}, "AI"),
    ],
)
def test_a_tweak_is_addressed_by_id_by_display_name_or_to_all_but_not_by_type(
    runs: Runs, tweaks: dict[str, Any], name: str
) -> None:
    assert sender_name(runs, tweaks) == name


def test_a_tweak_for_all_wins_over_a_tweak_for_one(runs: Runs) -> None:
    assert sender_name(runs, {"sender_name": "All", "Chat Output": {"sender_name": "One"}}) == "All"


def test_a_plain_value_is_taken_literally(runs: Runs) -> None:
    text, end = flows.text_input(value="GREETING", load_from_db=True), flows.chat_output()
    data = flows.flow([text, end], [flows.edge(text, "text", end, "input_value")])
    tweaks = {"TextInput-a": {"input_value": "OTHER"}}
    assert runs.engine.compile(data).bind(tweaks).variables == ()
    assert runs.text(data, None, tweaks=tweaks, values={}) == "OTHER"


def test_a_tweak_may_name_a_variable_for_an_open_field(runs: Runs) -> None:
    tweaks = {"ChatOutput-probe": {"sender_name": {"value": "BOT_NAME", "load_from_db": True}}}
    (use,) = runs.engine.compile(flows.echo()).bind(tweaks).variables
    assert (use.name, use.secret) == ("BOT_NAME", False)


def test_a_tweak_does_not_reach_other_runs(runs: Runs) -> None:
    compiled = runs.engine.compile(flows.echo())
    before = compiled._plan.steps
    compiled.bind({"sender_name": "Robo"})
    assert compiled._plan.steps is before
    assert sender_name(runs, {}) == "AI"


def test_an_edge_wins_over_a_tweak(runs: Runs) -> None:
    assert runs.text(flows.prompt_chain(1), tweaks={"Prompt-0": {"text": "tweaked"}}) == "hello."


def closed() -> Any:
    """A flow with every kind of field that stays shut."""
    model = flows.openai_model(base_url="")
    template = model["data"]["node"]["template"]
    template["python_code"] = flows.field("python_code", "", kind="code")
    template["certificate"] = flows.field("certificate", "", kind="file", _input_type="FileInput")
    template["webhook_url"] = flows.field("webhook_url", "")
    template["local_path"] = flows.field("local_path", "")
    template["access_token"] = flows.field("access_token", "")
    template["pin"] = flows.field("pin", "", password=True)
    template["seal"] = flows.field("seal", "", _input_type="SecretStrInput")
    template["tools"] = flows.field("tools", "", kind="tools")
    template["odd"] = flows.field("odd", "", kind="something new")
    data = flows.chat_with_model(model)
    ask = flows.prompt("Prompt-1", "Be {how}.", {"how": "brief"})
    data["nodes"].append(ask)
    data["edges"].append(flows.edge(ask, "prompt", model, "system_message"))
    return data


CLOSED = [
    ("OpenAIModel-a", "OpenAI", "code"),
    ("OpenAIModel-a", "OpenAI", "python_code"),
    ("OpenAIModel-a", "OpenAI", "api_key"),
    ("OpenAIModel-a", "OpenAI", "openai_api_base"),
    ("OpenAIModel-a", "OpenAI", "certificate"),
    ("OpenAIModel-a", "OpenAI", "webhook_url"),
    ("OpenAIModel-a", "OpenAI", "local_path"),
    ("OpenAIModel-a", "OpenAI", "access_token"),
    ("OpenAIModel-a", "OpenAI", "pin"),
    ("OpenAIModel-a", "OpenAI", "seal"),
    ("OpenAIModel-a", "OpenAI", "tools"),
    ("OpenAIModel-a", "OpenAI", "odd"),
    ("ChatInput-probe", "Chat Input", "code"),
    ("ChatInput-probe", "Chat Input", "files"),
    ("Prompt-1", "Prompt Template", "template"),
]
VALUES: list[Any] = [
    "http://127.0.0.1:9/v1", "", None, ["x"], {"value": "x"}, {"value": "NAME", "load_from_db": True},
    {"load_from_db": True}, {"value": "x", "type": "str", "password": False, "_input_type": "StrInput"}, {},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize(("node_id", "display_name", "name"), CLOSED, ids=lambda value: value)
def test_a_closed_field_is_refused_in_every_spelling(
    runs: Runs, node_id: str, display_name: str, name: str, value: Any
) -> None:
    compiled = runs.engine.compile(closed())
    for tweaks in ({node_id: {name: value}}, {display_name: {name: value}}, {name: value}):
        with pytest.raises(TweaksRefused) as caught:
            compiled.bind(tweaks)
        assert caught.value.fields == (name,)


def test_all_refused_fields_are_named_and_nothing_is_applied(runs: Runs) -> None:
    tweaks = {"OpenAIModel-a": {"api_key": "x", "temperature": 1}, "template": "x", "code": "x"}
    with pytest.raises(TweaksRefused) as caught:
        runs.engine.compile(closed()).bind(tweaks)
    assert caught.value.fields == ("api_key", "code", "template")


def test_the_harmless_fields_of_the_same_node_stay_open(runs: Runs, model: Model) -> None:
    tweaks = {"OpenAIModel-a": {"temperature": 1, "max_tokens": "9", "model_name": "gpt-4o"}, "how": "kind"}
    runs.events(closed(), tweaks=tweaks)
    asked = model.asked[0]
    assert (asked.temperature, asked.max_tokens, asked.model) == (1.0, 9, "gpt-4o")
    assert asked.messages[0].text == "Be kind."


@pytest.mark.parametrize(
    "tweaks",
    [
        {"provider": "Anthropic"},
        {"provider": {"value": "OpenAI", "load_from_db": True}},
        {"model": {"value": [{"name": "x", "provider": "Anthropic"}]}},
        {"LanguageModelComponent-a": {"model": [{"name": "x", "provider": "Anthropic"}]}},
        {"model": "x"},
    ],
    ids=repr,
)
def test_a_caller_cannot_send_the_key_to_another_provider(runs: Runs, tweaks: dict[str, Any]) -> None:
    runs.providers["Anthropic"] = Model()
    with pytest.raises(TweaksRefused):
        runs.engine.compile(flows.chat_with_model()).bind(
            {"LanguageModelComponent-a": tweaks} if "provider" in tweaks or "model" in tweaks else tweaks
        )


def test_a_caller_may_choose_another_model_of_the_same_provider(runs: Runs, model: Model) -> None:
    tweaks = {
        "LanguageModelComponent-a": {"model": [{"name": "gpt-4.1", "provider": "OpenAI"}], "provider": "OpenAI"}
    }
    runs.events(flows.chat_with_model(), tweaks=tweaks)
    assert model.asked[0].model == "gpt-4.1"


def test_a_caller_may_choose_the_model_where_none_is_stored(runs: Runs, model: Model) -> None:
    empty = flows.language_model(key=flows.secret())
    empty["data"]["node"]["template"]["model"]["value"] = ""
    tweaks = {"LanguageModelComponent-a": {"model": [{"name": "gpt-4.1", "provider": "OpenAI"}]}}
    runs.events(flows.chat_with_model(empty), tweaks=tweaks)
    assert model.asked[0].api_key == "sk-canary-0123456789"


def test_a_value_that_does_not_fit_its_field_names_the_field(runs: Runs) -> None:
    with pytest.raises(Invalid) as caught:
        runs.engine.compile(flows.chat_with_model()).bind({"LanguageModelComponent-a": {"temperature": "hot"}})
    assert caught.value.problems[0].loc == ("body", "tweaks", "LanguageModelComponent-a", "temperature")


@pytest.mark.parametrize("name", ["a_Prompt-1", "c_Prompt-2"])
def test_the_fields_of_a_group_lead_to_the_inner_nodes(runs: Runs, name: str) -> None:
    text = runs.text(grouped(), tweaks={"Group-1": {name: "tweaked"}})
    assert text == ("1:hello 2:tweaked" if name == "c_Prompt-2" else "1:hello 2:outer")


def test_a_closed_field_behind_a_group_stays_closed(runs: Runs) -> None:
    data = grouped()
    data["nodes"][1]["data"]["node"]["template"]["t"] = flows.field(
        "t", "x", proxy={"id": "Prompt-1", "field": "template"}
    )
    with pytest.raises(TweaksRefused):
        runs.engine.compile(data).bind({"My group": {"t": "evil"}})


@pytest.mark.parametrize("key", ["ChatInput-probe", "Chat Input"])
def test_an_input_that_also_comes_as_a_tweak_is_a_conflict(runs: Runs, key: str) -> None:
    with pytest.raises(InputConflict, match="chat input"):
        runs.events(flows.echo(), tweaks={key: {"input_value": "t"}})


def test_the_conflict_is_found_before_the_run_begins(runs: Runs) -> None:
    bound = runs.engine.compile(flows.echo()).bind({"Chat Input": {"input_value": "t"}})
    with pytest.raises(InputConflict):
        bound.run(RunSpec("f", "s", RunInput("hello")), {})


@pytest.mark.parametrize("value", [None, ""])
def test_without_an_input_the_tweak_is_the_input(runs: Runs, value: str | None) -> None:
    assert runs.text(flows.echo(), value, tweaks={"ChatInput-probe": {"input_value": "from tweak"}}) == "from tweak"


def test_a_tweak_for_all_gives_way_to_the_input(runs: Runs) -> None:
    assert runs.text(flows.echo(), tweaks={"input_value": "for all"}) == "hello"


@pytest.mark.parametrize(
    ("kind", "tweak", "value"),
    [
        ("dict", {"a": 1}, {"a": 1}),
        ("dict", {"value": {"a": 1}}, {"a": 1}),
        ("NestedDict", {"value": {"a": 1}}, {"value": {"a": 1}}),
        ("NestedDict", '{"a": 1}', {"a": 1}),
        ("NestedDict", "{", "{"),
        ("str", {"value": "x", "display_name": "y"}, "x"),
        ("str", {"display_name": "y"}, "stored"),
    ],
    ids=repr,
)
def test_a_dict_is_the_value_of_a_field_that_holds_dicts_and_a_description_for_others(
    kind: str, tweak: Any, value: Any
) -> None:
    stored = NodeField("f", kind, "", "stored", from_variable=False, many=False, password=False, hidden=False)
    assert setting(stored, tweak).value == value


def test_a_flood_of_tweaks_costs_no_more_than_reading_it(runs: Runs) -> None:
    compiled = runs.engine.compile(flows.prompt_chain(300))
    flood: dict[str, Any] = {f"node-{at}": {"x": 1} for at in range(20_000)} | {
        f"name{at}": 1 for at in range(20_000)
    }
    start = time.process_time()
    compiled.bind(flood)
    assert time.process_time() - start < 2


def marked(*names: str) -> dict[str, Any]:
    """A flow in which the author has marked some fields for callers."""
    data = flows.echo()
    for node in data["nodes"]:
        for name in names:
            node["data"]["node"]["template"][name]["api_editable"] = True
    return data


def bound(policy: Policy, data: dict[str, Any], tweaks: dict[str, Any], *, by_owner: bool = False) -> None:
    engine = EmbeddedEngine(Outside({}), Limits(tweaks_policy=policy))  # type: ignore[arg-type]
    engine.compile(data).bind(tweaks, by_owner=by_owner)


def test_under_declared_only_marked_fields_take_a_tweak() -> None:
    data = marked("sender_name")
    bound("declared", data, {"sender_name": "Robo"})
    with pytest.raises(TweaksRefused, match="says which fields") as caught:
        bound("declared", data, {"sender_name": "Robo", "ChatOutput-probe": {"context_id": "x"}})
    assert caught.value.fields == ("context_id",)


def test_under_declared_a_flow_without_marks_stays_open() -> None:
    bound("declared", flows.echo(), {"sender_name": "Robo"})


def test_a_mark_opens_no_closed_field() -> None:
    data = flows.echo()
    data["nodes"][0]["data"]["node"]["template"]["code"]["api_editable"] = True
    with pytest.raises(TweaksRefused, match="protected"):
        bound("declared", data, {"ChatInput-probe": {"code": "x"}})


def test_under_off_no_field_takes_a_tweak_and_all_are_refused_alike() -> None:
    for name in ("sender_name", "code"):
        with pytest.raises(TweaksRefused, match="takes no tweaks") as caught:
            bound("off", marked("sender_name"), {"ChatInput-probe": {name: "x"}})
        assert caught.value.fields == (name,)


@pytest.mark.parametrize("policy", ["declared", "off"])
def test_the_policy_for_callers_does_not_bind_the_owners_other_flows(policy: Policy) -> None:
    bound(policy, marked("sender_name"), {"ChatInput-probe": {"context_id": "x"}}, by_owner=True)
    with pytest.raises(TweaksRefused, match="protected"):
        bound(policy, flows.echo(), {"ChatInput-probe": {"code": "x"}}, by_owner=True)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("URLComponent", "urls"), ("URLComponent", "headers"), ("APIRequest", "url_input"), ("APIRequest", "curl_input"),
     ("File", "path"), ("RunFlow", "flow_name_selected"), ("Memory", "template"), ("ParserComponent", "pattern"),
     ("TavilySearchComponent", "api_key"), ("OllamaModel", "base_url")],
)  # fmt: skip
def test_where_a_component_goes_and_what_it_reads_is_not_for_callers(kind: str, name: str) -> None:
    one = flows.node("X-1", kind, kind, [flows.field(name, "", kind="file" if name == "path" else "str")], {})
    engine = EmbeddedEngine(Outside({"Ollama": Model()}))
    with pytest.raises(TweaksRefused) as caught:
        engine.compile(flows.flow([one], [])).bind({"X-1": {name: "x"}})
    assert caught.value.fields == (name,)
