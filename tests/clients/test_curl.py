"""curl, as Langflow's documents show it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.clients.conftest import Place
from tests.clients.environments import run_client

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(place: Place, *arguments: str) -> str:
    done = run_client(["curl", "--silent", "--show-error", "--fail-with-body", *arguments], Path.cwd())
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_curl_runs_a_flow_by_its_endpoint_name(place: Place) -> None:
    place.upload_demo("echo", name="By curl", endpoint_name="by-curl")
    answer = curl(
        place, "-X", "POST", f"{place.url}/api/v1/run/by-curl?stream=false", "-H", f"x-api-key: {place.key}",
        "-H", "Content-Type: application/json", "-d", '{"input_value": "Hello"}',
    )  # fmt: skip
    assert json.loads(answer)["outputs"][0]["outputs"][0]["results"]["message"]["text"] == "You said: Hello"
