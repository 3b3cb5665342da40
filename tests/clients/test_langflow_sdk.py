"""Langflow's own SDK for Python, ``langflow-sdk``, pointed at a server with two workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Place
from tests.clients.environments import python_of, run_client
from tests.support.server import ROOT

SCRIPT = Path(__file__).parent / "langflow_sdk" / "walk.py"


@pytest.fixture(scope="module")
def walk(place: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the SDK got, in one go."""
    place.provider.pieces = ("Good ", "morning")
    place.upload_demo("chat")
    folder = tmp_path_factory.mktemp("sdk")
    flow = ROOT / "service" / "demo" / "echo.json"
    command = [str(python_of("langflow_sdk")), str(SCRIPT), place.url, place.key, str(flow), str(folder)]
    done = run_client(command, folder, THE_KEY=place.key)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_it_makes_changes_and_lists_flows(walk: dict[str, Any]) -> None:
    assert walk["flows"] == {
        "made": ["made", ["a"], True, True],
        "changed": ["changed", "made-by-sdk"],
        "upserts": [["new", True], ["newer", False]],
        "listed": ["made"],
        "headers": [None],
        "gone": "LangflowNotFoundError",
    }


def test_it_takes_projects_to_files_and_back(walk: dict[str, Any]) -> None:
    assert walk["projects"] == {
        "default": "Starter Project",
        "renamed": "Renamed",
        "flows": ["made"],
        "archive": ["made.json"],
        "written": ["made"],
        "pushed": [["made", False]],
        "moved": ["made"],
        "gone": "LangflowNotFoundError",
        "uploaded": ["made"],
    }


def test_it_runs_flows_and_tells_failures_apart(walk: dict[str, Any]) -> None:
    assert walk["runs"] == {
        "pushed": ["Keyturn echo", True, True],
        "text": "You said: Hello",
        "session": True,
        "sender": "Robo",
        "tokens": ["Good ", "morning"],
        "streamed": "Good morning",
        "missing": "LangflowNotFoundError",
        "missing stream": "LangflowNotFoundError",
        "refused": "LangflowValidationError",
        "stranger": "LangflowAuthError",
        "provider": "LangflowHTTPError",
        "away": "LangflowConnectionError",
    }


def test_its_asynchronous_client_runs_and_streams(walk: dict[str, Any]) -> None:
    events = ["add_message", "add_message", "end"]
    assert walk["meanwhile"] == {"text": "You said: Hello", "done": True, "streamed": events}


def test_it_finds_the_server_by_the_name_of_an_environment(walk: dict[str, Any]) -> None:
    assert walk["environment"] == "You said: Hello"
