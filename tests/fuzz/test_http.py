"""Requests: whatever a client sends is answered with a status below 500, and no credential reaches a log."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from service.domain import key_text
from tests.fuzz.conftest import FEW
from tests.fuzz.strategies import ODD_VALUES, SOUND_TEXT, json_values
from tests.support.client import Api

#: What can stand in a header: HTTP has bytes, WSGI shows each as a character.
HEADER = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40)
KEYS = HEADER | st.builds("sk-{}".format, HEADER) | st.from_regex(r"sk-[A-Za-z0-9_-]{40,60}", fullmatch=True)
TOKENS = HEADER | st.builds("lt-{}".format, HEADER)
ANY_ID = (
    st.uuids().map(str) | SOUND_TEXT | st.sampled_from(["", ".", "..", "%00", "\x00", "null", "0", "a" * 300, "{}"])
)
GETS = [
    "/api/v1/users/whoami", "/api/v1/session", "/api/v1/config", "/api/v1/api_key/", "/api/v1/flows/", "/v1/models",
    "/api/v1/mcp/streamable", "/login", "/keys",
]  # fmt: skip


def sound(answer: TestResponse) -> TestResponse:
    """An answer of this server's own making."""
    assert answer.status_code < 500, (answer.request.path, answer.status_code, answer.get_data(as_text=True)[:300])
    return answer


@pytest.fixture(scope="module")
def client(fuzzed: Flask) -> FlaskClient:
    return fuzzed.test_client(use_cookies=False)


class Logged(logging.Handler):
    """Everything that the service logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@given(KEYS, st.sampled_from(["header", "query", "bearer", "cookie"]), st.sampled_from(GETS))
def test_any_text_as_a_credential_is_refused_and_never_logged(
    client: FlaskClient, text: str, carrier: str, path: str
) -> None:
    headers = {"header": {"x-api-key": text}, "bearer": {"Authorization": f"Bearer {text}"},
               "cookie": {"Cookie": f"access_token_lf={text}"}}.get(carrier, {})  # fmt: skip
    logged = Logged()
    logging.getLogger("service").addHandler(logged)
    try:
        answer = client.get(path, headers=headers, query_string={"x-api-key": text} if carrier == "query" else None)
    finally:
        logging.getLogger("service").removeHandler(logged)
    sound(answer)
    if len(text) > 8:
        assert not [line for line in logged.lines if text in line]


@given(
    st.dictionaries(
        st.sampled_from([
            "Authorization", "Cookie", "Origin", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
            "Forwarded",
            "Range", "If-None-Match", "If-Match", "If-Modified-Since", "Content-Type", "Accept", "Accept-Language",
            "Accept-Encoding", "Sec-Fetch-Site", "X-Request-ID", "X-LANGFLOW-GLOBAL-VAR-NAME", "MCP-Protocol-Version",
            "Mcp-Session-Id", "Content-Length", "Transfer-Encoding", "Host", "Idempotency-Key", "HX-Request",
            "Referer",
            "Content-Encoding", "Expect", "Upgrade", "Connection", "Last-Event-ID",
        ]),
        HEADER
        | st.sampled_from([
            "bytes=0-", "bytes=9-1", "*", '"a", W/"b"', "text/html;q=nan", "application/json; charset=utf-7",
            "multipart/form-data", "multipart/form-data; boundary=", "application/json;" * 50, "q=" * 100, "null",
            "http://[::1", "http://localhost:99999", "Basic !!!", "Bearer ", "de-DE;q=0.x", "chunked", "-1", "1e3",
        ]),
        max_size=4,
    ),
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    st.sampled_from([*GETS, "/api/v1/login", "/api/v1/logout", "/api/v1/run/x", "/api/v1/files/", "/static/app.css"]),
)  # fmt: skip
def test_any_headers_are_answered(client: FlaskClient, headers: dict[str, str], method: str, path: str) -> None:
    # Only a server reads these two; a test client would wait for a body that never comes.
    wanted = {name: value for name, value in headers.items() if name not in ("Content-Length", "Transfer-Encoding")}
    sound(client.open(path, method=method, headers=wanted, buffered=True))


@FEW
@given(HEADER, st.sampled_from(["GET", "PATCH", "POST"]))
def test_any_headers_of_somebody_known_are_answered(chief: Api, value: str, method: str) -> None:
    names = ("If-Match", "X-LANGFLOW-GLOBAL-VAR-A", "Idempotency-Key", "Accept", "Content-Type", "X-Forwarded-For")
    for path in ("/flows/", "/api_key/", "/run/nothing", "/monitor/messages"):
        sound(chief.open(method, path, headers=dict.fromkeys(names, value)))


SEGMENTS = st.lists(
    st.sampled_from(["api", "v1", "v2", "flows", "users", "whoami", "api_key", "run", "health", "..", ".", "",
        "%2e%2e",
                     "%2f", "%00", "%ff", "API", ";x", "static", "mcp", "projects", "keys"]) | SOUND_TEXT,
    max_size=6,
)  # fmt: skip


@given(SEGMENTS, st.sampled_from(["GET", "POST", "DELETE", "PATCH"]))
def test_no_path_opens_anything_to_a_stranger(client: FlaskClient, segments: list[str], method: str) -> None:
    # As a server hands it over: a client would take what stands after two slashes for a host.
    path = unquote_to_bytes("/" + "/".join(segments)).decode("latin-1")
    answer = sound(client.open("/", method=method, environ_overrides={"PATH_INFO": path}))
    if answer.status_code == 200 and answer.is_json:
        assert not re.search(r'"(api_key|api_keys|flows|users|username)"', answer.get_data(as_text=True))


@FEW
@given(ANY_ID, ANY_ID)
def test_any_name_in_a_path_is_answered(chief: Api, one: str, other: str) -> None:
    """Percent-encoded as a client does: NUL and slashes included."""
    one, other = quote(one, safe=""), quote(other, safe="")
    for method, path in (
        ("GET", f"/flows/{one}"), ("PATCH", f"/api_key/{one}"), ("POST", f"/run/{one}"), ("GET", f"/models/{one}"),
        ("GET", f"/api/v2/mcp/servers/{one}"), ("DELETE", f"/api/v2/mcp/servers/{one}"), ("GET", f"/projects/{one}"),
        ("GET", f"/files/download/{one}/{other}"), ("GET", f"/files/images/{one}/{other}"), ("GET", f"/jobs/{one}"),
        ("DELETE", f"/files/delete/{one}/{other}"), ("DELETE", f"/monitor/messages/session/{one}"),
        ("PATCH", f"/monitor/messages/session/{one}?new_session_id={other}"), ("GET", f"/users/{one}"),
        ("GET", f"/mcp/project/{one}"), ("GET", f"/variables/explain?flow={one}"), ("POST", f"/webhook/{one}"),
        ("PUT", f"/api/v2/files/{one}?name={other}"), ("GET", f"/flows/public_flow/{one}"),
    ):  # fmt: skip
        sound(chief.open(method, path))


QUERY = st.dictionaries(
    st.sampled_from([
        "page", "size", "limit", "offset", "cursor", "skip", "search", "username", "order", "order_by", "folder_id",
        "flow_id", "session_id", "sender", "get_all", "header_flows", "components_only", "days", "stale", "since",
        "until", "action", "status", "mcp_enabled", "is_flow", "flow_type", "job_id", "stream", "format",
        "background",
    ]),
    SOUND_TEXT | st.sampled_from(["0", "-1", "1", "9" * 30, "9" * 5000, "1.5", "²", "true", "TRUE", "null",
        "\x00", "%",
                                  "2026-01-01", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", ""]),
    max_size=4,
)  # fmt: skip


@FEW
@given(QUERY)
@example({"since": "0001-01-01T00:00:00+23:59"})
@example({"limit": "9" * 5000})
@example({"sender": "\x00"})
@example({"search": "\x00", "username": "\x00"})
def test_any_query_is_answered(chief: Api, query: dict[str, str]) -> None:
    for path in ("/flows/", "/users/", "/audit/", "/jobs/", "/monitor/messages", "/monitor/messages/sessions",
                 "/api_key/", "/api/v2/workflows/", "/projects/", "/api/v2/files/",
                 "/api/v2/mcp/servers"):  # fmt: skip
        sound(chief.get(path, query_string=query))


BODIES = {
    "/api_key/": ["name", "expires_at", "scopes", "flows", "networks", "rate_limit", "max_parallel_runs"],
    "/users/": ["username", "password", "optins"],
    "/variables/": ["name", "value", "type", "default_fields"],
    "/flows/": ["name", "data", "endpoint_name", "folder_id", "tags", "locked", "access_type", "description"],
    "/flows/batch/": ["flows"],
    "/projects/": ["name", "description", "flows_list", "components_list"],
    "/run/nothing": ["input_value", "input_type", "output_type", "tweaks", "session_id", "stream", "input_request"],
    "/run/advanced/nothing": ["inputs", "outputs", "tweaks", "session_id"],
    "/responses": ["model", "input", "metadata", "previous_response_id", "include", "tools", "stream", "text"],
    "/chat/completions": ["model", "messages", "session_id", "stream_options", "n", "tools", "stream"],
    "/api/v2/workflows/": ["flow_id", "input_value", "mode", "tweaks", "globals", "output_ids", "idempotency_key"],
    "/api/v2/workflows/stop": ["job_id"],
    "/api/v2/mcp/servers/fuzz": ["command", "args", "env", "headers", "url", "name"],
    "/api_key/store": ["api_key"],
    "/login": ["username", "password"],
}
VALUES = json_values(most=6) | ODD_VALUES


@given(st.data(), st.sampled_from(sorted(BODIES)))
def test_any_body_is_answered(chief: Api, data: st.DataObject, path: str) -> None:
    names = st.sampled_from(BODIES[path])
    body = data.draw(st.dictionaries(names | st.text(max_size=5), VALUES, max_size=5) | VALUES)
    sound(chief.post(path, data=json.dumps(body), content_type="application/json"))


@given(st.binary(max_size=120) | st.sampled_from([b"[" * 100_000, b'{"a":' * 20_000, b"\xff\xfe{\x00}\x00",
       b"1e999", b"NaN"]),
       st.sampled_from(sorted(BODIES)))  # fmt: skip
def test_any_bytes_as_a_body_are_answered(chief: Api, body: bytes, path: str) -> None:
    sound(chief.post(path, data=body, content_type="application/json"))


@given(
    st.integers(150, 1100), st.sampled_from(["/flows/", "/run/nothing", "/api/v2/mcp/servers/deep", "/variables/"])
)
def test_a_deep_body_is_answered(chief: Api, depth: int, path: str) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    body = f'{{"name": "deep", "data": {{"nodes": [{deep}], "edges": []}}, "tweaks": {deep}, "more": {deep}}}'
    sound(chief.post(path, data=body, content_type="application/json"))


def _form(name: str, filename: str | None, content: bytes, boundary: str) -> bytes:
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode("utf-8", "surrogateescape") + content + f"\r\n--{boundary}--\r\n".encode()


FILES = ["/files/upload/{flow}", "/api/v2/files/", "/flows/upload/", "/projects/upload/"]


# What is cut off in the middle of a file leaves werkzeug's temporary file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@given(
    st.sampled_from(FILES), st.sampled_from(["file", "other", ""]), st.none() | SOUND_TEXT | HEADER,
    st.binary(max_size=200),
    st.sampled_from(["x", "", "a" * 200, 'q"uote', "--"]), st.integers(0, 20),
)  # fmt: skip
def test_any_form_with_a_file_is_answered(
    chief: Api, path: str, name: str, filename: str | None, content: bytes, boundary: str, cut: int
) -> None:
    body = _form(name, filename, content, boundary)
    flow = chief.get("/flows/").json[0]["id"] if chief.get("/flows/").json else "x"
    kind = f"multipart/form-data; boundary={boundary}"
    sound(chief.post(path.format(flow=flow), data=body[: len(body) - cut], content_type=kind))


@given(SOUND_TEXT.filter(bool), st.binary(max_size=100))
def test_a_file_comes_back_as_it_went(chief: Api, name: str, content: bytes) -> None:
    made = sound(chief.post("/api/v2/files/", data={"file": (io.BytesIO(content), name)}))
    if made.status_code == 201:
        back = chief.get(f"/api/v2/files/{made.json['id']}")
        assert (back.status_code, back.data) == (200, content)


@given(SOUND_TEXT, SOUND_TEXT, st.sampled_from(["Generic", "Credential"]))
def test_a_variable_comes_back_as_it_went_or_is_refused(chief: Api, name: str, value: str, kind: str) -> None:
    body = {"name": name, "value": value, "type": kind, "default_fields": []}
    made = sound(chief.post("/variables/", json=body))
    if made.status_code == 201:
        assert made.json["value"] == (value if kind == "Generic" else None)
        assert chief.delete(f"/variables/{made.json['id']}").status_code == 204


@given(TOKENS)
def test_any_text_as_a_login_token_is_refused(client: FlaskClient, text: str) -> None:
    for cookie in ("access_token_lf", "refresh_token_lf", "apikey_tkn_lflw"):
        headers = {"Cookie": f"{cookie}={text}"}
        assert sound(client.post("/api/v1/refresh", headers=headers)).status_code in {401, 403}
        sound(client.get("/flows", headers=headers))
        sound(client.post("/api/v1/logout", headers=headers))


@given(st.text(max_size=70) | st.from_regex(r"sk-[A-Za-z0-9_-]{43}(_[0-9A-Za-z]{6})?", fullmatch=True))
def test_any_text_has_a_digest_and_a_verdict(text: str) -> None:
    assert len(key_text.digest(text)) == 64
    assert key_text.is_well_formed(text) in (True, False)


@given(st.binary(min_size=32, max_size=32), st.lists(SOUND_TEXT, max_size=3))
def test_every_key_that_is_made_is_well_formed_and_no_key_with_a_slip_is(secret: bytes, parts: list[str]) -> None:
    key = key_text.derived(secret, *parts)
    assert key_text.is_well_formed(key)
    assert len(key) == key_text.LENGTH
    for at in range(len(key_text.PREFIX), len(key)):
        other = "a" if key[at] != "a" else "b"
        assert not key_text.is_well_formed(key[:at] + other + key[at + 1 :])


def test_the_handlers_above_see_what_the_service_logs(fuzzed: Flask, make_lasting: Callable[..., Flask]) -> None:
    logged = Logged()
    logging.getLogger("service").addHandler(logged)
    try:
        logging.getLogger("service.requests").critical("a line")
    finally:
        logging.getLogger("service").removeHandler(logged)
    assert logged.lines == ["a line"]
