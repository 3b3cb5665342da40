from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from service.adapters import connections
from service.adapters.connections import Exchange
from service.adapters.names import resolved_in_time
from service.adapters.openai import OpenAIProvider
from service.domain.errors import ProviderFailed, RunTimedOut
from service.domain.ports import ChatMessage, ModelRequest
from tests.support.provider import Provider, serving

REQUEST = ModelRequest("m", (ChatMessage("user", "hi"),), "sk-canary-0123456789", max_retries=0)


@pytest.fixture
def server() -> Iterator[Provider]:
    with serving() as provider:
        yield provider


@pytest.fixture
def adapter(server: Provider) -> Iterator[OpenAIProvider]:
    made = OpenAIProvider(base_url=server.url)
    yield made
    made.close()


@pytest.mark.parametrize(("wanted", "most"), [(60.0, 5.0), (None, 5.0), (1.0, 1.0)])
def test_no_step_gets_more_time_than_the_exchange_has_left(wanted: float | None, most: float) -> None:
    assert 0 < Exchange(5.0).limit(wanted, TimeoutError, OSError) <= most


def test_no_step_begins_after_the_deadline() -> None:
    with pytest.raises(TimeoutError):
        Exchange(0.0).limit(60.0, TimeoutError, ValueError)


def test_no_step_begins_after_a_stop() -> None:
    exchange = Exchange(60.0)
    exchange.stop()
    with pytest.raises(ValueError, match="stopped"):
        exchange.limit(60.0, TimeoutError, ValueError)


def test_a_pause_ends_with_a_stop() -> None:
    exchange = Exchange(60.0)
    exchange.stop()
    begun = time.monotonic()
    exchange.pause(20.0)
    assert time.monotonic() - begun < 10


def test_a_host_is_tried_at_its_next_address(
    adapter: OpenAIProvider, server: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "resolved_in_time", lambda *_: ["127.0.0.2", "127.0.0.1"])
    list(adapter.complete(REQUEST))
    assert len(server.requests) == 1


def test_a_host_that_nobody_knows_is_a_failure_of_the_provider(
    adapter: OpenAIProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "resolved_in_time", lambda *_: [])
    with pytest.raises(ProviderFailed, match="not be reached"):
        list(adapter.complete(REQUEST))


def test_a_name_server_that_is_silent_runs_into_the_time_limit(
    adapter: OpenAIProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> list[str]:
        raise TimeoutError

    monkeypatch.setattr(connections, "resolved_in_time", silent)
    with pytest.raises(RunTimedOut):
        list(adapter.complete(REQUEST))


def test_connections_are_used_again(adapter: OpenAIProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(connections, "resolved_in_time", lambda *host: asked.append(host) or ["127.0.0.1"])
    for _ in range(3):
        list(adapter.complete(REQUEST))
    assert len(asked) == 1


def test_an_answer_that_is_compressed_is_not_unpacked(adapter: OpenAIProvider, server: Provider) -> None:
    server.headers["content-encoding"] = "gzip"
    with pytest.raises(ProviderFailed):
        list(adapter.complete(REQUEST))
    assert server.last.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_without_an_end_is_given_up(
    adapter: OpenAIProvider, server: Provider, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    server.pieces = ("x" * 1000,) * 10
    assert list(adapter.complete(replace(REQUEST, stream=stream)))
    monkeypatch.setattr(connections, "_MOST_BYTES", 5000)
    with pytest.raises(ProviderFailed):
        list(adapter.complete(replace(REQUEST, stream=stream)))


def test_a_name_is_asked_for_no_longer_than_allowed() -> None:
    over = threading.Event()

    def slow(host: str, port: int) -> list[str]:
        over.wait(30)
        return []

    with pytest.raises(TimeoutError):
        resolved_in_time("slow.example", 80, 0.05, slow)
    over.set()


def test_an_address_that_is_given_twice_is_used_once() -> None:
    assert resolved_in_time("a.example", 80, 5, lambda *_: ["1.2.3.4", "1.2.3.4", "::1"]) == ["1.2.3.4", "::1"]


def test_an_unknown_name_has_no_addresses() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("unknown")

    assert resolved_in_time("no.example", 80, 5, unknown) == []
