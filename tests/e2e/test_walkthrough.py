"""Langflow's own "API keys" page, command by command, against a real server with two workers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.support.server import ROOT, Process, free_port, run, running
from tests.support.waiting import wait_until_it_answers

ENV_FILE = """LANGFLOW_AUTO_LOGIN=False
LANGFLOW_SUPERUSER=administrator
LANGFLOW_SUPERUSER_PASSWORD=securepassword
OPENAI_API_KEY=sk-not-a-real-key
"""
ECHO = ROOT / "service" / "demo" / "echo.json"
KEY = re.compile(r"sk-[\w-]+")


@dataclass
class Place:
    folder: Path
    url: str
    key: str
    flow_id: str
    server: Process


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("walkthrough")
    (folder / ".env").write_text(ENV_FILE)
    port = free_port()
    own = {"LANGFLOW_CONFIG_DIR": str(folder)}
    command = ["langflow", "run", "--backend-only", "--host", "127.0.0.1", "--port", str(port), "--workers", "2",
               "--env-file", ".env"]  # fmt: skip
    with running(command, folder, **own) as server:
        server.wait_for("Stored")
        made = run(["langflow", "api-key"], folder, **own)
        assert made.returncode == 0, made.stderr
        key = KEY.search(made.stdout)
        assert key, made.stdout
        url = f"http://127.0.0.1:{port}"
        wait_until_it_answers(url)
        flow = requests.post(
            f"{url}/api/v1/flows/", json=json.loads(ECHO.read_text()), headers={"x-api-key": key[0]}, timeout=30
        )
        assert flow.status_code == 201, flow.text
        yield Place(folder, url, key[0], flow.json()["id"], server)


def test_the_key_is_shown_in_a_box_with_what_to_do_with_it(place: Place) -> None:
    made = run(["langflow", "api-key"], place.folder, LANGFLOW_CONFIG_DIR=str(place.folder))
    assert "API Key Created Successfully" in made.stdout
    assert "This is the only time the API key will be displayed" in made.stdout


def test_making_a_second_key_leaves_the_first_one_good(place: Place) -> None:
    run(["langflow", "api-key"], place.folder, LANGFLOW_CONFIG_DIR=str(place.folder))
    answer = requests.get(f"{place.url}/api/v1/users/whoami", headers={"x-api-key": place.key}, timeout=30)
    assert answer.status_code == 200


def test_whoami_answers_with_the_documented_fields(place: Place) -> None:
    answer = requests.get(f"{place.url}/api/v1/users/whoami", headers={"x-api-key": place.key}, timeout=30)
    assert list(answer.json()) == [
        "id", "username", "profile_image", "store_api_key", "is_active", "is_superuser", "create_at", "updated_at",
        "last_login_at", "optins",
    ]  # fmt: skip
    assert answer.json()["username"] == "administrator"


@pytest.mark.parametrize("carrier", ["header", "query"])
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"inputs": {"text": ""}, "tweaks": {}}, None),
        ({"input_value": "Hello", "input_type": "chat", "output_type": "chat", "tweaks": {}}, "Hello"),
    ],
    ids=["the documents' old body", "today's body"],
)
def test_a_flow_runs_with_the_key(place: Place, carrier: str, body: dict[str, object], text: str | None) -> None:
    headers, params = ({"x-api-key": place.key}, {"stream": "false"}) if carrier == "header" else ({}, {
        "x-api-key": place.key})  # fmt: skip
    answer = requests.post(
        f"{place.url}/api/v1/run/{place.flow_id}", json=body, headers=headers, params=params, timeout=30
    )
    assert answer.status_code == 200, answer.text
    message = answer.json()["outputs"][0]["outputs"][0]["results"]["message"]["text"]
    assert text is None or text in message


def test_a_revoked_key_is_refused_at_the_next_request_on_every_worker(place: Place) -> None:
    made = run(["langflow", "api-key", "--plain"], place.folder, LANGFLOW_CONFIG_DIR=str(place.folder))
    headers = {"x-api-key": made.stdout.strip()}
    whoami = f"{place.url}/api/v1/users/whoami"
    # Many requests on new connections, so that both workers have seen the key.
    assert {requests.get(whoami, headers=headers, timeout=30).status_code for _ in range(30)} == {200}
    listed = requests.get(f"{place.url}/api/v1/api_key/", headers=headers, timeout=30).json()["api_keys"]
    own = next(one["id"] for one in listed if one["api_key"].startswith(made.stdout[:8]))
    requests.delete(f"{place.url}/api/v1/api_key/{own}", headers={"x-api-key": place.key}, timeout=30)
    assert {requests.get(whoami, headers=headers, timeout=30).status_code for _ in range(30)} == {403}


def test_the_environments_credential_is_a_variable_of_the_superuser(place: Place) -> None:
    answer = requests.get(f"{place.url}/api/v1/variables/", headers={"x-api-key": place.key}, timeout=30)
    assert [(one["name"], one["type"], one["value"]) for one in answer.json()] == [
        ("OPENAI_API_KEY", "Credential", None)
    ]


def test_the_start_screen_tells_the_policy_and_no_secret(place: Place) -> None:
    assert "every API request needs a key or a login" in place.server.output
    assert "securepassword" not in place.server.output
    assert "not-a-real-key" not in place.server.output


def test_api_key_without_auto_login_refuses_a_wrong_password_with_a_status(place: Place) -> None:
    refused = run(
        ["langflow", "api-key"], place.folder, LANGFLOW_CONFIG_DIR=str(place.folder),
        LANGFLOW_SUPERUSER_PASSWORD="wrong",
    )  # fmt: skip
    # The env file wins over the environment, as in Langflow, so the file's password counts.
    assert refused.returncode == 0
    (place.folder / "other.env").write_text(ENV_FILE.replace("securepassword", "wrong-password"))
    refused = run(
        ["langflow", "api-key", "--env-file", "other.env"], place.folder, LANGFLOW_CONFIG_DIR=str(place.folder)
    )
    assert refused.returncode == 1
    assert refused.stderr == "keyturn: Incorrect username or password\n"
