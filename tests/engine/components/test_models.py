from __future__ import annotations

from typing import Any

import pytest

from service.adapters.openai import OpenAIProvider
from service.domain.errors import ComponentFailed
from service.domain.ports import ChatMessage
from tests.engine.conftest import KEYS, Model, Runs
from tests.support import flows
from tests.support.provider import serving


@pytest.mark.parametrize("age", ["1.13", "1.5"])
def test_a_model_is_asked_with_the_settings_of_its_node(runs: Runs, model: Model, age: str) -> None:
    assert runs.text(flows.chat_with_model(flows.language_model(age=age, system="Be brief."), age=age)) == "An answer"
    asked = model.asked[0]
    assert (asked.model, asked.temperature, asked.max_tokens, asked.base_url) == ("gpt-4o-mini", 0.1, None, None)
    assert asked.messages == (ChatMessage("system", "Be brief."), ChatMessage("user", "hello"))
    assert asked.api_key == KEYS["OPENAI_API_KEY"]


def test_the_overrides_of_a_selection_win(runs: Runs, model: Model) -> None:
    node = flows.language_model()
    node["data"]["node"]["template"]["model_name"]["value"] = "gpt-4.1"
    node["data"]["node"]["template"]["max_tokens"]["value"] = 50
    runs.events(flows.chat_with_model(node))
    assert (model.asked[0].model, model.asked[0].max_tokens) == ("gpt-4.1", 50)


def test_the_older_openai_node_passes_all_its_settings_on(runs: Runs, model: Model) -> None:
    node = flows.openai_model(base_url="https://models.example/v1")
    template = node["data"]["node"]["template"]
    template["json_mode"]["value"], template["seed"]["value"] = True, 4
    runs.events(flows.chat_with_model(node))
    asked = model.asked[0]
    assert (asked.base_url, asked.json_mode, asked.seed, asked.max_retries) == (
        "https://models.example/v1",
        True,
        4,
        0,
    )
    assert asked.timeout == 20


@pytest.mark.parametrize("name", ["o3-mini", "gpt-5", "openai/o1"])
def test_reasoning_models_are_asked_without_a_temperature(runs: Runs, model: Model, name: str) -> None:
    runs.events(flows.chat_with_model(flows.language_model(model=name)))
    assert model.asked[0].temperature is None


def test_a_prompt_may_be_the_system_message(runs: Runs, model: Model) -> None:
    data = flows.chat_with_model()
    ask = flows.prompt("Prompt-1", "Be {how}.", {"how": "brief"})
    data["nodes"].append(ask)
    data["edges"].append(flows.edge(ask, "prompt", data["nodes"][1], "system_message"))
    runs.events(data)
    assert model.asked[0].messages[0] == ChatMessage("system", "Be brief.")


def test_an_empty_question_is_not_sent(runs: Runs, model: Model) -> None:
    with pytest.raises(
        ComponentFailed, match=r"Language Model: The message you want to send to the model is empty\."
    ):
        runs.events(flows.chat_with_model(), "")
    assert model.asked == []


def test_a_node_without_a_selection_says_so(runs: Runs) -> None:
    node = flows.language_model(key=flows.secret())
    node["data"]["node"]["template"]["model"]["value"] = ""
    with pytest.raises(ComponentFailed, match="A model selection is required"):
        runs.events(flows.chat_with_model(node))


def test_a_connected_model_is_used_as_it_is(runs: Runs, model: Model) -> None:
    other = flows.openai_model()
    data = flows.chat_with_model(flows.language_model(key=flows.secret()))
    data["nodes"].append(other)
    data["edges"].append(flows.edge(other, "model_output", data["nodes"][1], "model"))
    compiled = runs.engine.compile(data).bind({})
    assert [use.node_id for use in compiled.variables] == ["OpenAIModel-a"]
    runs.events(data)
    assert (model.asked[0].seed, len(model.asked)) == (1, 1)


def test_a_stored_address_that_is_not_allowed_names_the_setting(runs: Runs) -> None:
    runs.providers["OpenAI"] = OpenAIProvider()
    node = flows.openai_model(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ComponentFailed, match=r"Component OpenAI: .*KEYTURN_MODEL_BASE_URLS"):
        runs.events(flows.chat_with_model(node))


@pytest.mark.parametrize("stream", [False, True])
def test_a_flow_talks_with_a_real_server(runs: Runs, stream: bool) -> None:
    with serving() as server:
        provider = OpenAIProvider(base_url=server.url)
        runs.providers["OpenAI"] = provider
        assert runs.events(flows.chat_with_model(), "hi", stream=stream)[-1].name == "end"
        provider.close()
    assert server.last.headers["authorization"] == f"Bearer {KEYS['OPENAI_API_KEY']}"


def test_the_key_of_a_run_reaches_the_request_and_nothing_else(runs: Runs, model: Model) -> None:
    events: Any = runs.events(flows.chat_with_model(), stream=True, output_type="debug")
    assert model.asked[0].api_key == "sk-canary-0123456789"
    assert "canary" not in repr(events) + repr(model.asked)
