from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from service.domain.errors import ComponentFailed, ProviderFailed, RunTimedOut, RunTooLarge
from service.domain.ports import RunInput, RunSpec
from service.engine import Limits
from service.engine.component import Component, Output, Run
from service.engine.values import STOPPED, Message
from tests.engine.conftest import FLOW_ID, KEYS, Model, Runs
from tests.support import flows


def ids(answer: dict[str, Any]) -> list[str]:
    return [result["component_id"] for result in answer["outputs"]]


def two_ends() -> Any:
    """Chat Input and Text Input, each with an output of its own kind, all connected."""
    chat, text = flows.chat_input(value="stored chat"), flows.text_input(value="stored text")
    join = flows.prompt("Prompt-1", "{a}|{b}", {"a": "", "b": ""})
    chat_out, text_out = flows.chat_output(name="Answer"), flows.text_output()
    edges = [flows.edge(chat, "message", join, "a"), flows.edge(text, "text", join, "b")]
    edges += [flows.edge(join, "prompt", end, "input_value") for end in (chat_out, text_out)]
    return flows.flow([text_out, chat, text, join, chat_out], edges)


@pytest.mark.parametrize(
    ("kind", "components", "text"),
    [
        ("chat", (), "in|stored text"),
        ("text", (), "stored chat|in"),
        ("any", (), "in|in"),
        ("any", ("TextInput-a",), "stored chat|in"),
        ("any", ("Chat Input",), "in|stored text"),
        ("chat", ("TextInput-a",), "stored chat|stored text"),
        ("chat", ("Nope",), "stored chat|stored text"),
    ],
)
def test_the_input_reaches_the_components_that_are_meant(
    runs: Runs, kind: str, components: tuple[str, ...], text: str
) -> None:
    assert runs.text(two_ends(), "in", kind=kind, components=components, outputs=("Answer",)) == text


def test_without_an_input_the_stored_text_runs_and_inputs_are_empty(runs: Runs) -> None:
    answer = runs.answer(flows.echo(), None)
    assert answer["inputs"] == {}
    assert answer["outputs"][0]["results"]["message"]["text"] == "Hello"


def test_an_empty_input_is_an_input(runs: Runs) -> None:
    answer = runs.answer(flows.echo(), "")
    assert answer["inputs"] == {"input_value": ""}
    assert answer["outputs"][0]["results"]["message"]["text"] == ""
    assert answer["outputs"][0]["messages"] == []


@pytest.mark.parametrize(
    ("spec", "chosen"),
    [
        ({"output_type": "chat"}, ["ChatOutput-probe"]),
        ({"output_type": "text"}, ["TextOutput-a"]),
        ({"output_type": "any"}, ["TextOutput-a", "ChatOutput-probe"]),
        (
            {"output_type": "debug"},
            ["TextOutput-a", "ChatInput-probe", "TextInput-a", "Prompt-1", "ChatOutput-probe"],
        ),
        ({"output_type": "bogus"}, ["TextOutput-a", "ChatOutput-probe"]),
        ({"outputs": ("Answer",)}, ["ChatOutput-probe"]),
        ({"outputs": ("ChatInput-probe",)}, ["ChatInput-probe"]),
        ({"outputs": ("Nope-1",)}, []),
        ({"outputs": ()}, ["TextOutput-a", "ChatOutput-probe"]),
    ],
    ids=repr,
)
def test_the_outputs_are_chosen_as_langflow_chooses_them(runs: Runs, spec: dict[str, Any], chosen: list[str]) -> None:
    assert ids(runs.answer(two_ends(), **spec)) == chosen


def test_the_session_is_written_into_every_node_that_has_one(runs: Runs) -> None:
    data = flows.echo()
    for node in data["nodes"]:
        node["data"]["node"]["template"]["session_id"]["value"] = "stored"
    answer = runs.answer(data, session_id="sess-1", output_type="debug")
    assert {result["results"]["message"]["session_id"] for result in answer["outputs"]} == {"sess-1"}


def test_each_node_runs_once_however_many_read_it(runs: Runs, model: Model) -> None:
    data = flows.chat_with_model()
    second = flows.chat_output("ChatOutput-2")
    data["nodes"].append(second)
    data["edges"].append(flows.edge(data["nodes"][1], "text_output", second, "input_value"))
    assert len(ids(runs.answer(data))) == 2
    assert len(model.asked) == 1


def test_runs_side_by_side_do_not_mix(runs: Runs) -> None:
    bound = runs.engine.compile(flows.prompt_chain(5)).bind({})

    def text(at: int) -> str:
        spec = RunSpec(FLOW_ID, f"s{at}", RunInput(f"say {at}"))
        outputs: Any = list(bound.run(spec, KEYS))[-1].data["outputs"]
        message = outputs[0]["outputs"][0]["results"]["message"]
        return f"{message['text']} {message['session_id']}"

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(text, range(200))) == [f"say {at}..... s{at}" for at in range(200)]


def test_changing_an_answer_does_not_change_the_next_one(runs: Runs) -> None:
    bound = runs.engine.compile(flows.echo()).bind({})
    spec = RunSpec(FLOW_ID, FLOW_ID, RunInput("hello"))
    first: Any = list(bound.run(spec, {}))[-1].data["outputs"]
    first[0]["outputs"][0]["results"]["message"]["properties"]["targets"].append("spoiled")
    first[0]["outputs"][0]["logs"]["message"].append("spoiled")
    second: Any = list(bound.run(spec, {}))[-1].data["outputs"]
    assert "spoiled" not in repr(second)


def limited(**limits: Any) -> Runs:
    return Runs(Model(), Limits(**limits))


def test_a_run_with_too_many_steps_is_stopped() -> None:
    with pytest.raises(RunTooLarge, match="more than 3 steps"):
        limited(max_steps=3).events(flows.prompt_chain(2))


def test_a_run_without_time_left_is_stopped() -> None:
    with pytest.raises(RunTimedOut):
        limited(wall_seconds=0).events(flows.echo())


def test_a_model_gets_no_more_time_than_the_run_has_left() -> None:
    runs = limited(wall_seconds=30)
    model: Any = runs.providers["OpenAI"]
    runs.events(flows.chat_with_model(flows.language_model()))
    assert 0 < model.asked[0].timeout <= 30


def test_an_input_over_the_limit_is_refused_by_its_bytes() -> None:
    limited(max_input_bytes=4).events(flows.echo(), "ÄÖ")
    with pytest.raises(RunTooLarge, match="input"):
        limited(max_input_bytes=3).events(flows.echo(), "ÄÖ")


def test_prompts_that_double_their_input_are_stopped_before_they_fill_the_memory() -> None:
    chain = [flows.prompt(f"Prompt-{at}", "{a}{a}{a}{a}{a}{a}{a}{a}", {"a": ""}) for at in range(40)]
    nodes = [flows.chat_input(), *chain]
    edges = [flows.edge(nodes[at], "prompt" if at else "message", nodes[at + 1], "a") for at in range(40)]
    with pytest.raises(RunTooLarge, match="produced more"):
        limited(max_output_bytes=100_000).events(flows.flow(nodes, edges))


def test_an_answer_over_the_limit_is_stopped_while_it_comes() -> None:
    runs = limited(max_output_bytes=100)
    model: Any = runs.providers["OpenAI"]
    model.pieces = ("x" * 60,) * 10
    with pytest.raises(RunTooLarge):
        runs.events(flows.chat_with_model(), "hi", stream=True)
    assert model.closed == 1


def test_a_providers_failure_names_the_component(runs: Runs, model: Model) -> None:
    model.failure = ProviderFailed("The model provider answered 401: no.")
    with pytest.raises(ProviderFailed, match=r"Error building Component Language Model: The model provider .* 401"):
        runs.events(flows.chat_with_model())


def test_an_error_that_nobody_expected_shows_its_kind_but_not_its_text(
    runs: Runs, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    model.failure = RuntimeError("the key is sk-canary-0123456789")
    with pytest.raises(ComponentFailed) as caught:
        runs.events(flows.chat_with_model())
    assert "RuntimeError" in str(caught.value)
    assert "canary" not in str(caught.value) + caplog.text
    assert caught.value.__suppress_context__


def test_no_secret_appears_in_any_event_or_repr(runs: Runs) -> None:
    key = flows.secret(value="sk-canary-stored-in-the-flow")
    for data in (flows.chat_with_model(), flows.chat_with_model(flows.language_model(key=key))):
        compiled = runs.engine.compile(data)
        bound = compiled.bind({})
        events = [repr(event) for event in runs.events(data, stream=True, output_type="debug")]
        shown = [
            repr(thing) for thing in (compiled, bound, compiled._plan, *compiled._plan.steps, *compiled._plan.targets)
        ]
        assert "canary" not in "".join(events + shown)


class Switch(Component):
    """Sends its input one way and stops the other."""

    names = ("Switch",)
    display_name = "Switch"
    outputs = (Output("yes", "go"), Output("no", "stop"))
    __slots__ = ()

    def go(self) -> Message:
        return Message("this way")

    def stop(self) -> object:
        return STOPPED


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> None:
    from service.engine import catalogue, plan

    monkeypatch.setattr(plan, "CATALOGUE", {**catalogue.CATALOGUE, "Switch": Switch})


def branches() -> tuple[list[Any], list[Any]]:
    start = flows.node("Switch-1", "Switch", "Switch", [], {"yes": "go", "no": "stop"})
    one, two = flows.prompt("Prompt-yes", "yes: {a}", {"a": ""}), flows.prompt("Prompt-no", "no: {a}", {"a": ""})
    return [start, one, two], [flows.edge(start, "yes", one, "a"), flows.edge(start, "no", two, "a")]


@pytest.mark.usefixtures("switch")
def test_a_stopped_branch_does_not_run_and_has_no_result(runs: Runs) -> None:
    nodes, edges = branches()
    ends = [flows.chat_output("ChatOutput-yes"), flows.chat_output("ChatOutput-no")]
    edges += [flows.edge(nodes[at + 1], "prompt", ends[at], "input_value") for at in range(2)]
    assert ids(runs.answer(flows.flow(nodes + ends, edges), None)) == ["ChatOutput-yes"]


@pytest.mark.usefixtures("switch")
def test_where_branches_meet_the_live_one_counts(runs: Runs) -> None:
    nodes, edges = branches()
    end = flows.chat_output()
    edges += [flows.edge(node, "prompt", end, "input_value") for node in nodes[1:]]
    assert runs.text(flows.flow([*nodes, end], edges), None) == "yes: this way"


def test_two_components_cannot_claim_one_name() -> None:
    import types

    from service.engine.catalogue import build

    family = types.ModuleType("family")
    for name in ("One", "Two"):
        setattr(family, name, type(name, (Component,), {"names": ("Same",), "__module__": "family"}))
    with pytest.raises(ValueError, match="Same"):
        build((family,))


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "made", [flows.echo, flows.chat_with_model, partial(flows.prompt_chain, 3)], ids=["echo", "model", "prompts"]
)
def test_nothing_of_a_run_waits_for_the_garbage_collector(runs: Runs, made: Callable[[], Any]) -> None:
    runs.answer(made(), "Hello")
    assert [each for each in gc.get_objects() if isinstance(each, Run | Component)] == []
