"""What every provider has to do, whichever SDK and protocol is behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from service.adapters.anthropic import AnthropicProvider
from service.adapters.openai import AzureProvider, OpenAIProvider
from service.adapters.sdk import SdkProvider
from service.domain.errors import ComponentFailed, ProviderFailed, RunTimedOut
from service.domain.ports import (
    Cancellation,
    ChatMessage,
    Image,
    ModelChunk,
    ModelRequest,
    TokenUsage,
    ToolCall,
    ToolSpec,
)
from tests.support.provider import Provider, serving

KEY = "sk-canary-0123456789"
TOOL = ToolSpec("add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})


def openai(server: Provider, **options: Any) -> SdkProvider:
    return OpenAIProvider(base_url=server.url, backoff=0.01, **options)


def anthropic(server: Provider, **options: Any) -> SdkProvider:
    return AnthropicProvider(base_url=server.url.removesuffix("/v1"), backoff=0.01, **options)


def azure(server: Provider, **options: Any) -> SdkProvider:
    endpoint = server.url.removesuffix("/v1")
    return AzureProvider(endpoint=endpoint, api_version="2024-10-21", backoff=0.01, **options)


KINDS: dict[str, Callable[..., SdkProvider]] = {"openai": openai, "anthropic": anthropic, "azure": azure}


@pytest.fixture
def server() -> Iterator[Provider]:
    with serving() as provider:
        yield provider


@pytest.fixture(params=KINDS)
def adapter(request: pytest.FixtureRequest, server: Provider) -> Iterator[SdkProvider]:
    with ExitStack() as stack:
        yield stack.enter_context(closing(KINDS[request.param](server)))


def asked(text: str = "hi", **more: Any) -> ModelRequest:
    return ModelRequest(**{"model": "m", "messages": (ChatMessage("user", text),), "api_key": KEY, **more})


def text(chunks: list[ModelChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def calls(chunks: list[ModelChunk]) -> list[ToolCall]:
    return [call for chunk in chunks for call in chunk.tool_calls]


def usage(chunks: list[ModelChunk]) -> list[TokenUsage]:
    return [chunk.usage for chunk in chunks if chunk.usage is not None]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_comes_with_its_usage(adapter: SdkProvider, stream: bool) -> None:
    chunks = list(adapter.complete(asked(stream=stream)))
    assert text(chunks) == "You said: hi"
    assert usage(chunks) == [TokenUsage(7, 5, 12)]


def test_a_stream_comes_piece_by_piece(adapter: SdkProvider, server: Provider) -> None:
    server.pieces = ("one ", "two ", "three")
    assert [c.text for c in adapter.complete(asked(stream=True)) if c.text] == ["one ", "two ", "three"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_comes_whole(adapter: SdkProvider, stream: bool) -> None:
    chunks = list(adapter.complete(asked('!tool add {"a": 12345678}', stream=stream, tools=(TOOL,))))
    assert calls(chunks) == [ToolCall("call_1", "add", '{"a": 12345678}')]


@pytest.mark.parametrize("stream", [False, True])
def test_a_tools_answer_goes_back_to_the_model(adapter: SdkProvider, stream: bool) -> None:
    turns = (
        ChatMessage("user", '!tool add {"a": 1}'),
        ChatMessage("assistant", "", tool_calls=(ToolCall("call_1", "add", '{"a": 1}'),)),
        ChatMessage("tool", "it is 2", tool_call_id="call_1"),
    )
    assert text(list(adapter.complete(asked(messages=turns, tools=(TOOL,), stream=stream)))) == "Tool said: it is 2"


def test_a_tool_that_has_to_be_called_is_called(adapter: SdkProvider) -> None:
    chunks = list(adapter.complete(asked('{"a": 3}', tools=(TOOL,), tool_choice="add")))
    assert [(call.name, call.arguments) for call in calls(chunks)] == [("add", '{"a": 3}')]


def test_a_picture_goes_with_the_users_words(adapter: SdkProvider, server: Provider) -> None:
    turn = ChatMessage("user", "what is this", (Image("image/png", b"\x89PNG"),))
    list(adapter.complete(asked(messages=(turn,))))
    assert "iVBORw==" in str(server.last.body["messages"])


def test_the_system_message_arrives(adapter: SdkProvider, server: Provider) -> None:
    list(adapter.complete(asked(messages=(ChatMessage("system", "Be brief."), ChatMessage("user", "hi")))))
    assert "Be brief." in str(server.last.body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 529])
def test_a_refusal_is_a_failure_without_the_key(
    adapter: SdkProvider, server: Provider, status: int, stream: bool
) -> None:
    server.failures.extend([status] * 9)
    server.reason = f"The key {KEY} is not good."
    with pytest.raises(ProviderFailed) as failed:
        list(adapter.complete(asked(stream=stream)))
    assert str(status) in str(failed.value)
    assert KEY not in str(failed.value)


def test_a_rate_limit_is_tried_again_when_the_provider_says(adapter: SdkProvider, server: Provider) -> None:
    server.failures.append(429)
    server.retry_after = "0"
    assert text(list(adapter.complete(asked()))) == "You said: hi"
    assert len(server.requests) == 2


def test_a_failure_of_the_server_is_tried_again(adapter: SdkProvider, server: Provider) -> None:
    server.failures.append(500)
    assert text(list(adapter.complete(asked(stream=True)))) == "You said: hi"


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_connection_is_a_failure_of_the_provider(adapter: SdkProvider, server: Provider, stream: bool) -> None:
    server.failures.extend(["cut"] * 9)
    with pytest.raises(ProviderFailed):
        list(adapter.complete(asked(stream=stream)))


def test_a_slow_answer_runs_into_the_time_limit(adapter: SdkProvider, server: Provider) -> None:
    server.go_on.clear()
    server.failures.append("slow")
    with pytest.raises(RunTimedOut):
        list(adapter.complete(asked(timeout=0.2)))


def test_closing_the_answer_closes_the_connection(adapter: SdkProvider, server: Provider) -> None:
    server.pieces, server.failures = ("x" * 4000,) * 2000, server.failures
    chunks = adapter.complete(asked(stream=True))
    next(iter(chunks))
    chunks.close()  # type: ignore[attr-defined]
    assert server.abandoned.wait(10)


def test_a_run_that_is_stopped_wakes_a_read_that_waits(adapter: SdkProvider, server: Provider) -> None:
    server.go_on.clear()
    server.pieces = ("one", "two")
    cancellation = Cancellation()
    chunks = iter(adapter.complete(asked(stream=True, cancellation=cancellation, timeout=60)))
    assert next(chunks).text == "one"
    cancellation.set()
    with pytest.raises(ProviderFailed):
        list(chunks)


def test_an_address_that_the_operator_has_not_allowed_gets_no_key(adapter: SdkProvider, server: Provider) -> None:
    with pytest.raises(ComponentFailed, match="KEYTURN_MODEL_BASE_URLS"):
        list(adapter.complete(asked(base_url="http://evil.example/v1")))
    assert server.requests == []


@pytest.mark.parametrize(
    "name", ["base_url", "model", "messages", "stream", "tools", "extra_headers", "extra_body", "timeout"]
)
def test_a_flows_own_parameters_change_neither_the_way_nor_the_words(
    adapter: SdkProvider, server: Provider, name: str
) -> None:
    list(adapter.complete(asked(options={name: {"model": "other", "Authorization": "x"}})))
    assert server.last.body["model"] == "m"
    assert "Authorization" not in str(server.last.body)


def test_a_flows_own_parameters_are_sent(adapter: SdkProvider, server: Provider) -> None:
    list(adapter.complete(asked(options={"top_p": 0.5})))
    assert server.last.body["top_p"] == 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_read_from_the_environment(kind: str, server: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    for maker in ("OPENAI", "ANTHROPIC", "AZURE_OPENAI"):
        for name in ("API_KEY", "AUTH_TOKEN", "AD_TOKEN", "ORG_ID", "PROJECT_ID"):
            monkeypatch.setenv(f"{maker}_{name}", "from-the-environment")
        monkeypatch.setenv(f"{maker}_BASE_URL", "http://127.0.0.1:9")
        monkeypatch.setenv(f"{maker}_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setenv(f"{maker}_CUSTOM_HEADERS", "X-Odd: from-the-environment")
    monkeypatch.setenv("HTTP_PROXY", "")
    with closing(KINDS[kind](server)) as adapter:
        list(adapter.complete(asked()))
    assert "from-the-environment" not in str(server.last.headers)
    assert KEY in str(server.last.headers)


def test_azure_asks_for_a_deployment_in_the_flows_version(server: Provider) -> None:
    with closing(azure(server)) as adapter:
        list(adapter.complete(asked(model="mine", api_version="2025-01-01")))
    assert server.last.path == "/openai/deployments/mine/chat/completions?api-version=2025-01-01"
    assert server.last.headers["api-key"] == KEY


def test_azure_without_an_endpoint_says_who_can_help() -> None:
    with pytest.raises(ComponentFailed, match="KEYTURN_AZURE_OPENAI_ENDPOINT"):
        list(AzureProvider(endpoint=None, api_version="1").complete(asked()))


def test_a_provider_without_keys_needs_none(server: Provider) -> None:
    with closing(OpenAIProvider(base_url=server.url, needs_key=False)) as adapter:
        assert text(list(adapter.complete(asked(api_key="")))) == "You said: hi"
