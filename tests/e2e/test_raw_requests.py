"""What no HTTP client sends, over a socket: limits hold before a body is read, and nothing can be smuggled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from tests.support.raw import Raw, ask, connected, read_all, request
from tests.support.server import Process, free_port, run, running
from tests.support.waiting import wait_until_it_answers

MOST = 200_000
LOGIN = "POST /api/v1/login"
FORM = "Content-Type: application/x-www-form-urlencoded"
JSON = "Content-Type: application/json"
PARTS = "Content-Type: multipart/form-data; boundary=x"


@dataclass(frozen=True)
class Server:
    port: int
    key: str
    process: Process

    def ask(self, text: bytes, *, ends: bool = False) -> Raw:
        return ask(self.port, text, ends=ends)

    @property
    def credential(self) -> str:
        return f"x-api-key: {self.key}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("raw"), free_port()
    environment = {
        "LANGFLOW_CONFIG_DIR": str(folder), "LANGFLOW_SUPERUSER_PASSWORD": "securepassword", "KEYTURN_THREADS": "4",
        "KEYTURN_MAX_BODY_BYTES": str(MOST), "LANGFLOW_MAX_FILE_SIZE_UPLOAD": "1", "LANGFLOW_LOG_LEVEL": "debug",
        "LANGFLOW_RATE_LIMIT_ENABLED": "false",
    }  # fmt: skip
    key = run(["keyturn", "api-key", "--plain"], folder, **environment).stdout.strip()
    with running(["keyturn", "run", "--port", str(port)], folder, **environment) as process:
        wait_until_it_answers(f"http://127.0.0.1:{port}")
        yield Server(port, key, process)


@pytest.mark.parametrize(
    ("line", "length", "known"),
    [("POST /api/v1/flows/", MOST + 1, True), ("POST /api/v1/run/nothing", 10**12, True), (LOGIN, 65_537, False)],
)
def test_a_body_over_the_limit_is_refused_before_a_byte_of_it_was_sent(
    server: Server, line: str, length: int, known: bool
) -> None:
    headers = [JSON, f"Content-Length: {length}", *([server.credential] if known else [])]
    answer = server.ask(request(line, *headers))
    assert (answer.statuses, answer.body) == ([413], {"detail": "Request Entity Too Large"})


def test_a_stranger_is_refused_before_a_byte_of_a_large_body_was_sent(server: Server) -> None:
    assert server.ask(request("POST /api/v1/flows/", JSON, "Content-Length: 100000")).statuses == [403]


def test_a_body_that_does_not_say_its_length_ends_at_the_limit(server: Server) -> None:
    chunk = b"2710\r\n" + b"a" * 10_000 + b"\r\n"
    head = request("POST /api/v1/flows/", JSON, server.credential, "Transfer-Encoding: chunked")
    # It never ends by itself, and the answer comes all the same.
    assert server.ask(head + chunk * 25).statuses == [413]


def test_a_stranger_has_to_say_how_long_a_body_is(server: Server) -> None:
    head = request(LOGIN, FORM, "Transfer-Encoding: chunked")
    assert server.ask(head + b"5\r\nhello\r\n0\r\n\r\n").statuses == [411]


def test_a_body_in_pieces_of_whoever_has_a_key_is_read(server: Server) -> None:
    head = request("POST /api/v1/flows/", JSON, server.credential, "Transfer-Encoding: chunked")
    body = b'{"name": "in pieces"}'
    assert server.ask(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)).statuses == [201]


def test_whoever_asks_before_sending_is_told_to_go_on(server: Server) -> None:
    body = b"username=langflow&password=securepassword"
    with connected(server.port) as connection:
        connection.sendall(request(LOGIN, FORM, f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(body)
        assert read_all(connection).statuses == [200]


def test_a_body_that_is_shorter_than_it_says_is_refused(server: Server) -> None:
    head = request("POST /api/v1/flows/", JSON, server.credential, "Content-Length: 100")
    assert server.ask(head + b'{"name": "short"}', ends=True).statuses == [400]


SMUGGLED = request("GET /api/v1/version")
FRAMINGS = {
    "two lengths": ["Content-Length: 5", "Content-Length: 5"],
    "two different lengths": ["Content-Length: 5", "Content-Length: 50"],
    "a list of lengths": ["Content-Length: 5, 5"],
    "a length below zero": ["Content-Length: -5"],
    "a length with a sign": ["Content-Length: +5"],
    "a length in another base": ["Content-Length: 0x5"],
    "a length that is none": ["Content-Length: five"],
    "an empty length": ["Content-Length:"],
    "a length in other digits": ["Content-Length: \xb2"],
    "a length and chunks": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "chunks and a length": ["Transfer-Encoding: chunked", "Content-Length: 5"],
    "chunks twice": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "chunks, and then something": ["Transfer-Encoding: chunked, identity"],
    "a coding that ends in no chunks": ["Transfer-Encoding: gzip"],
    "a coding that is none": ["Transfer-Encoding: xchunked"],
    "a coding behind a tab": ["Transfer-Encoding:\x0bchunked"],
    "a blank before the colon": ["Content-Length : 5"],
    "a folded line": ["X-Folded: a", " Content-Length: 5"],
    "a name with a blank": ["Content Length: 5"],
    "a header without a colon": ["nonsense"],
    "a line feed alone": ["X-One: a\nContent-Length: 5"],
    "a carriage return alone": ["X-One: a\rContent-Length: 5"],
    "NUL": ["X-One: a\x00b"],
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_body_with_no_one_length_is_refused_and_nothing_behind_it_is_answered(server: Server, framing: str) -> None:
    text = request("POST /api/v1/login", FORM, *FRAMINGS[framing]).replace(b"Connection: close\r\n", b"")
    statuses = server.ask(text + b"0\r\n\r\n" + SMUGGLED).statuses
    assert len(statuses) == 1
    assert statuses[0] in {400, 501}


@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"-1\r\n", b"0x5\r\nhello\r\n", b"5\nhello\n", b"5\r\nhello!\r\n", b"5;\x00\r\n"]
)
def test_a_chunk_that_is_none_is_refused_and_nothing_behind_it_is_answered(server: Server, body: bytes) -> None:
    head = request("POST /api/v1/flows/", JSON, server.credential, "Transfer-Encoding: chunked")
    statuses = server.ask(head.replace(b"Connection: close\r\n", b"") + body + SMUGGLED, ends=True).statuses
    assert len(statuses) == 1
    assert 400 <= statuses[0] < 500


TOO_LARGE = {
    "a request line": (414, request("GET /" + "a" * 8300)),
    "a line without an end": (431, b"GET /" + b"a" * 70_000),
    "many headers": (431, request("GET /health", *["a: b"] * 150)),
    "a long header": (431, request("GET /health", "X-Long: " + "a" * 17_000)),
    "many long headers": (431, request("GET /health", *["X-Long: " + "a" * 8_000] * 9)),
    "a name that is long": (431, request("GET /health", "a" * 17_000 + ": b")),
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_a_head_over_the_limits_is_refused(server: Server, what: str) -> None:
    status, text = TOO_LARGE[what]
    assert server.ask(text).statuses == [status]


@pytest.mark.parametrize(
    "text",
    [b"nonsense\r\n\r\n", request("GET /" + "a" * 8300), b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\r\n\r\n"],
    ids=["nonsense", "long", "version", "TLS"],
)  # fmt: skip
def test_what_is_no_request_is_answered_in_the_apis_words_with_its_headers(server: Server, text: bytes) -> None:
    answer = server.ask(text)
    assert set(answer.body) == {"detail"}
    for header in (
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: DENY",
        "Cache-Control: no-store",
        "default-src 'none'",
    ):
        assert header in answer.head


def test_the_server_tells_no_version_of_itself(server: Server) -> None:
    assert "\r\nServer: gunicorn\r\n" in server.ask(request("GET /health")).head + "\r\n"


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-Proto: https", "X-Forwarded-Ssl: on", "X-Forwarded-Protocol: ssl", "X-Forwarded-Host: evil.example",
     "X-Forwarded-Prefix: /evil", "SCRIPT_NAME: /flows", "Script-Name: /evil", "PATH_INFO: /health",
     "REMOTE_USER: langflow", "X-Forwarded-Port: 443"],
)  # fmt: skip
def test_a_neighbour_is_no_proxy(server: Server, header: str) -> None:
    plain, told = (server.ask(request("GET /flows", *headers)) for headers in ((), (header,)))
    of_each = ("Date: ", "X-Request-ID: ")
    assert [line for line in told.head.splitlines() if not line.startswith(of_each)] == [
        line for line in plain.head.splitlines() if not line.startswith(of_each)
    ]


def test_a_header_that_only_looks_like_a_proxys_is_not_read(server: Server) -> None:
    text = request("GET /health", "X_Forwarded_For: 203.0.113.66", "X_API_KEY: sk-nonsense")
    assert server.ask(text).statuses == [200]
    assert "203.0.113.66" not in server.process.output


def test_a_variables_header_may_have_underscores(server: Server) -> None:
    text = request("GET /api/v1/users/whoami", server.credential, "X-LANGFLOW-GLOBAL-VAR-OPENAI_API_KEY: value")
    assert server.ask(text).statuses == [200]


def test_many_parts_are_refused_and_hold_nobody_up(server: Server) -> None:
    parts = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n" * 20_000
    head = request(
        "POST /api/v2/files/",
        server.credential,
        "Content-Type: multipart/form-data; boundary=x",
        f"Content-Length: {len(parts)}",
    )
    answer = server.ask(head + parts)
    assert answer.statuses == [413]
    assert server.ask(request("GET /health")).statuses == [200]


@pytest.mark.parametrize("part", [
    b"--x\r\nX-Long: " + b"a" * 900_000, b"--x\r\n" + b"a: b\r\n" * 150_000, b"-" * 900_000,
    b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" + b"a" * 900_000,
], ids=["a long header", "many headers", "no part", "a long field"])  # fmt: skip
def test_a_part_over_the_limits_is_refused(server: Server, part: bytes) -> None:
    head = request(
        "POST /api/v2/files/",
        server.credential,
        "Content-Type: multipart/form-data; boundary=x",
        f"Content-Length: {len(part)}",
    )
    assert server.ask(head + part).statuses[0] in {400, 413}


def test_no_key_in_what_is_no_request_stands_in_the_log(server: Server) -> None:
    canary = "sk-" + "canary" * 7 + "c"
    for text in (
        f"GET /x?x-api-key={canary} HTTP/9.9\r\n\r\n", f"{canary}\r\n\r\n", f"GET {canary} HTTP/1.1\r\n\r\n",
        f"GET /health HTTP/1.1\r\nx-api-key {canary}\r\n\r\n", f"GET /health HTTP/1.1\r\n{canary} : a\r\n\r\n",
        f"GET /health HTTP/1.1\r\nContent-Length: {canary}\r\n\r\n", f"{canary} /health HTTP/1.1\r\n\r\n",
        f"GET /health HTTP/1.1\r\nExpect: {canary}\r\n\r\n",
        f"GET /health HTTP/1.1\r\nTransfer-Encoding: {canary}\r\n\r\n",
    ):  # fmt: skip
        assert server.ask(text.encode()).statuses[0] >= 400
    assert requests.get(f"http://127.0.0.1:{server.port}/health", timeout=60).ok
    printed = server.process.wait_for("Invalid request")
    assert canary not in printed
    assert "sk-***" in printed
