"""The shipped nginx.conf, in a real nginx in front of a real gunicorn."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import PASSWORD, SUPERUSER
from tests.deployment.conftest import Place, json_of, read_until
from tests.support import nginx
from tests.support.mcp import BOTH, META, request_of
from tests.support.nginx import NAME, Nginx
from tests.support.waiting import until

CANARY = "sk-canary-that-no-log-may-show"
STRANGER = "203.0.113.9"


def connect(front: Nginx, name: str = NAME) -> ssl.SSLSocket:
    """A connection that speaks TLS, for requests that no HTTP library sends."""
    trust = ssl.create_default_context(cafile=str(front.folder / "fullchain.pem"))
    trust.check_hostname = False
    plain = socket.create_connection(("127.0.0.1", front.https), timeout=60)
    return trust.wrap_socket(plain, server_hostname=name)


def raw(front: Nginx, head: str) -> str:
    """Send a head as it is, and return the whole answer."""
    with connect(front) as tls:
        tls.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return b"".join(iter(lambda: tls.recv(65_536), b"")).decode()


def test_the_first_token_of_a_stream_arrives_before_the_provider_has_sent_its_last(place: Place) -> None:
    place.provider.go_on.clear()
    stream = place.stream()
    read_until(stream, b'"token"')
    assert not place.provider.go_on.is_set()
    place.provider.go_on.set()
    read_until(stream, b'"event": "end"')


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_http_2_carries_a_stream_as_it_comes_and_a_name_with_underscores(place: Place) -> None:
    place.provider.go_on.clear()
    command = ["curl", "--silent", "--no-buffer", "--http2", "--write-out", "%{http_version}", "--max-time", "60"]
    command += ["--cacert", str(place.nginx.folder / "fullchain.pem"), "--json", '{"input_value": "hi"}']
    command += ["--connect-to", f"{NAME}:443:127.0.0.1:{place.nginx.https}", "--header", f"x-api-key: {place.key}"]
    command += ["--header", "X-LANGFLOW-GLOBAL-VAR-OPENAI_API_KEY: sk-of-this-one"]
    with subprocess.Popen([*command, f"https://{NAME}/api/v1/run/flow?stream=true"], stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        read_until(curl.stdout, b'"token"')
        place.provider.go_on.set()
        assert curl.stdout.read().endswith(b"\n2")
    assert place.provider.last.headers["authorization"] == "Bearer sk-of-this-one"


def test_a_client_that_goes_away_from_nginx_ends_the_call_to_the_model(place: Place) -> None:
    place.provider.go_on.clear()
    place.provider.abandoned.clear()
    place.provider.pieces = ("first",) + ("x" * 4000,) * 2000
    stream = place.stream()
    read_until(stream, b'"token"')
    stream.close()
    place.provider.go_on.set()
    assert place.provider.abandoned.wait(30)


def test_the_older_mcp_stream_is_handed_on_as_it_comes(place: Place) -> None:
    stream = place.ask("GET", "/api/v1/mcp/sse", preload_content=False)
    endpoint = read_until(stream, b"\n\n").decode().partition("data: ")[2].strip()
    assert place.ask("POST", endpoint, json=request_of("ping", number=7)).status == 202
    assert '"id": 7' in read_until(stream, b"event: message").decode().replace('":7', '": 7')
    stream.close()


def test_an_mcp_client_gets_its_answer(place: Place) -> None:
    answer = place.ask("POST", "/api/v1/mcp/streamable", {"Accept": BOTH}, json=request_of("ping", {"_meta": META}))
    assert answer.status == 200, answer.data


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X_Forwarded_For", "X-Forwarded_For", "Forwarded", "X-Real-IP"])
def test_what_a_client_says_about_its_address_is_not_believed(place: Place, name: str) -> None:
    made = place.ask("POST", "/api/v1/api_key/", {name: STRANGER}, json={"name": f"of {name}"})
    assert made.status == 200, made.data
    last = json_of(place.ask("GET", "/api/v1/audit?limit=1"))
    assert STRANGER not in json.dumps(last)
    assert '"127.0.0.1"' in json.dumps(last)


def test_a_value_for_one_run_comes_through_although_its_name_has_underscores(place: Place) -> None:
    headers = {"X-LANGFLOW-GLOBAL-VAR-OPENAI_API_KEY": "sk-of-this-request"}
    assert place.ask("POST", "/api/v1/run/flow", headers, json={"input_value": "hi"}).status == 200
    assert place.provider.last.headers["authorization"] == "Bearer sk-of-this-request"


def test_cookies_are_for_https_alone(place: Place) -> None:
    fields = {"username": SUPERUSER, "password": PASSWORD}
    answer = place.nginx.ask("POST", "/api/v1/login", fields=fields, encode_multipart=False)
    cookies = answer.headers.getlist("Set-Cookie")
    assert len(cookies) == 2
    assert all("; Secure" in cookie for cookie in cookies)


def test_a_form_of_its_own_page_is_let_in_and_one_of_another_is_not(place: Place) -> None:
    fields = {"username": SUPERUSER, "password": PASSWORD}
    statuses = {
        origin: place.nginx.ask("POST", "/login", {"Origin": origin}, fields=fields, encode_multipart=False,
                                redirect=False).status
        for origin in (place.nginx.origin, "https://elsewhere.example")
    }  # fmt: skip
    assert statuses == {place.nginx.origin: 303, "https://elsewhere.example": 403}


@pytest.mark.parametrize("path", ["/api/v1/users/whoami", "/v1/models"])
def test_a_client_of_the_api_without_tls_is_refused_and_told_why(place: Place, path: str) -> None:
    answer = place.nginx.ask_in_the_clear(f"{path}?x-api-key={CANARY}")
    assert (answer.status, json_of(answer)) == (403, {"detail": "Use https"})


def test_a_person_without_tls_gets_to_the_start_page_and_leaves_the_query_behind(place: Place) -> None:
    answer = place.nginx.ask_in_the_clear(f"/keys?x-api-key={CANARY}")
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{NAME}/")


def test_other_names_get_no_answer(place: Place) -> None:
    with pytest.raises(ssl.SSLError):
        connect(place.nginx, "elsewhere.example")
    assert raw(place.nginx, "GET / HTTP/1.1\nHost: elsewhere.example") == ""


def test_keyturn_itself_says_that_a_body_is_too_large(place: Place) -> None:
    body = b'{"input_value": "' + b"x" * 17_000_000 + b'"}'
    answer = place.ask("POST", "/api/v1/run/flow", {"Content-Type": "application/json"}, body=body)
    assert answer.status == 413, answer.data
    assert "X-Request-ID" in answer.headers


def test_a_body_that_nobody_would_take_is_refused_unread(place: Place) -> None:
    head = f"POST /api/v1/run/flow HTTP/1.1\nHost: {NAME}\nContent-Length: 200000000\nConnection: close"
    answer = raw(place.nginx, head)
    assert answer.startswith("HTTP/1.1 413 ")
    assert json.loads(answer.partition("\r\n\r\n")[2]) == {"detail": "Request Entity Too Large"}


def test_a_file_of_twenty_megabytes_goes_through(place: Place) -> None:
    content = b"x" * 20_000_000
    answer = place.ask("POST", "/api/v2/files/", fields={"file": ("large.txt", content, "text/plain")})
    assert answer.status == 201, answer.data


def test_fifty_slow_clients_keep_nobody_out(place: Place) -> None:
    begun = f"POST /api/v1/run/flow HTTP/1.1\r\nHost: {NAME}\r\nx-api-key: {place.key}\r\n"
    with ExitStack() as stack:
        for at in range(50):
            tls = stack.enter_context(connect(place.nginx))
            # Half of them never end their head, and half never their body.
            body = "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{" if at % 2 else ""
            tls.sendall((begun + body).encode())
        assert place.ask("GET", "/api/v1/users/whoami").status == 200


@pytest.mark.parametrize(
    "path",
    ["/ready", "/ready/", "//ready", "/%72eady", "/x/../ready", "/x/..%2fready", "/metrics", "/metrics/"],
)
def test_what_is_for_the_operator_is_not_to_be_had_from_outside(place: Place, path: str) -> None:
    answer = raw(place.nginx, f"GET {path} HTTP/1.1\nHost: {NAME}\nConnection: close")
    assert answer.startswith("HTTP/1.1 404 ")
    assert "X-Request-ID" not in answer


def test_a_client_cannot_move_the_path_away_from_what_nginx_has_judged(place: Place) -> None:
    answer = raw(place.nginx, f"GET /x/ready HTTP/1.1\nHost: {NAME}\nSCRIPT_NAME: /x\nConnection: close")
    assert answer.startswith("HTTP/1.1 404 ")


def test_a_host_that_is_no_address_breaks_nothing(place: Place) -> None:
    origin = "Origin: http://127.0.0.1:99"
    head = f"POST /api/v1/mcp/streamable HTTP/1.1\nHost: {{host}}\n{origin}\nContent-Length: 0\nConnection: close"
    answers = [raw(place.nginx, head.format(host=host))[:12] for host in (NAME, f"{NAME}:")]
    assert answers == ["HTTP/1.1 403"] * 2


def test_a_reload_ends_no_stream_and_refuses_nobody(place: Place) -> None:
    place.provider.go_on.clear()
    before = set(place.server.workers)
    stream = place.stream()
    read_until(stream, b'"token"')
    place.server.send(signal.SIGHUP)
    until(lambda: set(place.server.workers) - before, seconds=60)
    assert place.ask("GET", "/api/v1/users/whoami").status == 200
    place.provider.go_on.set()
    read_until(stream, b'"event": "end"')
    until(lambda: set(place.server.workers) & before, lambda left: not left, 60)


def test_no_log_of_nginx_has_a_key(place: Place) -> None:
    headers = {"Referer": f"{place.nginx.origin}/?x-api-key={CANARY}"}
    assert place.nginx.ask("GET", f"/api/v1/users/whoami?x-api-key={CANARY}", headers).status == 403
    place.nginx.ask_in_the_clear(f"/api/v1/users/whoami?x-api-key={CANARY}")
    logs = until(place.nginx.logs, lambda text: '"path":"/api/v1/users/whoami","status":403' in text)
    assert CANARY not in logs
    assert place.key not in logs


@pytest.fixture
def alone() -> Iterator[Nginx]:
    """nginx with nothing behind it."""
    with tempfile.TemporaryDirectory() as name, nginx.serving(Path(name), Path(name) / "none.sock") as made:
        yield made


def test_without_keyturn_a_client_is_told_to_try_again_and_no_log_has_its_key(alone: Nginx) -> None:
    answer = alone.ask("GET", f"/api/v1/users/whoami?x-api-key={CANARY}")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert json_of(answer) == {"detail": "The server is being restarted"}
    logs = until(alone.logs, lambda text: '"path":"/api/v1/users/whoami","status":503' in text)
    assert CANARY not in logs
