from __future__ import annotations

from typing import Any

import pytest

from service.domain.errors import ComponentFailed, UnknownComponents
from service.engine import EmbeddedEngine, Outside
from tests.engine.conftest import Model, Runs
from tests.support import flows
from tests.support.flows import Json, edge, field, node

#: Type name -> provider, the field of the model, the field of the address (None: has none).
NODES = {
    "OpenAIModel": ("OpenAI", "model_name", "openai_api_base"),
    "AnthropicModel": ("Anthropic", "model_name", "base_url"),
    "GoogleGenerativeAIModel": ("Google Generative AI", "model_name", None),
    "GroqModel": ("Groq", "model_name", "base_url"),
    "OllamaModel": ("Ollama", "model_name", "base_url"),
    "AzureOpenAIModel": ("Azure OpenAI", "azure_deployment", "azure_endpoint"),
}


def chat(kind: str, **values: Any) -> Json:
    start, end = flows.chat_input(), flows.chat_output()
    kinds = {bool: "bool", int: "int", float: "slider", dict: "dict"}
    fields = [field(name, value, kind=kinds.get(type(value), "str")) for name, value in values.items()]
    ask = node(f"{kind}-m", kind, kind, [field("input_value"), field("system_message"), *fields], {
        "text_output": "text_response",
    })  # fmt: skip
    return flows.flow([start, ask, end], [edge(start, "message", ask, "input_value"),
                                          edge(ask, "text_output", end, "input_value")])  # fmt: skip


def runs_with(model: Model) -> Runs:
    made = Runs(model)
    made.providers.update(dict.fromkeys((provider for provider, _, _ in NODES.values()), model))
    return made


@pytest.mark.parametrize("kind", NODES)
def test_a_node_asks_its_provider_with_its_settings(model: Model, kind: str) -> None:
    provider, name, _ = NODES[kind]
    data = chat(kind, **{name: "a-model"}, api_key="sk-mine", temperature=0.3)
    assert runs_with(model).text(data) == "An answer"
    asked = model.asked[0]
    assert (asked.model, asked.temperature) == ("a-model", 0.3)
    assert asked.api_key == ("" if provider == "Ollama" else "sk-mine")


@pytest.mark.parametrize("kind", NODES)
def test_a_node_without_a_key_uses_its_providers_variable(model: Model, kind: str) -> None:
    provider, name, _ = NODES[kind]
    runs = runs_with(model)
    uses = runs.engine.compile(chat(kind, **{name: "m"}, api_key="")).bind({}).variables
    variable = {"Google Generative AI": "GOOGLE_API_KEY", "Ollama": None}.get(
        provider, f"{provider.upper().replace(' ', '_')}_API_KEY"
    )
    assert [use.name for use in uses] == ([variable] if variable else [])
    assert all(use.secret for use in uses)


@pytest.mark.parametrize("kind", [kind for kind, (_, _, address) in NODES.items() if address])
def test_an_address_goes_to_the_provider_which_decides(model: Model, kind: str) -> None:
    _, name, address = NODES[kind]
    runs_with(model).text(chat(kind, **{name: "m", str(address): "https://models.example"}, api_key="sk-x"))
    assert str(model.asked[0].base_url).startswith("https://models.example")


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("OpenAIModel", "https://api.openai.com/v1"),
        ("AnthropicModel", "https://api.anthropic.com"),
        ("GroqModel", "https://api.groq.com"),
        ("OllamaModel", "http://localhost:11434"),
    ],
)
def test_the_usual_address_means_wherever_the_operator_sends_the_provider(
    model: Model, kind: str, address: str
) -> None:
    runs_with(model).text(chat(kind, model_name="m", **{str(NODES[kind][2]): address}, api_key="sk-x"))
    assert model.asked[0].base_url is None


def test_the_authors_own_parameters_reach_the_provider(model: Model) -> None:
    runs_with(model).text(chat("OpenAIModel", model_name="m", api_key="sk-x", model_kwargs={"top_p": 0.1}))
    assert model.asked[0].options == {"top_p": 0.1}


@pytest.mark.parametrize("kind", NODES)
def test_a_server_without_the_provider_refuses_the_flow(kind: str) -> None:
    with pytest.raises(UnknownComponents, match=kind):
        EmbeddedEngine(Outside({})).compile(chat(kind, api_key="sk-x"))  # type: ignore[arg-type]


def test_a_node_without_a_model_runs_with_the_operators_choice(model: Model) -> None:
    bare = flows.chat_with_model(flows.language_model(model="", provider=""))
    runs = Runs(model, default_model=("OpenAI", "gpt-of-the-house"))
    assert runs.text(bare) == "An answer"
    assert model.asked[0].model == "gpt-of-the-house"
    with pytest.raises(ComponentFailed, match="A model selection is required"):
        Runs(model).text(bare)
