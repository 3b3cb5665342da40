"""OpenAI's Chat Completions, and every server that speaks the same protocol, through the official SDK."""

from __future__ import annotations

import base64
import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from service.adapters.sdk import SdkProvider, own_parameters
from service.domain.errors import ComponentFailed, ProviderFailed
from service.domain.ports import ChatMessage, ModelChunk, ModelRequest, TokenUsage, ToolCall, ToolSpec

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall

DEFAULT_BASE_URL = "https://api.openai.com/v1"
_NEWER_PARAMETER = re.compile(r"(o\d|gpt-5)")


class OpenAIProvider(SdkProvider):
    """Chat Completions. Google, Groq and Ollama speak the same protocol at addresses of their own."""

    def __init__(self, *, base_url: str = DEFAULT_BASE_URL, **options: Any) -> None:
        super().__init__(base_url=base_url, **options)

    def sdk(self) -> ModuleType:
        """The ``openai`` package."""
        import openai

        return openai

    def new_client(self, api_key: str, base_url: str) -> openai.OpenAI:
        """A client that reads nothing from the environment and follows no redirect."""
        import openai

        # A server without keys gets a word that is none; the SDK insists on something.
        client = openai.OpenAI(
            api_key=api_key or "none", base_url=base_url, max_retries=0, http_client=self.http_client()
        )
        return _stripped(client)

    def ask(self, client: openai.OpenAI, request: ModelRequest, timeout: Any) -> Any:
        """Send one request for a chat completion."""
        return client.chat.completions.create(**self.parameters(request), timeout=timeout)

    def parameters(self, request: ModelRequest) -> dict[str, Any]:
        """What the SDK is called with."""
        options: dict[str, Any] = {"model": request.model, "extra_body": own_parameters(request)}
        options["messages"] = [_turn(turn) for turn in request.messages]
        if request.tools:
            options["tools"] = [_tool(spec) for spec in request.tools]
        if request.tool_choice is not None:
            options["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice}}
        if request.temperature is not None:
            options["temperature"] = request.temperature
        if request.seed is not None:
            options["seed"] = request.seed
        if request.max_tokens:
            newer = _NEWER_PARAMETER.match(request.model.rsplit("/", 1)[-1])
            options["max_completion_tokens" if newer else "max_tokens"] = request.max_tokens
        if request.json_mode:
            options["response_format"] = {"type": "json_object"}
        if request.stream:
            options |= {"stream": True, "stream_options": {"include_usage": True}}
        return options

    def whole(self, answer: ChatCompletion) -> Iterator[ModelChunk]:
        """One chunk with text, usage and tool calls."""
        choices = getattr(answer, "choices", None)
        if not choices:
            raise ProviderFailed("The model provider sent an answer that cannot be read.")
        message = choices[0].message
        calls = tuple(
            ToolCall(call.id or f"call_{at}", call.function.name, call.function.arguments or "")
            for at, call in enumerate(message.tool_calls or (), 1)
            if call.type == "function"
        )
        yield ModelChunk(message.content or "", _usage(answer), calls)

    def parts(self, events: Iterator[ChatCompletionChunk]) -> Generator[ModelChunk, None, None]:
        """Text as it comes; the finished tool calls last."""
        finished = False
        calls: list[_Call] = []
        for part in events:
            choice = part.choices[0] if part.choices else None
            if choice is not None and choice.delta is not None:
                _gather(calls, choice.delta.tool_calls or ())
            finished = finished or (choice is not None and choice.finish_reason is not None)
            text, usage = (choice.delta.content or "") if choice and choice.delta else "", _usage(part)
            if text or usage:
                yield ModelChunk(text, usage)
        if not finished:
            raise ProviderFailed("The model provider cut the connection before the answer was complete.")
        if calls:
            yield ModelChunk(tool_calls=tuple(call.made(at) for at, call in enumerate(calls, 1)))


class AzureProvider(OpenAIProvider):
    """Azure OpenAI: the model's name is that of a deployment.

    Args:
        endpoint: the operator's, such as ``https://NAME.openai.azure.com``; None: only allowed addresses of flows.
        api_version: used where the flow names none.
    """

    def __init__(self, *, endpoint: str | None, api_version: str, **options: Any) -> None:
        super().__init__(base_url=endpoint or "", **options)
        self._api_version = api_version

    def complete(self, request: ModelRequest) -> Iterator[ModelChunk]:
        """Ask for one answer; see ``domain.ports.ModelProvider``."""
        if request.base_url is None and not self.base_url:
            raise ComponentFailed(
                "This server has no Azure endpoint. The operator sets KEYTURN_AZURE_OPENAI_ENDPOINT."
            )
        return super().complete(request)

    def new_client(self, api_key: str, base_url: str) -> openai.OpenAI:
        """A client for one endpoint (``https://NAME.openai.azure.com``)."""
        import openai

        client = openai.AzureOpenAI(
            api_key=api_key, azure_endpoint=base_url, api_version=self._api_version, max_retries=0,
            http_client=self.http_client(), azure_ad_token_provider=None,
        )  # fmt: skip
        client._azure_ad_token = None
        return _stripped(client)

    def parameters(self, request: ModelRequest) -> dict[str, Any]:
        """The parameters, with the version of the API that the flow asks for."""
        version = {"extra_query": {"api-version": request.api_version}} if request.api_version else {}
        return super().parameters(request) | version


def _stripped(client: openai.OpenAI) -> openai.OpenAI:
    """Forget what the SDK has read from the environment."""
    client.organization = client.project = client.admin_api_key = client.webhook_secret = None
    client._custom_headers = {}
    return client


def _turn(turn: ChatMessage) -> dict[str, Any]:
    """One message of the conversation as Chat Completions has it."""
    if turn.role == "tool":
        return {"role": "tool", "content": turn.text, "tool_call_id": turn.tool_call_id}
    if turn.tool_calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in turn.tool_calls
        ]
        return {"role": turn.role, "content": turn.text or None, "tool_calls": calls}
    if not turn.images:
        return {"role": turn.role, "content": turn.text}
    parts: list[dict[str, Any]] = [{"type": "text", "text": turn.text}]
    for image in turn.images:
        data = base64.b64encode(image.content).decode()
        parts.append({"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{data}"}})
    return {"role": turn.role, "content": parts}


def _tool(spec: ToolSpec) -> dict[str, Any]:
    function = {"name": spec.name, "description": spec.description, "parameters": dict(spec.parameters)}
    return {"type": "function", "function": function}


@dataclass(slots=True)
class _Call:
    """A tool call of which pieces have come."""

    index: int | None
    id: str
    name: str = ""
    arguments: str = ""

    def made(self, number: int) -> ToolCall:
        # Google's server may leave the id out; the tool's answer has to name one.
        return ToolCall(self.id or f"call_{number}", self.name, self.arguments)


def _gather(calls: list[_Call], pieces: Iterable[ChoiceDeltaToolCall]) -> None:
    """Put streamed pieces of tool calls together; the name comes first, the arguments bit by bit."""
    for piece in pieces:
        call = next((call for call in reversed(calls) if call.index == piece.index), None)
        # Some servers give all calls of a turn the same index; another id, or another name, begins another call.
        name = (piece.function.name if piece.function else "") or ""
        if call is None or (piece.id and call.id and piece.id != call.id) or (name and call.arguments):
            call = _Call(piece.index, piece.id or "")
            calls.append(call)
        call.id = call.id or piece.id or ""
        call.name += name
        call.arguments += (piece.function.arguments if piece.function else "") or ""


def _usage(answer: ChatCompletion | ChatCompletionChunk) -> TokenUsage | None:
    usage = answer.usage
    if usage is None:
        return None
    return TokenUsage(usage.prompt_tokens or 0, usage.completion_tokens or 0, usage.total_tokens or 0)
