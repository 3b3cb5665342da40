"""A run as a response (OpenAI's Responses API): whole, or event by event.

The shapes are those of the official SDK's ``openai.types.responses``. Every use of a tool is a ``function_call`` that
has happened already; with ``include: ["tool_call.results"]`` it is Langflow's ``tool_call`` with the results.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.domain.ports import Event, TokenUsage
from service.domain.responses import Turn
from service.http.openai.said import Json, Said, has_failed, said_in, tools_in
from service.json_text import spaced

WITH_RESULTS = "tool_call.results"


@dataclass(frozen=True, slots=True)
class Head:
    """What a response says of itself from its first event on."""

    turn: Turn
    model: str
    previous: str | None
    metadata: Mapping[str, str]
    with_results: bool
    created_at: int = field(default_factory=lambda: int(time.time()))


def response(head: Head, ended: Mapping[str, Any]) -> Json:
    """The whole response, from what a run's ``end`` brings."""
    items: list[Json] = []
    for said in said_in(ended["outputs"]):
        for tool in said.tools:
            items.append(_call_done(head, len(items), tool))
        items.append(_message(_message_id(said.message_id), said.text))
    return _body(head, "completed", items, ended["tokens"])


class ResponseEvents:
    """The events of one response while it comes about, in OpenAI's order and numbered from 0."""

    __slots__ = ("_head", "_number", "_open", "_output", "_told")

    def __init__(self, head: Head) -> None:
        self._head, self._number = head, 0
        self._output: list[Json] = []
        #: By id of the run's message: where its item stands in the output, while more of it is to come.
        self._open: dict[str, int] = {}
        #: How many uses of tools were told of each message.
        self._told: dict[str, int] = {}

    def begin(self) -> Iterator[Json]:
        """What comes before the run's first event."""
        yield self._event("response.created", response=_body(self._head, "in_progress"))
        yield self._event("response.in_progress", response=_body(self._head, "in_progress"))

    def follow(self, event: Event) -> Iterator[Json]:
        """What one event of the run comes to.

        A complete message is told with the end of the run, for only there it is certain that it is an answer.
        """
        data: Any = event.data
        if event.name == "token":
            yield from self._add(data["id"], data["chunk"])
        elif event.name == "add_message" and data["properties"]["state"] == "partial":
            yield from self._tell_tools(data["id"], tools_in(data))
        elif event.name == "end":
            yield from self._end(said_in(data["outputs"]), data["tokens"])

    def fail(self, message: str, code: str) -> Iterator[Json]:
        """The last event of a run that has failed; ``code`` is one of OpenAI's ``ResponseError``."""
        for at in self._open.values():
            self._output[at]["status"] = "incomplete"
        body = _body(self._head, "failed", self._output, error={"code": code, "message": message})
        yield self._event("response.failed", response=body)

    def _end(self, answers: Iterable[Said], tokens: TokenUsage | None) -> Iterator[Json]:
        for said in answers:
            key = said.message_id or uuid.uuid4().hex
            yield from self._tell_tools(key, said.tools)
            told = self._text(key)
            if said.text.startswith(told):
                yield from self._add(key, said.text[len(told) :])
            yield from self._finish(key, said.text)
        for key in list(self._open):
            yield from self._finish(key, self._text(key))
        yield self._event("response.completed", response=_body(self._head, "completed", self._output, tokens))

    def _text(self, key: str) -> str:
        at = self._open.get(key)
        return "" if at is None else str(self._output[at]["content"][0]["text"])

    def _add(self, key: str, text: str) -> Iterator[Json]:
        if key not in self._open:
            at = self._open[key] = len(self._output)
            item = _message(_message_id(key), "", "in_progress")
            self._output.append(item)
            yield self._event("response.output_item.added", output_index=at, item=item | {"content": []})
            yield self._part("response.content_part.added", at, part=_part(""))
        at = self._open[key]
        self._output[at]["content"][0]["text"] += text
        if text:
            yield self._part("response.output_text.delta", at, delta=text, logprobs=[])

    def _finish(self, key: str, text: str) -> Iterator[Json]:
        at = self._open.pop(key)
        item = self._output[at] = _message(self._output[at]["id"], text)
        yield self._part("response.output_text.done", at, text=text, logprobs=[])
        yield self._part("response.content_part.done", at, part=_part(text))
        yield self._event("response.output_item.done", output_index=at, item=item)

    def _tell_tools(self, key: str, tools: Iterable[Json]) -> Iterator[Json]:
        """Tell of the uses of tools that are new."""
        known = self._told.get(key, 0)
        found = list(tools)
        self._told[key] = len(found)
        for tool in found[known:]:
            at = len(self._output)
            started = _call(self._head, at, tool)
            done = _call_done(self._head, at, tool)
            self._output.append(done)
            arguments, item_id = started["arguments"], started["id"]
            yield self._event("response.output_item.added", output_index=at,
                              item=started | {"arguments": "", "status": "in_progress"})  # fmt: skip
            yield self._event("response.function_call_arguments.delta", output_index=at, item_id=item_id,
                              delta=arguments)  # fmt: skip
            yield self._event("response.function_call_arguments.done", output_index=at, item_id=item_id,
                              name=started["name"], arguments=arguments)  # fmt: skip
            yield self._event("response.output_item.done", output_index=at, item=done)

    def _part(self, kind: str, at: int, **more: Any) -> Json:
        return self._event(kind, item_id=self._output[at]["id"], output_index=at, content_index=0, **more)

    def _event(self, kind: str, **more: Any) -> Json:
        number, self._number = self._number, self._number + 1
        return {"type": kind, "sequence_number": number, **more}


def _body(
    head: Head, status: str, output: Iterable[Json] = (), tokens: TokenUsage | None = None, error: Json | None = None
) -> Json:
    return {
        "id": head.turn.response_id,
        "object": "response",
        "created_at": head.created_at,
        "status": status,
        "background": False,
        "error": error,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": dict(head.metadata),
        "model": head.model,
        "output": list(output),
        "parallel_tool_calls": True,
        "previous_response_id": head.previous,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": _usage(tokens),
        "user": None,
    }


def _usage(tokens: TokenUsage | None) -> Json | None:
    """The counts that the providers told; of cached and reasoning tokens they are not asked."""
    if tokens is None:
        return None
    return {
        "input_tokens": tokens.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": tokens.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens.total_tokens,
    }


def _message_id(key: str | None) -> str:
    return f"msg_{(key or uuid.uuid4().hex).replace('-', '')}"


def _message(item_id: str, text: str, status: str = "completed") -> Json:
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": [_part(text)]}


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call(head: Head, at: int, tool: Json) -> Json:
    failed = has_failed(tool)
    made: Json = {
        "id": f"fc_{head.turn.id.hex}_{at}",
        "type": "function_call",
        "status": "incomplete" if failed else "completed",
        "call_id": f"call_{head.turn.id.hex}_{at}",
        "name": tool["name"],
        "arguments": spaced(tool["tool_input"]),
    }
    return made | {"error": tool["error"]} if failed else made


def _call_done(head: Head, at: int, tool: Json) -> Json:
    call = _call(head, at, tool)
    if not head.with_results:
        return call
    shown: Json = {
        "id": call["id"],
        "type": "tool_call",
        "status": "failed" if has_failed(tool) else "completed",
        "tool_name": tool["name"],
        "queries": list(tool["tool_input"].values()),
        "inputs": tool["tool_input"],
        "results": [] if tool["output"] is None else tool["output"],
    }
    return shown | {"error": tool["error"]} if has_failed(tool) else shown
