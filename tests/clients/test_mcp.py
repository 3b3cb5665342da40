"""The official MCP clients, pointed at a server with two workers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from urllib3.util import Retry

from service.http.mcp.revisions import HANDSHAKE, STATELESS
from tests.clients.conftest import Place
from tests.clients.environments import node_folder_of, python_of, run_client

Client = Callable[..., dict[str, Any]]
PUBLIC = {"mcp_enabled": True, "access_type": "PUBLIC"}
SCRIPT = Path(__file__).parent / "mcp_python" / "walk.py"
LONG = ("first",) + ("x" * 4000,) * 2000

#: (transport, the client's mode, the revision that they agree on)
PYTHON = [
    ("streamable", "auto", STATELESS),
    ("streamable", "legacy", HANDSHAKE[-1]),
    ("sse", "legacy", HANDSHAKE[-1]),
]


CLIENTS = ["python-auto", "python-legacy", "python-sse", "node-streamable", "node-sse"]


@pytest.fixture(scope="module")
def mcp_place(place: Place) -> Place:
    """A server with a public tool, "echo", a hidden one, "chat", and a flow that is none."""
    place.upload_demo("echo", name="echo", endpoint_name=None, **PUBLIC)
    place.upload_demo("chat", name="chat", endpoint_name=None, mcp_enabled=True)
    place.upload_demo("echo", name="no tool", endpoint_name=None, access_type="PUBLIC")
    place.call("POST", "/../v2/files/", files={"file": ("notes.txt", b"content")})
    return place


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, mcp_place: Place) -> Client:
    """Runs an official client on one transport, to its end."""
    kind, _, how = request.param.partition("-")
    transport = "sse" if how == "sse" else "streamable"
    if kind == "python":
        command = [str(python_of("mcp_python")), str(SCRIPT), transport, "legacy" if how != "auto" else "auto"]
        folder = SCRIPT.parent
    else:
        folder = node_folder_of("mcp_node")
        command = ["node", "walk.mjs", transport]

    def run(*more: str, path: str = "/api/v1/mcp") -> dict[str, Any]:
        done = run_client([*command, f"{mcp_place.url}{path}/{transport}", *more], folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    return run


def test_a_client_without_a_key_sees_and_calls_what_is_public(client: Client) -> None:
    found = client()
    assert list(found["tools"]) == ["echo"]
    assert found["echo"] == [False, "You said: Hello"]
    assert (found["prompts"], found["resources"]) == (0, [])


def test_a_client_with_a_key_sees_and_calls_its_owners_tools(client: Client, mcp_place: Place) -> None:
    found = client(mcp_place.key)
    assert list(found["tools"]) == ["echo", "chat"]
    assert found["echo"] == [False, "You said: Hello"]
    assert found["chat"] == [False, "You said: Hi"]
    assert found["resources"] == ["notes.txt"]


# The last one drops what comes in one piece with the answer; that it hears of progress is seen when it cancels.
@pytest.mark.parametrize("client", CLIENTS[:-1], indirect=True)
def test_a_client_is_told_of_progress(client: Client, mcp_place: Place) -> None:
    progress = client(mcp_place.key)["progress"]
    assert progress
    assert progress == sorted(set(progress))


def test_a_client_is_told_of_a_failure(client: Client, mcp_place: Place) -> None:
    failed, text = client(mcp_place.key)["failed"]
    assert failed
    assert text.startswith("Error executing the chat tool. Error: ")


def test_a_client_is_told_of_a_tool_that_is_not_there(client: Client) -> None:
    assert client()["unknown"] == [True, "Flow with name 'nothing' not found"]


def test_a_client_reaches_a_project(client: Client, mcp_place: Place) -> None:
    project = mcp_place.call("GET", "/flows/")[0]["folder_id"]
    found = client(path=f"/api/v1/mcp/project/{project}")
    assert (found["server"], list(found["tools"])) == (f"langflow-mcp-project-{project}", ["echo"])


def test_a_client_that_cancels_ends_the_run_and_goes_on(client: Client, mcp_place: Place) -> None:
    provider = mcp_place.provider
    provider.pieces = LONG
    provider.go_on.clear()
    provider.abandoned.clear()
    key = mcp_place.call("POST", "/api_key/", json={"name": "one at once", "max_parallel_runs": 1})["api_key"]
    found = client(key, "--cancel")
    # The provider says nothing meanwhile, so that the key's only place is free when the run has ended without it.
    run = f"{mcp_place.url}/api/v1/run/{mcp_place.call('GET', '/flows/')[0]['id']}"
    with patient(mcp_place) as session:
        assert (
            session.post(run, json={"input_value": "me"}, headers={"x-api-key": key}, timeout=30).status_code == 200
        )
    provider.go_on.set()
    provider.pieces = ()
    assert found == {"left": True, "afterwards": 2}
    assert provider.abandoned.wait(20)


def test_a_client_with_a_bad_key_gets_nowhere(mcp_place: Place) -> None:
    command = [
        str(python_of("mcp_python")),
        str(SCRIPT),
        "streamable",
        "auto",
        f"{mcp_place.url}/api/v1/mcp/streamable",
    ]
    assert run_client([*command, "sk-nothing"], SCRIPT.parent).returncode != 0


@pytest.mark.parametrize(("transport", "mode", "version"), PYTHON)
def test_the_official_packages_revisions_are_ours(mcp_place: Place, transport: str, mode: str, version: str) -> None:
    command = [str(python_of("mcp_python")), str(SCRIPT), transport, mode, f"{mcp_place.url}/api/v1/mcp/{transport}"]
    found = json.loads(run_client(command, SCRIPT.parent).stdout)
    assert (found["version"], found["known"]) == (version, [*HANDSHAKE, STATELESS])


def test_a_client_that_went_away_leaves_its_place_to_the_next_one(start_place: Callable[..., Place]) -> None:
    place = start_place(LANGFLOW_WORKERS="1", KEYTURN_MCP_MAX_STREAMS="2", KEYTURN_HEARTBEAT_SECONDS="60")
    for _ in range(4):
        with patient(place) as session, session.get(f"{place.url}/api/v1/mcp/sse", stream=True, timeout=30) as stream:
            assert next(stream.iter_lines()) == b"event: endpoint"


def test_an_open_stream_does_not_hold_a_worker_up_that_is_to_stop(start_place: Callable[..., Place]) -> None:
    place = start_place()
    with requests.get(f"{place.url}/api/v1/mcp/sse", stream=True, timeout=30) as stream:
        assert next(stream.iter_lines()) == b"event: endpoint"
        began = time.monotonic()
        place.server.stop()
        assert time.monotonic() - began < 15


def patient(place: Place) -> requests.Session:
    """A client that comes again when it is told that there is no place for it."""
    session = requests.Session()
    again = Retry(8, status_forcelist={429}, backoff_factor=0.1, allowed_methods=None)
    session.mount(place.url, requests.adapters.HTTPAdapter(max_retries=again))
    return session
