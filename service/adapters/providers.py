"""The model providers of a server, by Langflow's names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from service.adapters.openai import DEFAULT_BASE_URL, OpenAIProvider
from service.domain.ports import ModelProvider


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
    openai_base_url: str = DEFAULT_BASE_URL,
    allowed_base_urls: Iterable[str] = (),
    timeout: float = 120.0,
) -> Providers:
    """The providers that come with Keyturn.

    Args:
        openai_base_url: where OpenAI's requests go by default.
        allowed_base_urls: other addresses that flows may name (KEYTURN_MODEL_BASE_URLS).
        timeout: longest time for one answer, in seconds.
    """
    openai = OpenAIProvider(base_url=openai_base_url, allowed_base_urls=allowed_base_urls, timeout=timeout)
    return Providers({"OpenAI": openai})
