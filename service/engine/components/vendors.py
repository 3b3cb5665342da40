"""The model nodes of older exports, one for each provider."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from service.domain.errors import UnknownComponents
from service.domain.ports import VariableUse
from service.engine.component import Component, Draft
from service.engine.components.models import ModelComponent, implied_key
from service.engine.fields import Field
from service.engine.values import ModelChoice

_ASKED = (
    Field("input_value", default=""),
    Field("system_message", default=""),
    Field("stream", "bool", default=False),
)


class VendorModel(ModelComponent):
    """A node for one provider. Whether an address that it names is allowed is the provider's decision."""

    provider: ClassVar[str] = ""
    #: Addresses that the node's editor fills in by itself; they mean wherever the operator sends this provider.
    usual_addresses: ClassVar[tuple[str, ...]] = ()
    needs_key: ClassVar[bool] = True
    __slots__ = ()

    @classmethod
    def prepare(cls, draft: Draft) -> None:
        """Refuse the node where this server does not have the provider."""
        if draft.outside.providers.get(cls.provider) is None:
            raise UnknownComponents([f"{draft.node.type} ({cls.provider})"])

    @classmethod
    def implied_uses(cls, draft: Draft) -> Iterable[VariableUse]:
        """The provider's own variable when the node brings no key."""
        return () if not cls.needs_key or draft.decided_later("api_key") else implied_key(draft, cls.provider)

    def address(self, name: str) -> str | None:
        """The address in a field; None for the usual one."""
        url = self.text(name).strip().rstrip("/")
        return url if url and url not in self.usual_addresses else None


class OpenAIModel(VendorModel):
    """OpenAI, or another server that speaks the same protocol."""

    names = ("OpenAIModel", "OpenAIModelComponent")
    display_name = "OpenAI"
    provider = "OpenAI"
    usual_addresses = ("https://api.openai.com/v1",)
    fields = (
        Field("model_name", default="gpt-4o-mini"),
        Field("openai_api_base", "url", default=""),
        Field("api_key", "secret", default=""),
        *_ASKED,
        Field("temperature", "float", default=0.1),
        Field("max_tokens", "int"),
        Field("seed", "int", default=1),
        Field("json_mode", "bool", default=False),
        Field("model_kwargs", "dict"),
        Field("max_retries", "int", default=5),
        Field("timeout", "int", default=700),
    )
    __slots__ = ()

    def choose(self) -> ModelChoice:
        """The stored settings."""
        return ModelChoice(
            self.provider,
            self.text("model_name"),
            self.text("api_key"),
            base_url=self.address("openai_api_base"),
            temperature=self.number("temperature"),
            max_tokens=self.integer("max_tokens"),
            seed=self.integer("seed"),
            json_mode=self.flag("json_mode"),
            timeout=self.number("timeout") or None,
            max_retries=self.integer("max_retries") or 0,
            options=options_of(self, "model_kwargs"),
        )


class AnthropicModel(VendorModel):
    """Anthropic's Claude."""

    names = ("AnthropicModel", "AnthropicModelComponent")
    display_name = "Anthropic"
    provider = "Anthropic"
    usual_addresses = ("https://api.anthropic.com",)
    fields = (
        Field("model_name", default=""),
        Field("base_url", "url", default=""),
        Field("anthropic_api_url", "url", default=""),
        Field("api_key", "secret", default=""),
        *_ASKED,
        Field("temperature", "float", default=0.1),
        Field("max_tokens", "int", default=4096),
        Field("prefill", default=""),
    )
    __slots__ = ()

    def choose(self) -> ModelChoice:
        """The stored settings."""
        return ModelChoice(
            self.provider,
            self.text("model_name"),
            self.text("api_key"),
            base_url=self.address("base_url") or self.address("anthropic_api_url"),
            temperature=self.number("temperature"),
            max_tokens=self.integer("max_tokens"),
        )


class GoogleModel(VendorModel):
    """Google's Gemini."""

    names = ("GoogleGenerativeAIModel", "GoogleGenerativeAIComponent")
    display_name = "Google Generative AI"
    provider = "Google Generative AI"
    fields = (
        Field("model_name", default="gemini-1.5-pro"),
        Field("api_key", "secret", default=""),
        *_ASKED,
        Field("temperature", "float", default=0.1),
        Field("max_output_tokens", "int"),
        Field("top_p", "float"),
    )
    __slots__ = ()

    def choose(self) -> ModelChoice:
        """The stored settings; ``n`` and ``top_k`` are not part of the protocol that is spoken here."""
        top_p = self.number("top_p")
        return ModelChoice(
            self.provider,
            self.text("model_name").removeprefix("models/"),
            self.text("api_key"),
            temperature=self.number("temperature"),
            max_tokens=self.integer("max_output_tokens"),
            options={} if top_p is None else {"top_p": top_p},
        )


class GroqModel(VendorModel):
    """Groq."""

    names = ("GroqModel",)
    display_name = "Groq"
    provider = "Groq"
    usual_addresses = ("https://api.groq.com", "https://api.groq.com/openai/v1")
    fields = (
        Field("model_name", default=""),
        Field("base_url", "url", default=""),
        Field("groq_api_base", "url", default=""),
        Field("api_key", "secret", default=""),
        *_ASKED,
        Field("temperature", "float", default=0.1),
        Field("max_tokens", "int"),
    )
    __slots__ = ()

    def choose(self) -> ModelChoice:
        """The stored settings."""
        return ModelChoice(
            self.provider,
            self.text("model_name"),
            self.text("api_key"),
            base_url=self.address("base_url") or self.address("groq_api_base"),
            temperature=self.number("temperature"),
            max_tokens=self.integer("max_tokens"),
        )


class OllamaModel(VendorModel):
    """Models on a server of one's own."""

    names = ("OllamaModel", "ChatOllama", "ChatOllamaComponent")
    display_name = "Ollama"
    provider = "Ollama"
    usual_addresses = ("http://localhost:11434", "http://127.0.0.1:11434")
    needs_key = False
    fields = (
        Field("model_name", default=""),
        Field("base_url", "url", default=""),
        *_ASKED,
        Field("temperature", "float", default=0.1),
        Field("format", "any"),
        Field("top_p", "float"),
        Field("timeout", "int"),
    )
    __slots__ = ()

    def choose(self) -> ModelChoice:
        """The stored settings; the address is that of Ollama, its ``/v1`` speaks the protocol."""
        url, top_p = self.address("base_url"), self.number("top_p")
        return ModelChoice(
            self.provider,
            self.text("model_name"),
            "",
            base_url=None if url is None else f"{url.removesuffix('/v1')}/v1",
            temperature=self.number("temperature"),
            json_mode=self.text("format") == "json",
            timeout=self.number("timeout") or None,
            options={} if top_p is None else {"top_p": top_p},
        )


class AzureOpenAIModel(VendorModel):
    """OpenAI's models on Azure; a deployment's name stands for the model."""

    names = ("AzureOpenAIModel", "AzureChatOpenAI")
    display_name = "Azure OpenAI"
    provider = "Azure OpenAI"
    fields = (
        Field("azure_endpoint", "url", default=""),
        Field("azure_deployment", default=""),
        Field("api_version", default=""),
        Field("api_key", "secret", default=""),
        *_ASKED,
        Field("temperature", "float", default=0.7),
        Field("max_tokens", "int"),
    )
    __slots__ = ()

    def choose(self) -> ModelChoice:
        """The stored settings."""
        return ModelChoice(
            self.provider,
            self.text("azure_deployment"),
            self.text("api_key"),
            base_url=self.address("azure_endpoint"),
            temperature=self.number("temperature"),
            max_tokens=self.integer("max_tokens"),
            api_version=self.text("api_version") or None,
        )


def options_of(component: Component, name: str) -> dict[str, object]:
    """The author's own parameters of a provider's API; the adapter leaves out those that are not the author's."""
    value = component.values.get(name)
    return dict(value) if isinstance(value, dict) else {}
