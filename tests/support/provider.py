"""A model provider on loopback: speaks OpenAI's Chat Completions (also the forms that Azure, Google, Groq and Ollama
have of it) and Anthropic's Messages, and fails in the ways that providers fail.

As a server of its own: ``python -m tests.support.provider --port 8100``; the last user message decides what happens
there (``!401``, ``!429``, ``!500``, ``!cut``, ``!slow``), anything else is answered with ``You said: ...``.

Tools: lines ``!tool NAME {"json": 1}`` in the last user message are called one after the other, and then the answer
is ``Tool said: ...``. A tool that has to be called gets the last user message as its arguments when that is JSON, or
something that fits its schema.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
CALL = "!tool "
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: Json


@dataclass
class Provider:
    """What the server will do next, and what it has seen.

    Args:
        pieces: the answer; a stream sends one chunk for each.
        failures: used up first, one for each request: a status, ``"cut"``, ``"slow"``, ``"garbage"``,
            ``"drip"`` (signs of life, and never an answer), ``"hold"`` (signs of life until ``go_on``, then the
            answer) or ``"error"`` (in the middle of a stream).
        reason: the provider's words in a failure.
        retry_after: the header of a failure.
        headers: more of them.
        cached: tokens of the prompt that Anthropic's cache gave.
        call_pieces: tool calls of a stream of OpenAI's, piece by piece, as some servers send them.
    """

    pieces: tuple[str, ...] = ()
    failures: deque[int | str] = field(default_factory=deque)
    reason: str = "The provider says no."
    retry_after: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cached: int = 0
    call_pieces: tuple[Json, ...] = ()
    requests: list[Seen] = field(default_factory=list)
    #: Set when the first request has arrived.
    arrived: threading.Event = field(default_factory=threading.Event)
    #: Set by the server when a client has gone away in the middle of a stream.
    abandoned: threading.Event = field(default_factory=threading.Event)
    #: While it is clear, a stream waits after its first chunk, a slow answer waits altogether, a dripping one drips.
    go_on: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    @property
    def last(self) -> Seen:
        return self.requests[-1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for an acknowledgement
    provider: Provider

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionResetError:  # a client that hung up between two requests
            self.close_connection = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.provider.requests.append(Seen(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.provider.arrived.set()
        failure = self._failure(body)
        try:
            if isinstance(failure, int):
                self._refuse(failure)
            elif failure == "garbage":
                self._send_bytes(200, b"<html>not the answer</html>", "text/html")
            elif failure == "slow":
                self.provider.go_on.wait(30)
            elif failure == "drip":
                self._drip(stream=bool(body.get("stream")))
            elif failure == "hold":
                self._hold(body)
            elif self._is_message() and failure != "cut":
                self._message(_as_openai(body), stream=bool(body.get("stream")), cut=failure)
            elif body.get("stream"):
                self._stream(body, cut=failure)
            elif failure == "cut":
                self.close_connection = True
            else:
                self._answer(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            self.provider.abandoned.set()

    def _drip(self, *, stream: bool) -> None:
        self._begin("text/event-stream" if stream else "application/json")
        ping = b'event: ping\ndata: {"type": "ping"}\n\n' if self._is_message() else b": keep-alive\n\n"
        for _ in range(1000):
            if self.provider.go_on.wait(0.01):
                return
            self.wfile.write(ping if stream else b" ")

    def _hold(self, body: Json) -> None:
        """Blanks in front of a JSON text belong to it; and whoever hangs up is noticed."""
        self._begin("application/json")
        for _ in range(6000):
            self.wfile.write(b" ")
            if self.provider.go_on.wait(0.01):
                break
        message: Json = {"role": "assistant", "content": "".join(self._pieces(body)), "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        self.wfile.write(json.dumps(_completion(body, "chat.completion", [choice]) | {"usage": USAGE}).encode())

    def _is_message(self) -> bool:
        return self.path.partition("?")[0].endswith("/messages")

    def _begin(self, kind: str) -> None:
        """The head of an answer whose length is not known."""
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

    def _failure(self, body: Json) -> int | str | None:
        if self.provider.failures:
            return self.provider.failures.popleft()
        said = _said(body)
        if not said.startswith("!") or said.startswith(CALL):
            return None
        return int(said[1:]) if said[1:].isdigit() else said[1:]

    def _refuse(self, status: int) -> None:
        error = {"error": {"message": self.provider.reason, "type": "error", "code": None, "param": None}}
        self._send(status, error)

    def _send(self, status: int, content: Json) -> None:
        self._send_bytes(status, json.dumps(content).encode(), "application/json")

    def _send_bytes(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        if self.provider.retry_after is not None:
            self.send_header("retry-after", self.provider.retry_after)
        for name, value in self.provider.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, body: Json) -> None:
        call = _call(body)
        if call is None:
            message: Json = {"role": "assistant", "content": "".join(self._pieces(body)), "refusal": None}
        else:
            message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
        reason = "stop" if call is None else "tool_calls"
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
        self._send(200, _completion(body, "chat.completion", [choice]) | {"usage": USAGE})

    def _pieces(self, body: Json) -> tuple[str, ...]:
        last = body["messages"][-1]
        if last["role"] == "tool":
            return ("Tool said: ", str(last["content"]))
        return self.provider.pieces or ("You said: ", _said(body))

    def _stream(self, body: Json, *, cut: str | None) -> None:
        self._begin("text/event-stream")
        call = _call(body)
        if self.provider.call_pieces:
            for piece in self.provider.call_pieces:
                self._event(body, [_delta({"tool_calls": [piece]}, None)])
            self._finish(body, "tool_calls")
            return
        if call is not None:
            self._stream_call(body, call)
            return
        for at, piece in enumerate(self._pieces(body)):
            self._event(body, [_delta({"content": piece}, None)])
            if at == 0 and cut == "error":
                self._event(body, [], error={"message": self.provider.reason})
            if at == 0 and cut:
                return
            if at == 0:
                self.provider.go_on.wait(30)
        self._finish(body, "stop")

    def _stream_call(self, body: Json, call: Json) -> None:
        """A tool call in pieces, as OpenAI sends it: the name first, then the arguments bit by bit."""
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        begun = {"index": 0, "id": call["id"], "type": "function", "function": {"name": name, "arguments": ""}}
        self._event(body, [_delta({"content": None, "tool_calls": [begun]}, None)])
        for start in range(0, len(arguments), 7):
            piece = {"index": 0, "function": {"arguments": arguments[start : start + 7]}}
            self._event(body, [_delta({"tool_calls": [piece]}, None)])
        self._finish(body, "tool_calls")

    def _message(self, body: Json, *, stream: bool, cut: str | None) -> None:
        """Anthropic's answer to the same conversation."""
        call = _call(body)
        blocks: list[Json] = [{"type": "text", "text": piece} for piece in self._pieces(body)]
        if call is not None:
            function = call["function"]
            arguments = json.loads(function["arguments"])
            blocks = [{"type": "tool_use", "id": call["id"], "name": function["name"], "input": arguments}]
        reason = "tool_use" if call is not None else "end_turn"
        whole = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None,
            "content": blocks, "stop_reason": reason,
            "usage": {"input_tokens": 7, "output_tokens": 5, "cache_read_input_tokens": self.provider.cached},
        }  # fmt: skip
        if not stream:
            self._send(200, whole)
            return
        self._begin("text/event-stream")
        self._named("message_start", {"message": {**whole, "content": [], "stop_reason": None}})
        for at, block in enumerate(blocks):
            self._block(at, block)
            if at == 0 and cut == "error":
                self._named("error", {"error": {"type": "overloaded_error", "message": self.provider.reason}})
            if at == 0 and cut:
                return
            if at == 0:
                self.provider.go_on.wait(30)
        self._named("message_delta", {"delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}})
        self._named("message_stop", {})

    def _block(self, at: int, block: Json) -> None:
        text = block["type"] == "text"
        begun = {**block, "text": ""} if text else {**block, "input": {}}
        self._named("content_block_start", {"index": at, "content_block": begun})
        whole = block["text"] if text else json.dumps(block["input"])
        kind, name = ("text_delta", "text") if text else ("input_json_delta", "partial_json")
        size = len(whole) if text else 7
        for start in range(0, len(whole), size or 1):
            delta = {"type": kind, name: whole[start : start + size]}
            self._named("content_block_delta", {"index": at, "delta": delta})
        self._named("content_block_stop", {"index": at})

    def _named(self, name: str, content: Json) -> None:
        self.wfile.write(f"event: {name}\ndata: {json.dumps({'type': name, **content})}\n\n".encode())
        self.wfile.flush()

    def _finish(self, body: Json, reason: str) -> None:
        self._event(body, [_delta({}, reason)])
        if body.get("stream_options", {}).get("include_usage"):
            self._event(body, [], usage=USAGE)
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, body: Json, choices: list[Json], **more: object) -> None:
        part = _completion(body, "chat.completion.chunk", choices) | more
        self.wfile.write(f"data: {json.dumps(part)}\n\n".encode())
        self.wfile.flush()


def _as_openai(body: Json) -> Json:
    """A request of Anthropic's in the other protocol's words, as far as the answer depends on it."""
    turns: list[Json] = []
    for turn in body["messages"]:
        for block in (
            turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
        ):
            if block["type"] == "tool_result":
                turns.append({"role": "tool", "content": block["content"]})
            elif block["type"] == "tool_use":
                turns.append({"role": "assistant", "content": None, "tool_calls": [block]})
            elif block["type"] == "text":
                turns.append({"role": turn["role"], "content": block["text"]})
    forced = body.get("tool_choice")
    tools = [{"function": {"name": t["name"], "parameters": t["input_schema"]}} for t in body.get("tools", [])]
    choice = {"function": {"name": forced["name"]}} if forced and forced.get("type") == "tool" else None
    return {"model": body["model"], "messages": turns, "tools": tools, "tool_choice": choice}


def _said(body: Json) -> str:
    turns = [turn["content"] for turn in body.get("messages", []) if turn.get("role") == "user"]
    said = turns[-1] if turns else ""
    return said if isinstance(said, str) else "".join(part.get("text", "") for part in said)


def _call(body: Json) -> Json | None:
    """The tool call that the conversation asks for next."""
    forced = body.get("tool_choice")
    turns = body.get("messages", [])
    if isinstance(forced, dict) and not _said(body).startswith(CALL):
        return _tool_call(1, forced["function"]["name"], _arguments(body, forced["function"]["name"]))
    lines = [line for line in _said(body).splitlines() if line.startswith(CALL)] if body.get("tools") else []
    at = max((place for place, turn in enumerate(turns) if turn["role"] == "user"), default=0)
    done = sum(1 for turn in turns[at:] if turn.get("tool_calls"))
    if done >= len(lines):
        return None
    name, _, arguments = lines[done].removeprefix(CALL).partition(" ")
    return _tool_call(done + 1, name, arguments or "{}")


def _arguments(body: Json, name: str) -> str:
    """The last user message when it is a JSON object, else something that fits the tool's schema."""
    said = _said(body)
    if said.startswith("{"):
        return said
    schema = next(tool["function"]["parameters"] for tool in body["tools"] if tool["function"]["name"] == name)
    return json.dumps(_sample(schema))


def _sample(schema: Json) -> Any:
    kind = schema.get("type")
    if kind == "object":
        return {name: _sample(inner) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [_sample(schema.get("items", {}))]
    return {"integer": 1, "number": 1.5, "boolean": True}.get(str(kind), "a word")


def _tool_call(number: int, name: str, arguments: str) -> Json:
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _completion(body: Json, kind: str, choices: list[Json]) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body.get("model"), "choices": choices}


def _delta(content: Json, reason: str | None) -> Json:
    return {"index": 0, "delta": {"role": "assistant", **content}, "finish_reason": reason, "logprobs": None}


def _server(provider: Provider, port: int) -> ThreadingHTTPServer:
    handler = type("Handler", (_Handler,), {"provider": provider})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    provider.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    provider.go_on.set()
    return server


@contextmanager
def serving(port: int = 0) -> Iterator[Provider]:
    """A running provider; as a fixture: ``with serving() as provider: yield provider``."""
    provider = Provider()
    server = _server(provider, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def main() -> None:
    parser = argparse.ArgumentParser(description="A model provider on loopback, for tests and demonstrations.")
    parser.add_argument("--port", type=int, default=8100)
    provider = Provider()
    server = _server(provider, parser.parse_args().port)
    print(f"serving {provider.url}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
