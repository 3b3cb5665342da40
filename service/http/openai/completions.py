"""A run as a chat completion (OpenAI's Chat Completions API): whole, or chunk by chunk.

The shapes are those of the official SDK's ``openai.types.chat``. A completion has one text, so that the outputs of a
flow with several follow one another with an empty line between.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.domain.ports import Event, TokenUsage
from service.http.openai.said import Json, said_in

_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class Head:
    """What every chunk of a completion says of it."""

    model: str
    with_usage: bool
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))


def completion(head: Head, ended: Mapping[str, Any]) -> Json:
    """The whole completion, from what a run's ``end`` brings."""
    text = _BETWEEN.join(said.text for said in said_in(ended["outputs"]))
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _body(head, "chat.completion", [choice]) | {"usage": _usage(ended["tokens"])}


class CompletionChunks:
    """The chunks of one completion while it comes about."""

    __slots__ = ("_head", "_last", "_said")

    def __init__(self, head: Head) -> None:
        self._head = head
        #: What was told of each of the run's messages, and of which one last.
        self._said: dict[str, str] = {}
        self._last: str | None = None

    def begin(self) -> Iterator[Json]:
        """What comes before the run's first event."""
        yield self._chunk({"role": "assistant", "content": ""})

    def follow(self, event: Event) -> Iterator[Json]:
        """What one event of the run comes to."""
        data: Any = event.data
        if event.name == "token":
            yield from self._add(data["id"], data["chunk"])
        elif event.name == "end":
            for said in said_in(data["outputs"]):
                key = said.message_id or uuid.uuid4().hex
                told = self._said.get(key, "")
                if said.text.startswith(told):
                    yield from self._add(key, said.text[len(told) :])
            yield self._chunk({}, "stop")
            if self._head.with_usage:
                yield _body(self._head, "chat.completion.chunk", []) | {"usage": _usage(data["tokens"])}

    def fail(self, message: str, code: str) -> Iterator[Json]:
        """The last thing that is sent of a run that has failed; the SDK raises ``APIError`` for it."""
        yield {"error": {"message": message, "type": "server_error", "param": None, "code": code}}

    def _add(self, key: str, text: str) -> Iterator[Json]:
        if not text:
            return
        between = _BETWEEN if self._last not in (None, key) else ""
        self._said[key], self._last = self._said.get(key, "") + text, key
        yield self._chunk({"content": between + text})

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _body(self._head, "chat.completion.chunk", [choice])


def _body(head: Head, kind: str, choices: list[Json]) -> Json:
    return {"id": head.id, "object": kind, "created": head.created, "model": head.model, "choices": choices}


def _usage(tokens: TokenUsage | None) -> Json | None:
    if tokens is None:
        return None
    return {
        "prompt_tokens": tokens.input_tokens,
        "completion_tokens": tokens.output_tokens,
        "total_tokens": tokens.total_tokens,
    }
