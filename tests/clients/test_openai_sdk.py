"""OpenAI's own SDKs, told nothing but Keyturn's address and a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Place
from tests.clients.environments import node_folder_of, python_of, run_client
from tests.support import flows

TALK = Path(__file__).parent / "openai_sdk" / "talk.py"
MODEL = "with-an-agent"
BASES = ("/v1", "/api/v1")


def talk(command: list[str], folder: Path) -> Any:
    done = run_client(command, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def furnished(place: Place) -> Place:
    body = {"name": "With an agent", "endpoint_name": MODEL, "data": flows.agent_with_calculator()}
    place.call("POST", "/flows/", json=body)
    return place


@pytest.fixture(scope="module", params=BASES)
def told(request: pytest.FixtureRequest, furnished: Place) -> Any:
    """What the Python SDK saw, on either base URL."""
    limit = {"requests": 1, "window_seconds": 3600}
    once = furnished.call("POST", "/api_key/", json={"name": "once", "rate_limit": limit})["api_key"]
    command = [str(python_of("openai_sdk")), str(TALK), furnished.url + request.param, furnished.key, once, MODEL]
    asked = len(furnished.provider.requests)
    return talk(command, furnished.folder) | {"asked": [seen.body for seen in furnished.provider.requests[asked:]]}


def test_flows_are_models(told: Any) -> None:
    assert (told["models"], told["model"]) == ([MODEL], MODEL)


def test_a_flow_answers_and_goes_on_with_its_conversation(told: Any) -> None:
    assert told["plain"] == ["You said: I am Ada.", 12, "You said: Who am I?", True]
    second = told["asked"][1]["messages"]
    assert [turn["content"] for turn in second[1:]] == ["I am Ada.", "You said: I am Ada.", "Who am I?"]


def test_a_stream_is_read_event_by_event(told: Any) -> None:
    assert told["raw stream"] == ["response.created", "You said: Hello", "response.completed"]


def test_the_sdks_own_helper_puts_a_stream_together(told: Any) -> None:
    assert told["helper"] == [True, ["function_call", "message"], 'Tool said: {"result": "42"}']


def test_results_of_tools_are_read(told: Any) -> None:
    assert told["results"] == ["tool_call", {"result": "42"}, 'Tool said: {"result": "42"}']


def test_a_chat_is_completed_plain_and_streamed(told: Any) -> None:
    assert (told["chat"], told["chat stream"]) == (["You said: Hello", 12], ["You said: Hello", 12])


def test_a_stream_says_that_it_has_failed(told: Any) -> None:
    assert told["failed stream"] == ["response.failed", "server_error"]


def test_the_sdk_raises_its_proper_classes(told: Any) -> None:
    assert told["failures"] == {
        "no such model": ["NotFoundError", 404, "model_not_found"],
        "no such model to chat with": ["NotFoundError", 404, "model_not_found"],
        "no such model to look at": ["NotFoundError", 404, "model_not_found"],
        "a bad key": ["PermissionDeniedError", 403, "invalid_api_key"],
        "a bad key to list": ["PermissionDeniedError", 403, "invalid_api_key"],
        "a used up key": ["RateLimitError", 429, "rate_limit_exceeded"],
        "tools": ["BadRequestError", 400, "tools_not_supported"],
        "an image": ["BadRequestError", 400, "unsupported_content"],
        "a failed run": ["InternalServerError", 502, "provider_failed"],
        "a failed chat": ["APIError", None, "server_error"],
    }


def test_the_sdk_does_not_run_a_flow_again_that_has_failed(told: Any) -> None:
    # One in the stream, one plain with two retries allowed, one as a chat.
    assert [body["messages"][-1]["content"] for body in told["asked"]].count("!401") == 3


def test_the_sdk_for_node_reads_answers_streams_and_errors(furnished: Place) -> None:
    folder = node_folder_of("openai_node")
    assert talk(["node", "talk.mjs", f"{furnished.url}/v1", furnished.key, MODEL], folder) == {
        "plain": ["You said: Hello", 12],
        "stream": ["response.created", "You said: Hello", "response.completed"],
        "helper": "You said: Hello",
        "chat": "You said: Hello",
        "chatted": "You said: Hello",
        "models": [MODEL],
        "failure": ["NotFoundError", 404, "model_not_found"],
    }
