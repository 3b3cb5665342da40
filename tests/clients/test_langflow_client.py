"""Langflow's own client for JavaScript, ``@datastax/langflow-client``, pointed at a server with two workers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.conftest import Place
from tests.clients.environments import node_folder_of, run_client


@pytest.fixture(scope="module")
def flows(place: Place) -> tuple[str, str]:
    """The ids of the demo flows "echo" and "chat"."""
    place.provider.pieces = ("Good ", "morning")
    return tuple(str(place.upload_demo(name, name=name, endpoint_name=None)["id"]) for name in ("echo", "chat"))


@pytest.fixture(scope="module")
def talk(place: Place, flows: tuple[str, str]) -> dict[str, Any]:
    """What the client got, in one go."""
    command = ["node", "talk.mjs", place.url, place.key, *flows]
    done = run_client(command, node_folder_of("langflow_client"))
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_it_runs_a_flow_and_finds_the_text(talk: dict[str, Any]) -> None:
    assert talk["plain"] == "You said: Hello"


def test_it_runs_a_flow_in_a_session(talk: dict[str, Any], place: Place) -> None:
    said = place.call("GET", "/monitor/messages", params={"session_id": "mine"})
    assert (talk["session"], [one["text"] for one in said]) == ("mine", ["Hello", "You said: Hello"])


def test_its_tweaks_reach_the_flow(talk: dict[str, Any]) -> None:
    assert talk["senders"] == ["Robo", "Else"]


def test_it_streams_token_by_token(talk: dict[str, Any]) -> None:
    events = ["add_message", "add_message", "token", "token", "add_message", "end"]
    assert talk["streamed"] == {"events": events, "tokens": ["Good ", "morning"], "session": "streamed"}


def test_it_streams_a_flow_without_a_model(talk: dict[str, Any]) -> None:
    assert talk["streamedWithoutModel"]["events"] == ["add_message", "add_message", "end"]


def test_it_uploads_an_image_that_the_model_then_gets(talk: dict[str, Any], flows: tuple[str, str],
                                                      place: Place) -> None:  # fmt: skip
    assert (talk["image"]["flowId"], talk["seen"]) == (flows[1], "Good morning")
    asked = next(one.body for one in place.provider.requests if "What is it?" in json.dumps(one.body))
    assert "data:image/png;base64," in json.dumps(asked)


def test_it_uploads_and_lists_files_of_the_user(talk: dict[str, Any]) -> None:
    assert talk["file"] == ["notes", len("content")]
    assert talk["files"] == [["notes", True, True]]


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("refusedTweak", "LangflowError: 422 - UNPROCESSABLE ENTITY"),
        ("missing", "LangflowError: 404 - NOT FOUND"),
        ("missingStream", "LangflowError: 404 - NOT FOUND"),
        ("badKey", "LangflowError: 403 - FORBIDDEN"),
        ("provider", "LangflowError: 502 - BAD GATEWAY"),
        ("aborted", "AbortError: This operation was aborted"),
    ],
)
def test_it_says_what_went_wrong(talk: dict[str, Any], case: str, told: str) -> None:
    assert talk[case] == told


def test_the_logs_of_the_server_are_nobodys_to_read(talk: dict[str, Any]) -> None:
    assert talk["logs"] == "LangflowError: 404 - NOT FOUND"
