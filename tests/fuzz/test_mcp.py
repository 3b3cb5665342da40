"""MCP: whatever is sent is answered with JSON-RPC, or refused with a status of the client's fault."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from service.http.mcp.jsonrpc import Fault, message_of
from tests.fuzz.strategies import ANY_TEXT, ODD_VALUES, json_values
from tests.support import flows
from tests.support.client import Api

METHODS = st.sampled_from(
    ["initialize", "ping", "tools/list", "tools/call", "resources/list", "resources/read", "prompts/list", "x",
     "notifications/initialized", "notifications/cancelled", "resources/templates/list", "server/discover"]
)  # fmt: skip
PARAMS = st.dictionaries(
    st.sampled_from(["name", "arguments", "uri", "cursor", "requestId", "protocolVersion", "_meta", "capabilities"]),
    json_values(most=5) | ODD_VALUES | st.sampled_from(["echo", "file:///x", "2025-06-18"]),
    max_size=4,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0", 2]),
        "id": st.integers() | ANY_TEXT | ODD_VALUES,
        "method": METHODS | ANY_TEXT | ODD_VALUES,
        "params": PARAMS | json_values(most=5),
    },
)
SOUND = MESSAGES.map(lambda message: {"jsonrpc": "2.0", "id": 1, "method": "tools/call"} | message)
REVISIONS = st.sampled_from(["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28", "x", ""])
PATHS = ["/mcp/streamable", "/mcp/", "/mcp/project/{project}/streamable"]


@pytest.fixture(scope="module")
def project(fuzzed: Flask, chief: Api) -> str:
    """The project of a flow that is a tool."""
    body = {"name": "echo", "action_name": "echo", "mcp_enabled": True, "data": flows.echo()}
    return str(chief.post("/flows/", json=body).json["folder_id"])


@given(
    json_values() | MESSAGES | SOUND | st.lists(MESSAGES | SOUND, max_size=3), REVISIONS, st.sampled_from(PATHS),
    st.sampled_from(["application/json", "application/json, text/event-stream", "*/*"]), st.booleans(),
)  # fmt: skip
def test_any_message_is_answered_with_json_rpc_or_refused(
    chief: Api, project: str, body: Any, revision: str, path: str, accept: str, known: bool
) -> None:
    caller = chief if known else Api(chief.app, None, "")
    answer = caller.post(
        path.format(project=project), data=json.dumps(body), content_type="application/json", buffered=True,
        headers={"Accept": accept, "MCP-Protocol-Version": revision, "Mcp-Session-Id": "s" * 8},
    )  # fmt: skip
    assert answer.status_code < 500, answer.get_data(as_text=True)
    if answer.is_json and answer.status_code == 200:
        for one in answer.json if isinstance(answer.json, list) else [answer.json]:
            assert one["jsonrpc"] == "2.0"
            assert ("result" in one) != ("error" in one)


@given(st.binary(max_size=60), st.sampled_from(PATHS))
def test_any_bytes_are_refused(chief: Api, project: str, body: bytes, path: str) -> None:
    answer = chief.post(path.format(project=project), data=body, content_type="application/json")
    assert answer.status_code < 500


@given(json_values())
def test_any_json_is_a_message_or_a_fault(content: Any) -> None:
    try:
        message = message_of(content)
    except Fault as fault:
        assert fault.code < 0
    else:
        assert message is None or isinstance(message.method, str)
