"""Asking a language model from a component: one request, its answer, and what a stream shows of it."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from service.chance import new_id
from service.domain.ports import ChatMessage, Event, ModelChunk, ModelRequest, ToolCall, ToolSpec
from service.engine.component import Component, Run
from service.engine.results import message_event
from service.engine.values import NAME_AI, SENDER_AI, Message, ModelChoice, total_usage

#: These models answer with an error when a temperature or a seed is sent (Langflow leaves both out, too).
_REASONING = re.compile(r"(o\d|gpt-5(?!.*chat))")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered in one turn."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()


def request_for(
    component: Component,
    choice: ModelChoice,
    messages: Iterable[ChatMessage],
    *,
    stream: bool = False,
    tools: Iterable[ToolSpec] = (),
    tool_choice: str | None = None,
) -> ModelRequest:
    """Build a request that ends with the run at the latest.

    Raises:
        ComponentFailed: no model is chosen.
        RunTimedOut: the run's time is up.
    """
    if not choice.model:
        raise component.fail("A model selection is required.")
    left = component.run.seconds_left()
    reasons = _REASONING.match(choice.model.rsplit("/", 1)[-1]) is not None
    return ModelRequest(
        model=choice.model,
        messages=tuple(messages),
        api_key=choice.api_key,
        base_url=choice.base_url,
        temperature=None if reasons else choice.temperature,
        max_tokens=choice.max_tokens or None,
        seed=None if reasons else choice.seed,
        json_mode=choice.json_mode,
        timeout=left if choice.timeout is None else min(left, choice.timeout),
        max_retries=choice.max_retries,
        stream=stream,
        tools=tuple(tools),
        tool_choice=tool_choice,
        options=choice.options,
        api_version=choice.api_version,
        cancellation=component.run.context.cancellation,
    )


def is_watched(component: Component) -> bool:
    """Whether somebody reads the answer while it is written: a streamed run, and a chat output right behind."""
    return component.run.stream and bool(component.run.session_id) and "chat_output" in component.step.neighbours


def announce(message: Message, run: Run, icon: str) -> None:
    """Make a message one that a stream shows and a history keeps."""
    message.sender, message.sender_name, message.session_id = SENDER_AI, NAME_AI, run.session_id
    message.id, message.icon, message.state = new_id(), icon, "partial"


def ask(
    component: Component, choice: ModelChoice, request: ModelRequest, message: Message
) -> Generator[Event, None, Answer]:
    """Send a request and add the answer's text and usage to ``message``; yields the events of a stream.

    Raises:
        ProviderFailed, RunTimedOut, RunTooLarge: what ends a request.
        ComponentFailed: this server has no such provider.
    """
    provider = component.run.outside.providers.get(choice.provider)
    if provider is None:
        raise component.fail(f"This server has no model provider named {choice.provider}.")
    chunks = provider.complete(request)
    before = len(message.text)
    calls: tuple[ToolCall, ...] = ()
    try:
        for chunk in chunks:
            calls = chunk.tool_calls or calls
            yield from _take(component, chunk, message)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return Answer(message.text[before:], calls)


def _take(component: Component, chunk: ModelChunk, message: Message) -> Iterable[Event]:
    """Add one piece to the answer, within the run's limits."""
    run = component.run
    run.seconds_left()
    if chunk.usage is not None:
        message.usage = total_usage([chunk.usage] if message.usage is None else [message.usage, chunk.usage])
        run.usage[component.step.index] = message.usage
    if not chunk.text:
        return
    run.produce(len(chunk.text))
    message.text += chunk.text
    if message.id is None:
        return
    if not message.begun:
        message.begun = True
        yield message_event(message, run)
    yield Event("token", {"chunk": chunk.text, "id": message.id})


def ask_for_json(
    component: Component, choice: ModelChoice, messages: Iterable[ChatMessage], schema: ToolSpec
) -> Generator[Event, None, str]:
    """Make the model call one tool, which it has to, and return the arguments as JSON text.

    Raises:
        ComponentFailed: the model answered something else.
    """
    message = Message("")
    request = request_for(component, choice, messages, tools=[schema], tool_choice=schema.name)
    answer = yield from ask(component, choice, request, message)
    for call in answer.tool_calls:
        if call.name == schema.name:
            return call.arguments
    raise component.fail("The model did not answer in the requested structure.")


def record_schema(rows: object) -> dict[str, Any]:
    """The JSON Schema of one record, from Langflow's schema table (name, description, type, multiple).

    Raises:
        ValueError: the table is unreadable; the text says where.
    """
    if not isinstance(rows, list):
        raise ValueError("the schema has to be a table")
    properties: dict[str, Any] = {}
    for row in rows:
        name = row.get("name") if isinstance(row, Mapping) else None
        if not isinstance(name, str) or not name:
            raise ValueError("a row of the schema has no name")
        properties[name] = _column(row)
    return {"type": "object", "properties": properties, "required": list(properties)}


_TYPES = {
    "str": "string", "string": "string", "text": "string", "int": "integer", "integer": "integer",
    "float": "number", "number": "number", "bool": "boolean", "boolean": "boolean", "dict": "object",
    "object": "object",
}  # fmt: skip


def _column(row: Mapping[str, object]) -> dict[str, Any]:
    kind = str(row.get("type") or "str").lower()
    many = kind == "list" or kind.startswith("list[") or str(row.get("multiple", False)).lower() in ("true", "1")
    inner = kind.removeprefix("list[").removesuffix("]") if kind.startswith("list[") else kind
    described = {"description": str(row.get("description") or "")}
    item = {"type": _TYPES.get(inner, "string")}
    return {"type": "array", "items": item, **described} if many else {**item, **described}
