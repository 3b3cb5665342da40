"""Anthropic's Messages API, through the official SDK."""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Generator, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from service.adapters.sdk import SdkProvider, own_parameters
from service.domain.errors import ProviderFailed
from service.domain.ports import ChatMessage, ModelChunk, ModelRequest, TokenUsage, ToolCall

if TYPE_CHECKING:
    import anthropic

DEFAULT_BASE_URL = "https://api.anthropic.com"
#: The API insists on a limit; Langflow's component has this one.
_MAX_TOKENS = 4096


class AnthropicProvider(SdkProvider):
    """Claude, and servers that speak the same protocol."""

    def sdk(self) -> ModuleType:
        """The ``anthropic`` package."""
        import anthropic

        return anthropic

    def new_client(self, api_key: str, base_url: str) -> anthropic.Anthropic:
        """A client that reads nothing from the environment and follows no redirect."""
        import anthropic

        options: dict[str, Any] = {"api_key": api_key, "base_url": base_url, "http_client": self.http_client()}
        if "open_telemetry" in inspect.signature(anthropic.Anthropic).parameters:  # not in the SDK's first versions
            options["open_telemetry"] = False
        client = anthropic.Anthropic(max_retries=0, **options)
        client.auth_token = None
        client._custom_headers = {}
        return client

    def ask(self, client: anthropic.Anthropic, request: ModelRequest, timeout: Any) -> Any:
        """Send one request for a message."""
        system = "\n\n".join(turn.text for turn in request.messages if turn.role == "system")
        options: dict[str, Any] = {
            "model": request.model,
            "max_tokens": request.max_tokens or _MAX_TOKENS,
            "messages": _turns(request.messages),
            "stream": request.stream,
            "timeout": timeout,
            "extra_body": own_parameters(request),
        }
        if system:
            options["system"] = system
        if request.temperature is not None:
            # Not as an argument: the SDK's newest versions have none, and refuse to send at all.
            options["extra_body"] = {"temperature": request.temperature, **options["extra_body"]}
        if request.tools:
            options["tools"] = [
                {"name": spec.name, "description": spec.description, "input_schema": dict(spec.parameters)}
                for spec in request.tools
            ]
        if request.tool_choice is not None:
            options["tool_choice"] = {"type": "tool", "name": request.tool_choice}
        return client.messages.create(**options)

    def whole(self, answer: Any) -> Iterator[ModelChunk]:
        """One chunk with text, usage and tool calls."""
        blocks = getattr(answer, "content", None)
        if not isinstance(blocks, list):
            raise ProviderFailed("The model provider sent an answer that cannot be read.")
        text = "".join(block.text for block in blocks if block.type == "text")
        calls = tuple(ToolCall(b.id, b.name, json.dumps(b.input)) for b in blocks if b.type == "tool_use")
        yield ModelChunk(text, _usage(_tokens_read(answer.usage), answer.usage.output_tokens), calls)

    def parts(self, events: Iterator[Any]) -> Generator[ModelChunk, None, None]:
        """Text as it comes; the usage and the finished tool calls last."""
        calls: dict[int, list[str]] = {}
        read = written = 0
        finished = False
        for event in events:
            if event.type == "message_start":
                read = _tokens_read(event.message.usage)
            elif event.type == "content_block_start" and event.content_block.type == "tool_use":
                calls[event.index] = [event.content_block.id, event.content_block.name, ""]
            elif event.type == "content_block_delta":
                yield from _delta(event, calls)
            elif event.type == "message_delta":
                written = event.usage.output_tokens
            finished = finished or event.type == "message_stop"
        if not finished:
            raise ProviderFailed("The model provider cut the connection before the answer was complete.")
        found = tuple(ToolCall(*calls[at]) for at in sorted(calls))
        yield ModelChunk(usage=_usage(read, written), tool_calls=found)


def _delta(event: Any, calls: dict[int, list[str]]) -> Iterator[ModelChunk]:
    if event.delta.type == "text_delta":
        yield ModelChunk(event.delta.text)
    elif event.delta.type == "input_json_delta" and event.index in calls:
        calls[event.index][2] += event.delta.partial_json


def _tokens_read(usage: Any) -> int:
    """All of the prompt; the API counts what its cache took or gave apart."""
    cached = (usage.cache_creation_input_tokens, usage.cache_read_input_tokens)
    return int(usage.input_tokens + sum(count or 0 for count in cached))


def _usage(read: int, written: int) -> TokenUsage:
    return TokenUsage(read, written, read + written)


def _turns(messages: tuple[ChatMessage, ...]) -> list[dict[str, Any]]:
    """The conversation without its system part; turns of one side that follow each other become one."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message)
        if not blocks:
            continue  # the API refuses a turn that says nothing
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    return turns or [{"role": "user", "content": [{"type": "text", "text": "Begin."}]}]


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.text}]
    blocks: list[dict[str, Any]] = [{"type": "text", "text": message.text}] if message.text.strip() else []
    for image in message.images:
        data = base64.b64encode(image.content).decode()
        blocks.append({"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": data}})
    for call in message.tool_calls:
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": _arguments(call.arguments)})
    return blocks


def _arguments(text: str) -> Any:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}
