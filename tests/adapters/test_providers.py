"""What every provider has to do, whichever SDK and protocol is behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from service.adapters.anthropic import AnthropicProvider
from service.adapters.openai import AzureProvider, OpenAIProvider
from service.adapters.providers import providers
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
    return OpenAIProvider(base_url=server.url, **{"backoff": 0.01, **options})


def anthropic(server: Provider, **options: Any) -> SdkProvider:
    return AnthropicProvider(base_url=server.url.removesuffix("/v1"), **{"backoff": 0.01, **options})


def azure(server: Provider, **options: Any) -> SdkProvider:
    endpoint = server.url.removesuffix("/v1")
    return AzureProvider(endpoint=endpoint, api_version="2024-10-21", **{"backoff": 0.01, **options})


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
def test_a_temperature_reaches_the_model(adapter: SdkProvider, server: Provider, stream: bool) -> None:
    assert text(list(adapter.complete(asked(stream=stream, temperature=0.3)))) == "You said: hi"
    assert server.last.body["temperature"] == 0.3


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


@pytest.mark.parametrize(
    "headers", [{"retry-after-ms": "1"}, {"retry-after": "0.001"}, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_provider_may_ask_for_a_quicker_retry(kind: str, server: Provider, headers: dict[str, str]) -> None:
    server.failures.append(429)
    server.headers = headers
    with closing(KINDS[kind](server, backoff=25.0)) as adapter:
        assert text(list(adapter.complete(asked(timeout=20)))) == "You said: hi"


@pytest.mark.parametrize("after", ["3600", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_retry_that_is_too_far_away_is_not_waited_for(adapter: SdkProvider, server: Provider, after: str) -> None:
    server.failures.append(429)
    server.retry_after = after
    with pytest.raises(ProviderFailed, match="429"):
        list(adapter.complete(asked()))
    assert len(server.requests) == 1


@pytest.mark.parametrize("after", ["soon", "-1", "nan", ""])
def test_a_wish_that_cannot_be_read_is_no_wish(adapter: SdkProvider, server: Provider, after: str) -> None:
    server.failures.append(429)
    server.retry_after = after
    assert text(list(adapter.complete(asked()))) == "You said: hi"


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


@pytest.mark.parametrize("stream", [False, True])
def test_signs_of_life_do_not_prolong_the_time_limit(adapter: SdkProvider, server: Provider, stream: bool) -> None:
    server.go_on.clear()
    server.failures.append("drip")
    with pytest.raises(RunTimedOut):
        list(adapter.complete(asked(timeout=0.3, stream=stream)))
    assert server.abandoned.wait(10)


def test_silence_in_the_middle_of_a_stream_runs_into_the_time_limit(adapter: SdkProvider, server: Provider) -> None:
    server.go_on.clear()
    server.pieces = ("one", "two")
    chunks = adapter.complete(asked(timeout=0.3, stream=True))
    assert next(iter(chunks)).text == "one"
    with pytest.raises(RunTimedOut):
        list(chunks)


def test_an_error_in_the_middle_of_a_stream_is_told_without_the_key(adapter: SdkProvider, server: Provider) -> None:
    server.failures.append("error")
    server.reason = f"Overloaded, says {KEY}."
    with pytest.raises(ProviderFailed, match=r"failed: Overloaded, says \[removed\]") as caught:
        list(adapter.complete(asked(stream=True)))
    assert KEY not in str(caught.value)


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


@pytest.fixture
def stopped(server: Provider) -> Iterator[Cancellation]:
    """Somebody who stops the run as soon as its request has arrived."""
    cancellation = Cancellation()

    def stop() -> None:
        server.arrived.wait(30)
        cancellation.set()

    thread = threading.Thread(target=stop)
    thread.start()
    yield cancellation
    server.arrived.set()
    thread.join()


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_that_is_stopped_does_not_wait_for_an_answer(
    adapter: SdkProvider, server: Provider, stopped: Cancellation, stream: bool
) -> None:
    server.go_on.clear()
    server.failures.append("slow")
    with pytest.raises(ProviderFailed, match="given up"):
        list(adapter.complete(asked(stream=stream, cancellation=stopped, timeout=60)))
    assert len(server.requests) == 1


def test_a_run_that_is_stopped_does_not_wait_for_a_retry(
    adapter: SdkProvider, server: Provider, stopped: Cancellation
) -> None:
    server.failures.append(429)
    server.retry_after = "29"
    begun = time.monotonic()
    with pytest.raises(ProviderFailed):
        list(adapter.complete(asked(cancellation=stopped, timeout=60)))
    assert time.monotonic() - begun < 15


def test_a_run_that_is_stopped_late_leaves_the_connection_of_another_alone(
    adapter: SdkProvider, server: Provider
) -> None:
    cancellation = Cancellation()
    first = iter(adapter.complete(asked(cancellation=cancellation)))
    next(first)  # has given its connection back, and is not at its end
    server.go_on.clear()
    second = iter(adapter.complete(asked("there", stream=True)))
    begun = next(second)
    cancellation.set()
    server.go_on.set()
    assert text([begun, *second]) == "You said: there"


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


@pytest.mark.parametrize("version", [None, "2025-01-01"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_read_from_the_environment(
    kind: str, version: str | None, server: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_VERSION", "from-the-environment")
    for maker in ("OPENAI", "ANTHROPIC", "AZURE_OPENAI"):
        for name in ("API_KEY", "AUTH_TOKEN", "AD_TOKEN", "ORG_ID", "PROJECT_ID"):
            monkeypatch.setenv(f"{maker}_{name}", "from-the-environment")
        monkeypatch.setenv(f"{maker}_BASE_URL", "http://127.0.0.1:9")
        monkeypatch.setenv(f"{maker}_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setenv(f"{maker}_CUSTOM_HEADERS", "X-Odd: from-the-environment")
    with closing(KINDS[kind](server)) as adapter:
        list(adapter.complete(asked(api_version=version)))
    assert "from-the-environment" not in str(server.last)
    assert KEY in str(server.last.headers)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_of_the_environment_gets_no_key(
    kind: str, name: str, server: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for unset in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(unset, raising=False)
    with serving() as proxy:
        monkeypatch.setenv(name, proxy.url)
        with closing(KINDS[kind](server)) as adapter:
            list(adapter.complete(asked()))
    assert (len(server.requests), len(proxy.requests)) == (1, 0)


def test_a_redirect_gets_no_key(adapter: SdkProvider, server: Provider) -> None:
    with serving() as other:
        server.failures.append(307)
        server.headers = {"location": f"{other.url}/chat/completions"}
        with pytest.raises(ProviderFailed, match="307"):
            list(adapter.complete(asked()))
    assert other.requests == []


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


def piece(index: int, name: str | None, arguments: str, id: str | None) -> dict[str, Any]:
    return {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    "pieces",
    [
        (piece(0, "add", '{"a"', "x"), piece(1, "sub", "{}", "y"), piece(0, None, ": 1}", None)),
        (piece(0, "add", '{"a": 1}', "x"), piece(0, "sub", "{}", "y")),
        (piece(0, "add", '{"a": 1}', "x"), piece(0, "sub", "", "y"), piece(0, None, "{}", "y")),
    ],
    ids=["in turns", "all with one index", "all with one index, in pieces"],
)
def test_two_tool_calls_of_a_stream_stay_two(server: Provider, pieces: tuple[dict[str, Any], ...]) -> None:
    server.call_pieces = pieces
    with closing(openai(server)) as adapter:
        found = calls(list(adapter.complete(asked(tools=(TOOL,), stream=True))))
    assert found == [ToolCall("x", "add", '{"a": 1}'), ToolCall("y", "sub", "{}")]


def test_a_tool_call_without_arguments_does_not_swallow_the_next_one(server: Provider) -> None:
    server.call_pieces = (piece(0, "add", "", "x"), piece(0, "sub", "{}", "y"))
    with closing(openai(server)) as adapter:
        found = calls(list(adapter.complete(asked(tools=(TOOL,), stream=True))))
    assert found == [ToolCall("x", "add", ""), ToolCall("y", "sub", "{}")]


def test_tool_calls_without_ids_get_some(server: Provider) -> None:
    server.call_pieces = (piece(0, "add", "{}", ""), piece(0, "add", "{}", None))
    with closing(openai(server)) as adapter:
        found = calls(list(adapter.complete(asked(tools=(TOOL,), stream=True))))
    assert found == [ToolCall("call_1", "add", "{}"), ToolCall("call_2", "add", "{}")]


@pytest.mark.parametrize("stream", [False, True])
def test_what_anthropics_cache_gave_counts_as_read(server: Provider, stream: bool) -> None:
    server.cached = 100
    with closing(anthropic(server)) as adapter:
        assert usage(list(adapter.complete(asked(stream=stream)))) == [TokenUsage(107, 5, 112)]


def test_anthropic_gets_no_turn_that_says_nothing(server: Provider) -> None:
    turns = (ChatMessage("user", "hi"), ChatMessage("assistant", ""), ChatMessage("user", "again"))
    with closing(anthropic(server)) as adapter:
        list(adapter.complete(asked(messages=turns)))
    said = [{"type": "text", "text": "hi"}, {"type": "text", "text": "again"}]
    assert server.last.body["messages"] == [{"role": "user", "content": said}]


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_ollama_is_found_with_and_without_its_v1(server: Provider, path: str) -> None:
    table = providers(ollama_base_url=server.url.removesuffix("/v1") + path)
    ollama = table.get("Ollama")
    assert ollama is not None
    list(ollama.complete(asked(api_key="")))
    table.close()
    assert server.last.path == "/v1/chat/completions"
