from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from service.adapters.openai import OpenAIProvider
from service.adapters.providers import providers
from service.adapters.sdk import origin, redacted
from service.domain.errors import ComponentFailed, ProviderFailed, RunTimedOut
from service.domain.ports import ChatMessage, ModelChunk, ModelRequest, TokenUsage
from tests.support.provider import Provider, serving

KEY = "sk-canary-0123456789abcdef"
Make = Callable[..., OpenAIProvider]


@pytest.fixture
def server() -> Iterator[Provider]:
    with serving() as provider:
        yield provider


@pytest.fixture
def adapter(make: Make, server: Provider) -> OpenAIProvider:
    return make(base_url=server.url, backoff=0)


@pytest.fixture
def make() -> Iterator[Make]:
    with ExitStack() as stack:

        def made(**options: Any) -> OpenAIProvider:
            return stack.enter_context(closing(OpenAIProvider(**options)))

        yield made


def request(text: str = "hi", **more: Any) -> ModelRequest:
    more.setdefault("api_key", KEY)
    more.setdefault("max_retries", 0)
    return ModelRequest("gpt-4o-mini", (ChatMessage("system", "Be brief."), ChatMessage("user", text)), **more)


def answer(adapter: OpenAIProvider, asked: ModelRequest) -> list[ModelChunk]:
    return list(adapter.complete(asked))


def text(chunks: list[ModelChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_an_answer_comes_as_one_chunk_with_its_usage(adapter: OpenAIProvider) -> None:
    assert answer(adapter, request()) == [ModelChunk("You said: hi", TokenUsage(7, 5, 12))]


def test_a_stream_comes_piece_by_piece_and_ends_with_the_usage(adapter: OpenAIProvider, server: Provider) -> None:
    server.pieces = ("one ", "two ", "three")
    chunks = answer(adapter, request(stream=True))
    assert [chunk.text for chunk in chunks] == ["one ", "two ", "three", ""]
    assert chunks[-1].usage == TokenUsage(7, 5, 12)


def test_the_request_carries_what_the_component_asked_for(adapter: OpenAIProvider, server: Provider) -> None:
    answer(adapter, request(temperature=0.5, max_tokens=9, seed=3, json_mode=True))
    body = server.last.body
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.5, 9, 3)
    assert body["response_format"] == {"type": "json_object"}


def test_what_was_not_asked_for_is_not_sent(adapter: OpenAIProvider, server: Provider) -> None:
    answer(adapter, request())
    assert set(server.last.body) == {"model", "messages"}


def test_reasoning_models_get_the_newer_name_of_the_token_limit(adapter: OpenAIProvider, server: Provider) -> None:
    asked = ModelRequest("o3-mini", (ChatMessage("user", "hi"),), KEY, max_tokens=9)
    answer(adapter, asked)
    assert server.last.body["max_completion_tokens"] == 9
    assert "max_tokens" not in server.last.body


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_key_is_told_without_the_key(adapter: OpenAIProvider, server: Provider, stream: bool) -> None:
    server.failures.append(401)
    server.reason = f"Incorrect API key provided: {KEY}, also sk-proj-abc***xyz."
    with pytest.raises(ProviderFailed) as caught:
        answer(adapter, request(stream=stream))
    assert "401" in str(caught.value)
    assert "Incorrect API key provided: [removed], also [removed]" in str(caught.value)
    assert "canary" not in repr(caught.value)


def test_a_failure_brings_no_chain_of_causes_that_a_log_could_print(
    adapter: OpenAIProvider, server: Provider
) -> None:
    server.failures.append(500)
    with pytest.raises(ProviderFailed) as caught:
        answer(adapter, request())
    assert caught.value.__suppress_context__


def test_a_rate_limit_is_tried_again_when_the_provider_says(adapter: OpenAIProvider, server: Provider) -> None:
    server.failures.extend([429, 429])
    server.retry_after = "0"
    assert text(answer(adapter, request(max_retries=2))) == "You said: hi"
    assert len(server.requests) == 3


def test_a_rate_limit_that_lasts_longer_than_the_run_is_not_waited_for(
    adapter: OpenAIProvider, server: Provider
) -> None:
    server.failures.append(429)
    server.retry_after = "20"
    with pytest.raises(ProviderFailed, match="429"):
        answer(adapter, request(max_retries=2, timeout=5))
    assert len(server.requests) == 1


def test_retries_are_bounded_whatever_the_flow_asks_for(make: Make, server: Provider) -> None:
    server.failures.extend([500] * 20)
    server.retry_after = "0"
    adapter = make(base_url=server.url, max_retries=2)
    with pytest.raises(ProviderFailed, match="500"):
        answer(adapter, request(max_retries=1000))
    assert len(server.requests) == 3


def test_a_bad_request_is_not_repeated(adapter: OpenAIProvider, server: Provider) -> None:
    server.failures.extend([400, 400])
    with pytest.raises(ProviderFailed, match=r"400: The provider says no\."):
        answer(adapter, request(max_retries=3))
    assert len(server.requests) == 1


def test_a_cut_connection_is_a_failure_of_the_provider(adapter: OpenAIProvider, server: Provider) -> None:
    server.failures.append("cut")
    with pytest.raises(ProviderFailed, match="cut the connection"):
        answer(adapter, request())


def test_a_stream_that_ends_early_is_not_taken_for_an_answer(adapter: OpenAIProvider, server: Provider) -> None:
    server.failures.append("cut")
    chunks = adapter.complete(request(stream=True))
    assert next(chunks).text == "You said: "
    with pytest.raises(ProviderFailed, match="cut the connection"):
        next(chunks)


def test_a_cut_connection_is_tried_again_where_retries_are_left(adapter: OpenAIProvider, server: Provider) -> None:
    server.failures.append("cut")
    assert text(answer(adapter, request(max_retries=1))) == "You said: hi"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_no_completion_is_a_failure_of_the_provider(
    adapter: OpenAIProvider, server: Provider, stream: bool
) -> None:
    server.failures.append("garbage")
    with pytest.raises(ProviderFailed):
        answer(adapter, request(stream=stream))


def test_an_error_in_the_middle_of_a_stream_is_told_without_the_key(
    adapter: OpenAIProvider, server: Provider
) -> None:
    server.failures.append("error")
    server.reason = f"overloaded {KEY}"
    with pytest.raises(ProviderFailed, match=r"overloaded \[removed\]"):
        answer(adapter, request(stream=True))


def test_connections_that_are_in_use_outlive_the_end_of_the_pool(adapter: OpenAIProvider, server: Provider) -> None:
    chunks = adapter.complete(request(stream=True))
    first = next(chunks)
    adapter.close()
    assert text([first, *chunks]) == "You said: hi"


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_answer_runs_into_the_time_limit(adapter: OpenAIProvider, server: Provider, stream: bool) -> None:
    server.go_on.clear()
    server.failures.append("slow")
    with pytest.raises(RunTimedOut):
        answer(adapter, request(timeout=0.2, stream=stream, max_retries=3))
    assert len(server.requests) == 1


def test_the_operators_time_limit_holds_against_the_flows(make: Make, server: Provider) -> None:
    server.go_on.clear()
    server.failures.append("slow")
    adapter = make(base_url=server.url, timeout=0.2)
    with pytest.raises(RunTimedOut):
        answer(adapter, request(timeout=700))


def test_a_server_that_is_not_there_is_a_failure_of_the_provider() -> None:
    with serving() as gone:
        url = gone.url
    with closing(OpenAIProvider(base_url=url)) as adapter, pytest.raises(ProviderFailed, match="not be reached"):
        answer(adapter, request())


def test_closing_the_answer_closes_the_connection(adapter: OpenAIProvider, server: Provider) -> None:
    server.go_on.clear()
    server.pieces = ("first", *("x" * 100_000 for _ in range(200)))
    chunks = adapter.complete(request(stream=True))
    assert next(chunks).text == "first"
    chunks.close()  # type: ignore[attr-defined]
    server.go_on.set()
    assert server.abandoned.wait(10)


def test_an_address_of_the_flow_is_refused_unless_the_operator_allows_it(make: Make, server: Provider) -> None:
    adapter = make()
    with pytest.raises(ComponentFailed, match="KEYTURN_MODEL_BASE_URLS"):
        adapter.complete(request(base_url=server.url))
    assert server.requests == []


def test_an_address_that_the_operator_allows_is_used(make: Make, server: Provider) -> None:
    adapter = make(allowed_base_urls=[server.url])
    assert text(answer(adapter, request(base_url=server.url))) == "You said: hi"


@pytest.mark.parametrize(
    "spelling",
    [
        "http://allowed.example@evil.example/v1",
        "http://allowed.example:81/v1",
        "https://allowed.example/v1",
        "http://allowed.example.evil.example/v1",
        "http://evil.example\\@allowed.example/v1",
        "http://evil.example/allowed.example",
        "http://allowed.example\t.evil.example/v1",
        "//allowed.example/v1",
        "allowed.example",
        "file:///etc/passwd",
        "http://[::1",
        "",
    ],
)
def test_no_spelling_leads_around_the_list_of_addresses(spelling: str) -> None:
    adapter = OpenAIProvider(allowed_base_urls=["http://allowed.example/v1"])
    with pytest.raises(ComponentFailed):
        adapter.complete(request(base_url=spelling))


def test_addresses_are_compared_by_scheme_host_and_port() -> None:
    assert (
        origin("https://API.example/v1") == origin("https://api.example:443/other") == ("https", "api.example", 443)
    )


def test_nothing_is_read_from_the_environment(
    adapter: OpenAIProvider, server: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET"):
        monkeypatch.setenv(f"OPENAI_{name}", "from-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Odd: from-the-environment\nAuthorization: from-the-environment")
    answer(adapter, request())
    assert server.last.headers["authorization"] == f"Bearer {KEY}"
    assert "from-the-environment" not in str(server.last.headers)


def test_two_credentials_never_share_a_connection_pool(adapter: OpenAIProvider, server: Provider) -> None:
    for key in (KEY, "sk-other-0123456789", KEY):
        answer(adapter, request(api_key=key))
    sent = [seen.headers["authorization"] for seen in server.requests]
    assert sent == [f"Bearer {KEY}", "Bearer sk-other-0123456789", f"Bearer {KEY}"]
    assert len(adapter._pools) == 2


def test_no_more_pools_are_kept_than_allowed(make: Make, server: Provider) -> None:
    adapter = make(base_url=server.url, max_clients=2)
    for at in range(4):
        answer(adapter, request(api_key=f"sk-number-{at}"))
    assert len(adapter._pools) == 2


def test_a_request_without_a_key_is_not_sent(adapter: OpenAIProvider, server: Provider) -> None:
    with pytest.raises(ComponentFailed, match="no API key"):
        adapter.complete(request(api_key=" "))
    assert server.requests == []


def test_a_key_that_fits_no_header_is_not_shown(adapter: OpenAIProvider) -> None:
    with pytest.raises(ProviderFailed) as caught:
        answer(adapter, request(api_key="canary\nX-Evil: 1"))
    assert "canary" not in str(caught.value)


def test_texts_that_look_like_keys_are_removed() -> None:
    assert redacted("use sk-abc123DEF or Bearer abc.def-ghi", "") == "use [removed] or [removed]"
    assert redacted("use gsk_abc123DEF or AIzaSyAbc123", "") == "use [removed] or [removed]"


def test_a_masked_key_is_removed_with_all_that_touches_it() -> None:
    assert redacted("key 'sk-ab,cd***ef' and Bearer gh,ij***kl.", "") == "key [removed] and Bearer [removed]"


def test_a_long_message_of_a_provider_costs_no_more_than_reading_it() -> None:
    start = time.process_time()
    redacted("a" * 60_000, "")
    redacted("*a" * 30_000, "")
    redacted("sk-" * 20_000, "")
    assert time.process_time() - start < 1


@pytest.mark.parametrize("end", range(1_950, 2_010))
def test_no_secret_survives_where_a_long_message_is_cut(end: int) -> None:
    filler = "*** " * (end // 4) + " " * (end % 4)
    for secret in ("abcdefgh***********", "sk-abcdefgh", "own-key-abcdefgh"):
        assert "abcd" not in redacted(f"{filler}{secret} and more " + "x" * 100, "own-key-abcdefgh")


def test_no_sdk_is_imported_before_it_is_needed() -> None:
    code = "import sys, service.app; print({'openai', 'anthropic', 'httpx', 'httpx2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_providers_are_found_by_langflows_names(server: Provider) -> None:
    table = providers(openai_base_url=server.url)
    names = ("OpenAI", "Anthropic", "Google", "Google Generative AI", "Groq", "Ollama", "Azure OpenAI")
    assert [name for name in names if table.get(name) is None] == []
    assert table.get("Nobody") is None
    found = table.get("OpenAI")
    assert found is not None
    assert text(list(found.complete(request()))) == "You said: hi"
    table.close()
