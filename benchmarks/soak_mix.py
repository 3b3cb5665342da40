"""The requests of a soak: everything that clients do, the wrong things included."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.support import flows

Json = dict[str, Any]
SUPERUSER, PASSWORD = "administrator", "soak-password-5e1d"
PAGES = ("/flows", "/settings/api-keys", "/settings/global-variables", "/settings/usage", "/settings/api-keys/new")
_BOUNDARY = "soak-boundary"
_TO_MCP = {"accept": "application/json, text/event-stream"}


@dataclass
class Place:
    """A server under load, what was made in it beforehand, and what was sent so far."""

    port: int
    key: str = ""
    limited_key: str = ""
    token: str = ""
    chat: str = ""
    slow: str = ""
    echo: str = ""
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str, status: int, wanted: tuple[int, ...], body: bytes) -> None:
        """Count an answer, and remember one that should not have been."""
        with self.lock:
            self.sent += 1
            self.statuses[status] += 1
            if status not in wanted and len(self.wrong) < 20:
                self.wrong.append(f"{what}: {status} {body[-300:]!r}")


class Caller:
    """One client with a connection that it keeps."""

    def __init__(self, place: Place, seed: int) -> None:
        self.place, self.random = place, random.Random(seed)
        self._connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=60)

    def ask(self, method: str, path: str, content: object = None, *, key: str | None = "", wanted: int = 200,
            kind: str = "application/json", headers: dict[str, str] | None = None) -> Any:  # fmt: skip
        """Send a request; returns the answer's JSON where it is that, else its bytes."""
        sent = {"content-type": kind, **(headers or {})}
        if key is not None:
            sent["x-api-key"] = key or self.place.key
        body = content if isinstance(content, bytes) or content is None else json.dumps(content).encode()
        status, text, answered = self._exchange(method, path, body, sent)
        self.place.note(f"{method} {path}", status, (wanted,), text)
        return json.loads(text) if answered.startswith("application/json") and text else text

    def _exchange(self, method: str, path: str, body: bytes | None, sent: dict[str, str]) -> tuple[int, bytes, str]:
        for attempt in range(2):
            try:
                self._connection.request(method, path, body, sent)
                answer = self._connection.getresponse()
                return answer.status, answer.read(), answer.headers.get("content-type", "")
            except (http.client.RemoteDisconnected, ConnectionError):
                # The server had closed a connection that was kept for too long.
                self._connection.close()
                if attempt:
                    raise
        raise AssertionError("unreachable")

    def hang_up(self, path: str, content: object, mark: bytes) -> None:
        """Send a request and go away once ``mark`` has come."""
        body = json.dumps(content).encode()
        head = (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                f"x-api-key: {self.place.key}\r\nContent-Length: {len(body)}\r\n\r\n")  # fmt: skip
        seen = b""
        with socket.create_connection(("127.0.0.1", self.place.port), timeout=60) as connection:
            connection.sendall(head.encode() + body)
            while mark not in seen:
                piece = connection.recv(65536)
                if not piece:
                    break
                seen += piece
        status = int(seen[9:12] or b"0")
        self.place.note(f"hang up {path}", status if mark in seen else 0, (200,), seen)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def occupy(place: Place, threads: int) -> None:
    """Have so many requests answered at the same time, so that every thread of the server's pools has begun."""

    def ask(seed: int) -> None:
        caller = Caller(place, seed)
        for _ in range(3):
            _sign_in(caller)
        caller.close()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, range(threads)))


def _sign_in(caller: Caller) -> Any:
    form = f"username={SUPERUSER}&password={PASSWORD}".encode()
    return caller.ask("POST", "/api/v1/login", form, key=None, kind="application/x-www-form-urlencoded")


def prepare(place: Place) -> None:
    """Sign in, and make what the requests ask for."""
    caller = Caller(place, 0)
    tokens = _sign_in(caller)
    place.token = tokens["access_token"]
    bearer = {"authorization": f"Bearer {place.token}"}
    place.key = caller.ask("POST", "/api/v1/api_key/", {"name": "soak"}, key=None, headers=bearer)["api_key"]
    limits = {"rate_limit": {"requests": 1_000_000, "window_seconds": 60}, "max_parallel_runs": 100}
    place.limited_key = caller.ask("POST", "/api/v1/api_key/", {"name": "limited", **limits})["api_key"]
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        body = {"name": name, "value": "sk-of-nobody", "type": "Credential", "default_fields": []}
        caller.ask("POST", "/api/v1/variables/", body, wanted=201)
    for number in range(20):
        body = {"name": f"V{number}", "value": "a", "type": "Generic", "default_fields": []}
        caller.ask("POST", "/api/v1/variables/", body, wanted=201)
    slow = flows.language_model(provider="Anthropic", model="claude-sonnet-4-5",
                                key=flows.secret(value="ANTHROPIC_API_KEY", variable=True))  # fmt: skip
    place.chat = _new_flow(caller, flows.chat_with_model(), "chat")
    place.slow = _new_flow(caller, flows.chat_with_model(slow), "slow")
    place.echo = _new_flow(caller, flows.echo(), "echo", mcp_enabled=True, access_type="PUBLIC")
    caller.close()


def _new_flow(caller: Caller, data: Json, name: str, **more: object) -> str:
    made = caller.ask(
        "POST", "/api/v1/flows/", {"name": name, "endpoint_name": name, "data": data, **more}, wanted=201
    )
    return str(made["id"])


def _name(caller: Caller) -> str:
    return f"n{caller.random.getrandbits(64):x}"


def whoami(caller: Caller) -> None:
    caller.ask("GET", "/api/v1/users/whoami")


def whoami_limited(caller: Caller) -> None:
    caller.ask("GET", "/api/v1/users/whoami", key=caller.place.limited_key)


def variables(caller: Caller) -> None:
    caller.ask("GET", "/api/v1/variables/")


def run(caller: Caller) -> None:
    caller.ask("POST", "/api/v1/run/echo", {"input_value": "hello", "session_id": f"s{caller.random.randrange(50)}"})


def run_limited(caller: Caller) -> None:
    caller.ask("POST", "/api/v1/run/echo", {"input_value": "hello"}, key=caller.place.limited_key)


def streamed(caller: Caller) -> None:
    caller.ask("POST", "/api/v1/run/chat?stream=true", {"input_value": "hello"})


def responses(caller: Caller) -> None:
    caller.ask("POST", "/v1/responses", {"model": "chat", "input": "hello", "stream": True})


def completions(caller: Caller) -> None:
    caller.ask("POST", "/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": "hello"}]})


def hung_up(caller: Caller) -> None:
    caller.hang_up("/api/v1/run/slow?stream=true", {"input_value": "hello"}, b'"token"')


def hung_up_mcp(caller: Caller) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    caller.hang_up("/api/v1/mcp/streamable", body, b"HTTP/1.1 200")


def life_of_a_key(caller: Caller) -> None:
    made = caller.ask("POST", "/api/v1/api_key/", {"name": "short"})
    caller.ask("GET", "/api/v1/users/whoami", key=made["api_key"])
    new = caller.ask("POST", f"/api/v1/api_key/{made['id']}/rotate", {"grace_seconds": 60})
    caller.ask("GET", "/api/v1/users/whoami", key=new["api_key"])
    caller.ask("DELETE", f"/api/v1/api_key/{made['id']}")
    caller.ask("GET", "/api/v1/users/whoami", key=new["api_key"], wanted=403)


def life_of_a_variable(caller: Caller) -> None:
    body = {"name": _name(caller), "value": "secret", "type": "Credential", "default_fields": []}
    made = caller.ask("POST", "/api/v1/variables/", body, wanted=201)
    caller.ask("PATCH", f"/api/v1/variables/{made['id']}", {"id": made["id"], "value": "another"})
    caller.ask("DELETE", f"/api/v1/variables/{made['id']}", wanted=204)


def life_of_a_flow(caller: Caller) -> None:
    name = _name(caller)
    made = _new_flow(caller, flows.prompt_chain(3), name)
    caller.ask("POST", f"/api/v1/run/{name}", {"input_value": "hello"})
    caller.ask("DELETE", f"/api/v1/flows/{made}")


def life_of_a_file(caller: Caller) -> None:
    part = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{_name(caller)}.txt"\r\n'
    body = part.encode() + b"Content-Type: text/plain\r\n\r\n" + b"x" * 700_000 + f"\r\n--{_BOUNDARY}--\r\n".encode()
    made = caller.ask("POST", "/api/v2/files/", body, wanted=201, kind=f"multipart/form-data; boundary={_BOUNDARY}")
    caller.ask("GET", f"/api/v2/files/{made['id']}")
    caller.ask("DELETE", f"/api/v2/files/{made['id']}")


def session(caller: Caller) -> None:
    form = f"username={SUPERUSER}&password={PASSWORD}".encode()
    tokens = caller.ask("POST", "/api/v1/login", form, key=None, kind="application/x-www-form-urlencoded")
    bearer = {"authorization": f"Bearer {tokens['access_token']}"}
    caller.ask("GET", "/api/v1/users/whoami", key=None, headers=bearer)
    caller.ask("POST", "/api/v1/logout", key=None, headers=bearer)


def page(caller: Caller) -> None:
    cookie = {"cookie": f"access_token_lf={caller.place.token}"}
    caller.ask("GET", caller.random.choice(PAGES), key=None, headers=cookie)


def bad_key(caller: Caller) -> None:
    key = caller.random.choice(["sk-nothing", f"sk-{uuid.uuid4().hex}", "é" * 20])
    caller.ask("GET", f"/api/v1/users/whoami?x-api-key={quote(key)}", key=None, wanted=403)


def bad_json(caller: Caller) -> None:
    caller.ask("POST", "/api/v1/run/echo", b'{"input_value": ', wanted=422)


def missing(caller: Caller) -> None:
    caller.ask("GET", f"/api/v1/flows/{uuid.uuid4()}", wanted=404)
    caller.ask("GET", f"/api/v1/{_name(caller)}", wanted=404)


def tools(caller: Caller) -> None:
    caller.ask("POST", "/api/v1/mcp/streamable", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers=_TO_MCP)


def tool(caller: Caller) -> None:
    asked = {"name": "echo", "arguments": {"input_value": "hello"}, "_meta": {"progressToken": 1}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked}
    caller.ask("POST", "/api/v1/mcp/streamable", body, headers=_TO_MCP | {"Mcp-Session-Id": _name(caller)})


def legacy_stream(caller: Caller) -> None:
    """Open a stream of MCP's older transport, ask something, read the answer, and go away."""
    place = caller.place
    with socket.create_connection(("127.0.0.1", place.port), timeout=60) as connection:
        connection.sendall(f"GET /api/v1/mcp/sse HTTP/1.1\r\nHost: a\r\nx-api-key: {place.key}\r\n\r\n".encode())
        seen = b""
        while b"session_id=" not in seen or not seen.endswith(b"\r\n"):
            piece = connection.recv(65536)
            if not piece:
                break
            seen += piece
        # All of them may be taken for a moment.
        place.note("GET /api/v1/mcp/sse", int(seen[9:12] or b"0"), (200, 429), seen)
        if b" 200 " not in seen[:20]:
            return
        token = seen.partition(b"session_id=")[2].split()[0].decode()
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        caller.ask("POST", f"/api/v1/mcp/?session_id={token}", body, wanted=202)
        while b'"jsonrpc"' not in seen and (piece := connection.recv(65536)):
            seen += piece


def job(caller: Caller) -> None:
    started = caller.ask("POST", "/api/v1/run/echo", {"input_value": "hello", "background": True}, wanted=202)
    caller.ask("GET", f"/api/v1/jobs/{started['id']}")
    if caller.random.random() < 0.3:
        caller.ask("POST", f"/api/v1/jobs/{started['id']}/cancel")


#: How often each comes, in parts of the whole.
MIX: dict[Callable[[Caller], None], int] = {
    whoami: 200, whoami_limited: 30, variables: 70, run: 120, run_limited: 20, streamed: 60, responses: 20,
    completions: 20, hung_up: 15, hung_up_mcp: 10, life_of_a_key: 20, life_of_a_variable: 20, life_of_a_flow: 20,
    life_of_a_file: 15, session: 8, page: 60, bad_key: 50, bad_json: 30, missing: 20, tools: 25, tool: 25,
    legacy_stream: 6, job: 20,
}  # fmt: skip
