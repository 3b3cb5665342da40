"""Language models. The provider behind a port does the talking; a run never chooses where it goes."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping
from typing import ClassVar

from service.domain.errors import UnknownComponents
from service.domain.ports import ChatMessage, Event, VariableUse
from service.engine.asking import announce, ask, is_watched, request_for
from service.engine.component import Component, Draft, Output
from service.engine.fields import Field
from service.engine.uploads import images_of
from service.engine.values import SENDER_USER, Message, ModelChoice, Source, text_of

#: Langflow's provider name -> the variable that it takes a key from when the node has none.
PROVIDER_VARIABLES: Mapping[str, str] = {
    "Google": "GOOGLE_API_KEY",
    "Google Generative AI": "GOOGLE_API_KEY",
    "IBM WatsonX": "WATSONX_APIKEY",
}
#: Providers that ask for no key.
_KEYLESS = frozenset({"Ollama"})
#: Fields into which an edge may bring a whole model; the last two are 1.5's.
_HANDLES = ("model", "agent_llm", "llm")
_VARIABLE_NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")


def provider_variable(provider: str) -> str:
    """The name of the variable with the provider's key: ``OPENAI_API_KEY`` for ``OpenAI``."""
    return PROVIDER_VARIABLES.get(provider) or f"{provider.upper().replace(' ', '_')}_API_KEY"


class ModelComponent(Component):
    """What all language model nodes share: one question, one answer, streamed when somebody watches."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("text_output", "text_response"),
        Output("model_output", "build_model"),
    )
    shows_record = True
    __slots__ = ("_choice",)

    @classmethod
    def tool_methods(cls) -> tuple[str, ...]:
        """The model itself is for components, and holds its key."""
        return tuple(method for method in super().tool_methods() if method != "build_model")

    def choose(self) -> ModelChoice:
        """Which model to call, and how."""
        raise NotImplementedError

    def build_model(self) -> ModelChoice:
        """The model itself, for components that talk to it."""
        return self._chosen()

    def _chosen(self) -> ModelChoice:
        choice: ModelChoice | None = getattr(self, "_choice", None)
        if choice is None:
            choice = self._choice = self.choose()
        return choice

    def text_response(self) -> Generator[Event, None, Message]:
        """Ask the model; yields the events of a streamed answer."""
        choice, message = self._chosen(), Message("", source=self.source())
        request = request_for(self, choice, self._messages(), stream=is_watched(self))
        if request.stream:
            announce(message, self.run, "brain-circuit")
        yield from ask(self, choice, request, message)
        message.state = "complete"
        return message

    def _messages(self) -> tuple[ChatMessage, ...]:
        value, system = self.values.get("input_value"), self.text("system_message")
        text = text_of(value)
        if not text and not system and not (isinstance(value, Message) and value.files):
            raise self.fail("The message you want to send to the model is empty.")
        ours = isinstance(value, Message) and value.sender not in (None, "", SENDER_USER)
        images = () if ours else images_of(self, [value])
        turns = [ChatMessage("assistant" if ours else "user", text, images)] if text or images else []
        return (ChatMessage("system", system), *turns) if system else tuple(turns)

    def source(self) -> Source:
        """Messages name the model as their source, where Langflow's interface shows it."""
        return self.step.node_id, self.display_name, self._chosen().model or self.display_name


class LanguageModel(ModelComponent):
    """One node for every provider: ``model`` in 1.13, ``provider`` and ``model_name`` in 1.5."""

    names: ClassVar[tuple[str, ...]] = ("LanguageModelComponent", "LanguageModel")
    display_name = "Language Model"
    fields: ClassVar[tuple[Field, ...]] = (
        Field("model", "model"),
        Field("provider", "provider", default=""),
        Field("model_name", default=""),
        Field("api_key", "secret", default=""),
        Field("input_value", default=""),
        Field("system_message", default=""),
        Field("temperature", "float"),
        Field("max_tokens", "int"),
        Field("stream", "bool", default=False),
    )
    __slots__ = ()

    @classmethod
    def prepare(cls, draft: Draft) -> str | None:
        """The provider, when the stored flow says it; refused here when this server has none of that name."""
        provider = _planned_provider(draft)
        if provider and draft.outside.providers.get(provider) is None:
            raise UnknownComponents([f"{draft.node.type} ({provider[:80]})"])
        return provider

    @classmethod
    def implied_uses(cls, draft: Draft) -> Iterable[VariableUse]:
        """The provider's own variable when the node brings no key."""
        provider = _planned_provider(draft)
        if draft.decided_later("api_key") or not provider or provider in _KEYLESS:
            return ()
        return implied_key(draft, provider)

    @classmethod
    def accepts_tweak(cls, draft: Draft, declared: Field, value: object) -> bool:
        """Another model of the same provider, yes; another provider would get somebody else's key."""
        if declared.kind == "model":
            return _may_name(draft, _selected(value).get("provider"))
        if declared.kind == "provider":
            return _may_name(draft, value)
        return super().accepts_tweak(draft, declared, value)

    def choose(self) -> ModelChoice:
        """A connected model as it is; otherwise the selection with its overrides."""
        for name in _HANDLES:
            connected = self.values.get(name)
            if isinstance(connected, ModelChoice):
                return connected
        chosen = _selected(self.values.get("model"))
        provider = self.text("provider") or self.text("agent_llm") or text_of(chosen.get("provider"))
        model = self.text("model_name") or text_of(chosen.get("name"))
        if not provider and self.run.outside.default_model is not None:
            provider, model = self.run.outside.default_model
        if not provider or not model:
            raise self.fail("A model selection is required.")
        return ModelChoice(
            provider,
            model,
            self.text("api_key"),
            temperature=self.number("temperature"),
            max_tokens=self.integer("max_tokens"),
        )


def implied_key(draft: Draft, provider: str) -> list[VariableUse]:
    """The variable for an empty ``api_key``, or for one that holds a variable's name as text."""
    key = text_of(draft.literal("api_key")).strip()
    if key and not _VARIABLE_NAME.fullmatch(key):
        return []
    name = key or provider_variable(provider)
    return [VariableUse(draft.node.id, draft.node.display_name, "api_key", name, secret=True)]


def _selected(value: object) -> Mapping[str, object]:
    """The first model of a selection: ``[{"name", "provider", ...}]``."""
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, Mapping) else {}


def _may_name(draft: Draft, provider: object) -> bool:
    """A caller may name the provider that is stored anyway, or any where neither one nor a key is stored."""
    planned = _planned_provider(draft)
    if planned is not None:
        return provider == planned
    deciding = ("provider", "agent_llm", "model", "api_key")
    return not any(draft.decided_later(name) or draft.literal(name) for name in deciding)


def _planned_provider(draft: Draft) -> str | None:
    """The provider that the stored flow decides; None when an edge or a variable does."""
    if draft.decided_later("provider") or draft.linked.intersection(_HANDLES):
        return None
    named = (
        draft.literal("provider") or draft.literal("agent_llm") or _selected(draft.literal("model")).get("provider")
    )
    if not named and draft.outside.default_model is not None:
        return draft.outside.default_model[0]
    return named if isinstance(named, str) and named else None
