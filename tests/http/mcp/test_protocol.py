"""JSON-RPC and the revisions of the protocol over streamable HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from service.http.mcp import revisions
from tests.http.mcp.conftest import Owner
from tests.support.mcp import BOTH, META, STREAMABLE, Mcp, request_of


@pytest.fixture
def mcp(shared: Flask) -> Mcp:
    return Mcp(shared)


@pytest.mark.parametrize("version", revisions.HANDSHAKE)
def test_a_known_revision_is_agreed_to(mcp: Mcp, version: str) -> None:
    assert mcp.ask("initialize", {"protocolVersion": version})["protocolVersion"] == version


@pytest.mark.parametrize("version", ["1999-01-01", "2026-07-28", ""])
def test_another_revision_is_answered_with_the_newest_that_shakes_hands(mcp: Mcp, version: str) -> None:
    assert mcp.ask("initialize", {"protocolVersion": version})["protocolVersion"] == "2025-11-25"


def test_a_handshake_says_who_answers_and_gives_a_session_that_nobody_stores(mcp: Mcp) -> None:
    first, second = (mcp.post(request_of("initialize", {"protocolVersion": "2025-11-25"})) for _ in range(2))
    assert first.json["result"]["serverInfo"]["name"] == "langflow-mcp-server"
    assert first.headers["Mcp-Session-Id"] != second.headers["Mcp-Session-Id"]


def test_a_project_calls_itself_as_in_langflow(owner: Owner) -> None:
    found = owner.mcp(f"/api/v1/mcp/project/{owner.project}/streamable").ask(
        "initialize", {"protocolVersion": "2025-11-25"}
    )
    assert found["serverInfo"]["name"] == f"langflow-mcp-project-{owner.project}"


def test_a_ping_is_answered_with_nothing(mcp: Mcp) -> None:
    assert mcp.ask("ping") == {}


@pytest.mark.parametrize(("method", "result"), [
    ("prompts/list", {"prompts": []}), ("resources/list", {"resources": []}),
    ("resources/templates/list", {"resourceTemplates": []}),
])  # fmt: skip
def test_there_is_nothing_but_tools_for_nobody_in_particular(mcp: Mcp, method: str, result: dict[str, Any]) -> None:
    assert mcp.ask(method) == result


@pytest.mark.parametrize(("body", "code", "number"), [
    (b"{", -32700, None), (b"[[[", -32700, None), (b'{"jsonrpc": "2.0", "id": 1, "method": NaN}', -32700, None),
    (b"[" * 60_000, -32700, None), (b"1", -32600, None), (b"{}", -32600, None), (b"null", -32600, None),
    (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', -32600, None),
    (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600, None),
    (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', -32600, None),
    (b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', -32600, None),
    (b'{"jsonrpc": "2.0", "id": [1], "method": "ping"}', -32600, None),
    (b'{"jsonrpc": "2.0", "id": 7, "method": 1}', -32600, 7),
    (b'{"jsonrpc": "2.0", "id": 7}', -32600, 7),
    (b'{"jsonrpc": "2.0", "id": "7", "method": "ping", "params": [1]}', -32600, "7"),
])  # fmt: skip
def test_what_is_no_message_is_400_with_the_codes_of_json_rpc(mcp: Mcp, body: bytes, code: int, number: Any) -> None:
    answer = mcp.app.test_client(use_cookies=False).post(STREAMABLE, data=body, content_type="application/json")
    assert (answer.status_code, answer.json["error"]["code"], answer.json["id"]) == (400, code, number)


@pytest.mark.parametrize(("method", "params", "code"), [
    ("nothing/such", {}, -32601), ("logging/setLevel", {"level": "info"}, -32601), ("server/discover", {}, -32601),
    ("tools/call", {}, -32602), ("tools/call", {"name": 1}, -32602),
    ("tools/call", {"name": "a", "arguments": []}, -32602),
    ("tools/list", {"cursor": "-1"}, -32602), ("tools/list", {"cursor": 1}, -32602),
    ("tools/list", {"cursor": "9" * 30}, -32602), ("initialize", {}, -32602),
    ("initialize", {"protocolVersion": 1}, -32602), ("prompts/get", {"name": "a"}, -32602),
    ("resources/read", {}, -32602), ("resources/read", {"uri": "keyturn://files/a/b"}, -32002),
])  # fmt: skip
@pytest.mark.parametrize("accept", ["application/json", BOTH])
def test_a_request_that_cannot_be_answered_gets_an_error_with_its_id(
    mcp: Mcp, method: str, params: dict[str, Any], code: int, accept: str
) -> None:
    answer = mcp.post(request_of(method, params, "seven"), headers={"Accept": accept})
    assert (answer.status_code, answer.json["error"]["code"], answer.json["id"]) == (200, code, "seven")


@pytest.mark.parametrize("content", [
    request_of("notifications/initialized", number=None),
    request_of("notifications/cancelled", {"requestId": 99}, None),
    request_of("notifications/cancelled", {"requestId": {"a": 1}}, None),
    request_of("nothing/such", number=None),
    {"jsonrpc": "2.0", "id": 1, "result": {}},
    {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": ""}},
])  # fmt: skip
def test_what_wants_no_answer_is_202_without_a_body(mcp: Mcp, content: dict[str, Any]) -> None:
    answer = mcp.post(content)
    assert (answer.status_code, answer.data) == (202, b"")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_a_page_could_send_unasked_is_refused(mcp: Mcp, kind: str) -> None:
    client = mcp.app.test_client(use_cookies=False)
    assert client.post(STREAMABLE, data=b"{}", content_type=kind).status_code == 415


def test_a_client_that_takes_neither_json_nor_events_is_406(mcp: Mcp) -> None:
    assert mcp.post(request_of("ping"), headers={"Accept": "text/html"}).status_code == 406


def test_a_body_over_the_limit_is_413(mcp: Mcp) -> None:
    assert mcp.post(request_of("ping", {"a": "x" * (5 * 1024 * 1024)})).status_code == 413


@pytest.mark.parametrize("path", [STREAMABLE, f"{STREAMABLE}/"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_nothing_is_sent_unasked_and_no_session_is_remembered(mcp: Mcp, method: str, path: str) -> None:
    answer = mcp.app.test_client().open(path, method=method, headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_a_head_says_that_the_endpoint_is_there(mcp: Mcp) -> None:
    assert mcp.app.test_client().head(STREAMABLE).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/mcp", "/api/v1/mcp/", "/api/v1/mcp/streamable", "/api/v1/mcp/streamable/"])
def test_a_message_is_answered_wherever_langflow_takes_one(mcp: Mcp, path: str) -> None:
    assert mcp.ask("ping", path=path) == {}


@pytest.mark.parametrize("version", ["1999-01-01", "", "2026-07-29", "2025-11-25, 2025-11-25"])
def test_a_revision_that_is_not_known_is_refused_with_those_that_are(mcp: Mcp, version: str) -> None:
    answer = mcp.post(request_of("ping"), headers={"MCP-Protocol-Version": version})
    assert (answer.status_code, answer.json["error"]["code"]) == (400, -32022)
    assert answer.json["error"]["data"]["supported"] == [*revisions.HANDSHAKE, revisions.STATELESS]


@pytest.mark.parametrize("header", [{}, {"MCP-Protocol-Version": "2025-03-26"}], ids=["assumed", "said"])
def test_a_batch_is_answered_by_the_revision_that_has_them(mcp: Mcp, header: dict[str, str]) -> None:
    batch = [
        request_of("ping", number=1), request_of("notifications/initialized", number=None), {"id": 2},
        request_of("nothing", number="a"), request_of("initialize", {"protocolVersion": "2025-03-26"}, 3),
    ]  # fmt: skip
    answer = mcp.post(batch, headers=header)
    found = [(one["id"], one.get("error", {}).get("code")) for one in answer.json]
    assert found == [(1, None), (None, -32600), ("a", -32601), (3, -32600)]


def test_a_batch_that_wants_no_answer_is_202(mcp: Mcp) -> None:
    assert mcp.post([request_of("notifications/initialized", number=None)]).status_code == 202


@pytest.mark.parametrize("version", ["2024-11-05", "2025-06-18", "2025-11-25", "2026-07-28"])
def test_a_batch_is_refused_by_every_other_revision(mcp: Mcp, version: str) -> None:
    answer = mcp.post([request_of("ping")], headers={"MCP-Protocol-Version": version})
    assert (answer.status_code, answer.json["error"]["code"]) == (400, -32600)


@pytest.mark.parametrize("size", [0, 11])
def test_a_batch_has_a_size(mcp: Mcp, size: int) -> None:
    assert mcp.post([request_of("ping")] * size).json["error"]["code"] == -32600


# The revision in which each request stands alone


def test_it_says_what_the_server_speaks(mcp: Mcp) -> None:
    result = mcp.stateless("server/discover").json["result"]
    assert "2026-07-28" in result["supportedVersions"]
    assert (result["resultType"], result["ttlMs"], result["cacheScope"]) == ("complete", 0, "private")
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "langflow-mcp-server"


def test_it_lists_tools_without_a_handshake(owner: Owner) -> None:
    assert len(owner.mcp().stateless("tools/list").json["result"]["tools"]) == 2


@pytest.mark.parametrize("method", ["initialize", "ping", "subscriptions/listen", "nothing"])
def test_a_method_that_it_does_not_have_is_404(mcp: Mcp, method: str) -> None:
    answer = mcp.stateless(method)
    assert (answer.status_code, answer.json["error"]["code"]) == (404, -32601)


@pytest.mark.parametrize("lacking", list(META))
def test_a_request_that_does_not_stand_alone_is_400(mcp: Mcp, lacking: str) -> None:
    meta = {name: value for name, value in META.items() if name != lacking}
    answer = mcp.stateless("tools/list", {"_meta": meta})
    assert (answer.status_code, answer.json["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize("headers", [{"Mcp-Method": "tools/call"}, {"Mcp-Method": "ping"}], ids=str)
def test_a_header_that_disagrees_with_the_body_is_400(mcp: Mcp, headers: dict[str, str]) -> None:
    answer = mcp.stateless("tools/list", **headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, -32020)


def test_a_body_of_another_revision_than_the_header_is_400(mcp: Mcp) -> None:
    meta = META | {"io.modelcontextprotocol/protocolVersion": "2025-11-25"}
    assert mcp.stateless("tools/list", {"_meta": meta}).json["error"]["code"] == -32020


@pytest.mark.parametrize(("header", "code"), [
    ("a", None), ("=?base64?YQ==?=", None), ("b", -32020), ("=?base64?Yg==?=", -32020), ("=?base64?!?=", -32020),
])  # fmt: skip
def test_the_name_in_the_header_is_the_name_in_the_body(mcp: Mcp, header: str, code: int | None) -> None:
    answer = mcp.stateless("tools/call", {"name": "a"}, **{"Mcp-Name": header})
    assert answer.json.get("error", {}).get("code") == code


def test_a_call_is_answered_with_the_kind_of_its_result(owner: Owner) -> None:
    tool = owner.mcp().tools()[0]
    result = owner.mcp().stateless("tools/call", {"name": tool, "arguments": {"input_value": "Hi"}}).json["result"]
    assert (result["resultType"], result["isError"], result["content"]) == (
        "complete", False, [{"type": "text", "text": "Hi"}],
    )  # fmt: skip
