"""The model providers of a server, by Langflow's names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from service.adapters import anthropic, openai
from service.adapters.anthropic import AnthropicProvider
from service.adapters.openai import AzureProvider, OpenAIProvider
from service.domain.ports import ModelProvider

GOOGLE_BASE_URL = "https://generativelanguage.googleapis.com/v1beta/openai/"
GROQ_BASE_URL = "https://api.groq.com/openai/v1"
OLLAMA_BASE_URL = "http://localhost:11434/v1"
AZURE_API_VERSION = "2024-10-21"


class Providers:
    """A ``domain.ports.ModelProviders`` over a fixed table.

    Args:
        table: provider by Langflow's name, for example ``{"OpenAI": ...}``.
    """

    def __init__(self, table: Mapping[str, ModelProvider]) -> None:
        self._table = dict(table)

    def get(self, name: str) -> ModelProvider | None:
        """The provider, or None when this server has none of that name."""
        return self._table.get(name)

    def close(self) -> None:
        """Close the connections of every provider that keeps some."""
        for provider in self._table.values():
            close = getattr(provider, "close", None)
            if close is not None:
                close()


def providers(
    *,
    openai_base_url: str = openai.DEFAULT_BASE_URL,
    anthropic_base_url: str = anthropic.DEFAULT_BASE_URL,
    google_base_url: str = GOOGLE_BASE_URL,
    groq_base_url: str = GROQ_BASE_URL,
    ollama_base_url: str = OLLAMA_BASE_URL,
    azure_endpoint: str | None = None,
    azure_api_version: str = AZURE_API_VERSION,
    allowed_base_urls: Iterable[str] = (),
    timeout: float = 120.0,
) -> Providers:
    """The providers that come with Keyturn.

    Args:
        openai_base_url: where OpenAI's requests go when the flow names no address.
        anthropic_base_url: the same for Anthropic.
        google_base_url: the same for Google, spoken to in OpenAI's protocol.
        groq_base_url: the same for Groq.
        ollama_base_url: the same for Ollama, spoken to in OpenAI's protocol; with or without its ``/v1``.
        azure_endpoint: of the operator's Azure OpenAI; without one, Azure is only reached at allowed addresses.
        azure_api_version: used where a flow names none.
        allowed_base_urls: other addresses that flows may name (KEYTURN_MODEL_BASE_URLS).
        timeout: longest time for one answer, in seconds.
    """
    allowed = tuple(allowed_base_urls)

    def speaks_openai(base_url: str, *, needs_key: bool = True) -> OpenAIProvider:
        return OpenAIProvider(base_url=base_url, allowed_base_urls=allowed, timeout=timeout, needs_key=needs_key)

    google = speaks_openai(google_base_url)
    return Providers(
        {
            "OpenAI": speaks_openai(openai_base_url),
            "Anthropic": AnthropicProvider(base_url=anthropic_base_url, allowed_base_urls=allowed, timeout=timeout),
            "Google": google,
            "Google Generative AI": google,
            "Groq": speaks_openai(groq_base_url),
            "Ollama": speaks_openai(f"{ollama_base_url.rstrip('/').removesuffix('/v1')}/v1", needs_key=False),
            "Azure OpenAI": AzureProvider(
                endpoint=azure_endpoint,
                allowed_base_urls=allowed,
                timeout=timeout,
                api_version=azure_api_version,
            ),
        }
    )
