"""curl, as Langflow's documents show it."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import PASSWORD, USERNAME, Place
from tests.clients.environments import run_client
from tests.support.server import ROOT

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(place: Place, *arguments: str, status: int = 0) -> str:
    done = run_client(["curl", "--silent", "--show-error", "--fail-with-body", *arguments], Path.cwd())
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


KEY_BODY = '{"name": "of curl"}'
JSON = ("-H", "Content-Type: application/json")


def test_curl_runs_a_flow_by_its_endpoint_name(place: Place) -> None:
    place.upload_demo("echo", name="By curl", endpoint_name="by-curl")
    answer = curl(
        place, "-X", "POST", f"{place.url}/api/v1/run/by-curl?stream=false", "-H", f"x-api-key: {place.key}",
        "-H", "Content-Type: application/json", "-d", '{"input_value": "Hello"}',
    )  # fmt: skip
    assert json.loads(answer)["outputs"][0]["outputs"][0]["results"]["message"]["text"] == "You said: Hello"


def test_curl_streams_a_flow(place: Place) -> None:
    place.provider.pieces = ("Good ", "morning")
    flow = place.upload_demo("chat", name="Streamed to curl", endpoint_name=None)
    answer = curl(
        place, "--no-buffer", "-X", "POST", f"{place.url}/api/v1/run/{flow['id']}?stream=true", *JSON,
        "-H", f"x-api-key: {place.key}", "-d", '{"input_value": "Hi", "session_id": "of curl"}',
    )  # fmt: skip
    events = [json.loads(line) for line in answer.splitlines() if line]
    assert [one["data"]["chunk"] for one in events if one["event"] == "token"] == ["Good ", "morning"]
    assert events[-1]["data"]["result"]["session_id"] == "of curl"


def test_curl_sends_tweaks_and_a_global_variable_in_a_header(place: Place) -> None:
    place.call("POST", "/flows/", json=flow_with_a_variable())
    answer = curl(
        place, "-X", "POST", f"{place.url}/api/v1/run/of-curl", *JSON, "-H", f"x-api-key: {place.key}",
        # In a session, whose messages are written before the answer: the other worker may be asked for them.
        "-H", "X-LANGFLOW-GLOBAL-VAR-SENDER: Robo", "-d", '{"input_value": "Hi", "session_id": "of curl", "tweaks": '
        '{"Chat Input": {"sender_name": "Somebody"}}}',
    )  # fmt: skip
    assert json.loads(answer)["outputs"][0]["outputs"][0]["results"]["message"]["sender_name"] == "Robo"
    said = place.call("GET", "/monitor/messages", params={"sender": "User", "session_id": "of curl"})
    assert said[-1]["sender_name"] == "Somebody"


def test_curl_makes_lists_and_deletes_a_key(place: Place) -> None:
    keys = f"{place.url}/api/v1/api_key/"
    made = json.loads(curl(place, "-X", "POST", keys, *JSON, "-H", f"x-api-key: {place.key}", "-d", KEY_BODY))
    with_it = ("-H", f"x-api-key: {made['api_key']}")
    shown = next(one for one in json.loads(curl(place, keys, *with_it))["api_keys"] if one["id"] == made["id"])
    assert (shown["name"], shown["api_key"][:8]) == ("of curl", made["api_key"][:8])
    assert json.loads(curl(place, "-X", "DELETE", f"{keys}{made['id']}", *with_it)) == {"detail": "API Key deleted"}
    assert "Invalid API key" in curl(place, keys, *with_it, status=22)


def test_curl_signs_in_and_asks_who_it_is(place: Place) -> None:
    form = ("-d", f"username={USERNAME}", "-d", f"password={PASSWORD}")
    tokens = json.loads(curl(place, "-X", "POST", f"{place.url}/api/v1/login", *form))
    bearer = ("-H", f"Authorization: Bearer {tokens['access_token']}")
    assert json.loads(curl(place, f"{place.url}/api/v1/users/whoami", *bearer))["username"] == USERNAME


def test_curl_makes_changes_and_deletes_a_variable(place: Place) -> None:
    path, key = f"{place.url}/api/v1/variables/", ("-H", f"x-api-key: {place.key}")
    body = {"name": "OF_CURL", "value": "plain", "type": "Generic", "default_fields": ["Sender"]}
    made = json.loads(curl(place, "-X", "POST", path, *JSON, *key, "-d", json.dumps(body)))
    change = json.dumps({"id": made["id"], "value": "changed"})
    changed = json.loads(curl(place, "-X", "PATCH", f"{path}{made['id']}", *JSON, *key, "-d", change))
    assert (made["value"], changed["value"], changed["default_fields"]) == ("plain", "changed", ["Sender"])
    assert curl(place, "-X", "DELETE", f"{path}{made['id']}", *key) == ""
    assert "OF_CURL" not in curl(place, path, *key)


def test_curl_uploads_a_flow_and_downloads_its_project(place: Place, tmp_path: Path) -> None:
    key, flow = ("-H", f"x-api-key: {place.key}"), tmp_path / "flow.json"
    flow.write_text(json.dumps(flow_with_a_variable() | {"name": "Uploaded by curl", "endpoint_name": None}))
    project = json.loads(
        curl(place, "-X", "POST", f"{place.url}/api/v1/projects/", *JSON, *key, "-d", '{"name": "Of curl"}')
    )
    query = f"?folder_id={project['id']}"
    curl(place, "-X", "POST", f"{place.url}/api/v1/flows/upload/{query}", *key, "-F", f"file=@{flow}")
    archive = tmp_path / "project.zip"
    curl(place, "-o", str(archive), f"{place.url}/api/v1/projects/download/{project['id']}", *key)
    assert zipfile.ZipFile(archive).namelist() == ["Uploaded by curl.json"]


def flow_with_a_variable() -> dict[str, Any]:
    """The demo flow "echo", whose answer is signed with the global variable SENDER."""
    flow: dict[str, Any] = json.loads((ROOT / "service" / "demo" / "echo.json").read_text())
    out = next(one for one in flow["data"]["nodes"] if one["data"]["type"] == "ChatOutput")
    out["data"]["node"]["template"]["sender_name"] |= {"value": "SENDER", "load_from_db": True}
    return flow | {"name": "Of curl", "endpoint_name": "of-curl"}
