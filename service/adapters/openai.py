"""OpenAI's Chat Completions, and every server that speaks the same protocol, through the official SDK.

The SDK is imported when the first request is made. It would read a key, an organisation, a project, an address and
headers from the environment; every one of them is set here instead, so that a credential only goes where the
operator's configuration says.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from service.domain.errors import ComponentFailed, ProviderFailed, RunFailed, RunTimedOut
from service.domain.ports import Cancellation, ChatMessage, ModelChunk, ModelRequest, TokenUsage, ToolCall, ToolSpec

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall

DEFAULT_BASE_URL = "https://api.openai.com/v1"
SETTING = "KEYTURN_MODEL_BASE_URLS"

_SECRETS = re.compile(r"\b(?:(?:sk|pk|rk|gsk|key)-|Bearer )[\w*.\-]{4,}|\S*\*{3,}\S*", re.IGNORECASE)
_NEWER_PARAMETER = re.compile(r"(o\d|gpt-5)")
_ODD = re.compile(r"[^!-~]|\\")
_PORTS = {"http": 80, "https": 443}
_MAX_REASON = 500
_MAX_WAIT = 30.0
_RETRIED = frozenset({408, 409, 429})

#: What a flow's own parameters may not set: where a request goes, what it says, and how it is answered.
_OURS = frozenset(
    {"model", "messages", "stream", "stream_options", "tools", "tool_choice", "timeout", "n", "extra_headers",
     "extra_query", "extra_body", "functions", "function_call", "modalities", "audio", "store", "metadata"}
)  # fmt: skip

Origin = tuple[str, str, int]


def origin(url: str) -> Origin | None:
    """Scheme, host and port of an http(s) address; None for anything else, and for one with a user in it."""
    if _ODD.search(url):
        return None  # two parsers may read such an address differently
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None or parts.password is not None:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


class _Pool:
    """The connections of one credential; closed when it was retired and the last user has left."""

    __slots__ = ("client", "retired", "users")

    def __init__(self, client: openai.OpenAI) -> None:
        self.client, self.users, self.retired = client, 0, False

    def retire(self) -> None:
        self.retired = True
        if self.users == 0:
            self.client.close()

    def leave(self) -> None:
        self.users -= 1
        if self.retired and self.users == 0:
            self.client.close()


class OpenAIProvider:
    """A ``domain.ports.ModelProvider`` for one family of servers.

    Args:
        base_url: where requests go when the flow names no address.
        allowed_base_urls: addresses that a flow may name; scheme, host and port have to match.
        timeout: longest time for one answer, in seconds; a flow can only ask for less.
        connect_timeout: longest time to reach the server, in seconds.
        max_retries: most retries of one request; a flow can only ask for fewer.
        backoff: wait before the first retry, in seconds, where the provider names none; it doubles each time.
        max_clients: connections pools kept; one for each pair of credential and address.
    """

    def __init__(
        self,
        *,
        base_url: str = DEFAULT_BASE_URL,
        allowed_base_urls: Iterable[str] = (),
        timeout: float = 120.0,
        connect_timeout: float = 10.0,
        max_retries: int = 3,
        backoff: float = 0.5,
        max_clients: int = 32,
    ) -> None:
        self._base_url = base_url
        self._allowed = frozenset(filter(None, map(origin, (base_url, *allowed_base_urls))))
        self._timeout, self.connect_timeout = timeout, connect_timeout
        self._max_retries, self._max_clients = max_retries, max_clients
        self._backoff = backoff
        self._pools: OrderedDict[tuple[bytes, str], _Pool] = OrderedDict()
        self._lock = threading.Lock()

    def complete(self, request: ModelRequest) -> Iterator[ModelChunk]:
        """Ask for one answer; see ``domain.ports.ModelProvider``.

        Raises:
            ComponentFailed: the flow names an address that the operator has not allowed.
            ProviderFailed: refused, failed or unreachable; the text holds no secret.
            RunTimedOut: no answer in time.
        """
        if not request.api_key.strip():
            raise ComponentFailed("The model has no API key.")
        address = self._address(request.base_url)
        return _translated(self._answer(request, address), request)

    def close(self) -> None:
        """Close the connections that nobody uses; the others close when they are done."""
        with self._lock:
            for pool in self._pools.values():
                pool.retire()
            self._pools.clear()

    def _answer(self, request: ModelRequest, address: str) -> Generator[ModelChunk, None, None]:
        deadline = time.monotonic() + min(request.timeout, self._timeout)
        with self._borrowed(request.api_key, address) as client:
            yield from _attempts(self, client, request, deadline)

    def _address(self, wanted: str | None) -> str:
        if wanted is None:
            return self._base_url
        if origin(wanted) not in self._allowed:
            raise ComponentFailed(
                f"The flow sends its credential to an address that this server does not allow. "
                f"The operator can allow it in {SETTING}."
            )
        return wanted

    @contextmanager
    def _borrowed(self, api_key: str, base_url: str) -> Iterator[openai.OpenAI]:
        """The client of one credential at one address, never of two."""
        name = (hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).digest(), base_url)
        with self._lock:
            pool = self._pools.pop(name, None) or _Pool(_new_client(api_key, base_url))
            self._pools[name] = pool
            pool.users += 1
            if len(self._pools) > self._max_clients:
                self._pools.popitem(last=False)[1].retire()
        try:
            yield pool.client
        finally:
            with self._lock:
                pool.leave()

    def retries(self, request: ModelRequest) -> int:
        """How often a request may be repeated."""
        return max(0, min(request.max_retries, self._max_retries))

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the failure of an attempt, counted from 0."""
        return self._backoff * 2.0**attempt


def _new_client(api_key: str, base_url: str) -> openai.OpenAI:
    import openai

    http_client = openai.DefaultHttpxClient(follow_redirects=False)
    client = openai.OpenAI(api_key=api_key, base_url=base_url, max_retries=0, http_client=http_client)
    client.organization = client.project = client.admin_api_key = client.webhook_secret = None
    client._custom_headers = {}
    return client


def _attempts(
    provider: OpenAIProvider, client: openai.OpenAI, request: ModelRequest, deadline: float
) -> Generator[ModelChunk, None, None]:
    """Send until it works, within the retries and the time; what has begun to arrive is not repeated."""
    import openai

    for attempt in range(provider.retries(request) + 1):
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            raise RunTimedOut("The model provider did not answer in time.")
        try:
            answer = _send(client, request, openai.Timeout(seconds, connect=min(seconds, provider.connect_timeout)))
        except openai.APITimeoutError:
            raise
        except (openai.APIConnectionError, openai.APIStatusError) as error:
            wait = _wait(error, provider.pause(attempt))
            if attempt == provider.retries(request) or wait is None or time.monotonic() + wait >= deadline:
                raise
            time.sleep(wait)
            continue
        if not request.stream:
            yield from _whole(answer)
            return
        cancellation = request.cancellation or Cancellation()
        with cancellation.interrupting(lambda answer=answer: _hang_up(answer)):  # type: ignore[misc]
            yield from _streamed(answer, deadline)
        return


def _wait(error: Exception, pause: float) -> float | None:
    """Seconds until a retry makes sense, or None when it does not."""
    status = getattr(error, "status_code", None)
    if status is not None and status not in _RETRIED and status < 500:
        return None
    response = getattr(error, "response", None)
    asked = response.headers.get("retry-after", "") if response is not None else ""
    try:
        wait = float(asked)
    except ValueError:
        wait = pause
    return wait if 0 <= wait <= _MAX_WAIT else None


def _send(client: openai.OpenAI, request: ModelRequest, timeout: Any) -> Any:
    options: dict[str, Any] = {name: value for name, value in request.options.items() if name not in _OURS}
    options |= {"model": request.model, "timeout": timeout, "messages": [_turn(turn) for turn in request.messages]}
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
    return client.chat.completions.create(**options)


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


def _whole(answer: ChatCompletion) -> Iterator[ModelChunk]:
    choices = getattr(answer, "choices", None)
    if not choices:
        raise ProviderFailed("The model provider sent an answer that cannot be read.")
    message = choices[0].message
    calls = tuple(
        ToolCall(call.id, call.function.name, call.function.arguments or "")
        for call in message.tool_calls or ()
        if call.type == "function"
    )
    yield ModelChunk(message.content or "", _usage(answer), calls)


def _streamed(answer: openai.Stream[ChatCompletionChunk], deadline: float) -> Generator[ModelChunk, None, None]:
    finished = False
    calls: dict[int, list[str]] = {}
    with answer:
        for part in answer:
            choice = part.choices[0] if part.choices else None
            if choice is not None and choice.delta is not None:
                _gather(calls, choice.delta.tool_calls or ())
            finished = finished or (choice is not None and choice.finish_reason is not None)
            text, usage = (choice.delta.content or "") if choice and choice.delta else "", _usage(part)
            if text or usage:
                yield ModelChunk(text, usage)
            if time.monotonic() > deadline:
                raise RunTimedOut("The model provider did not answer in time.")
    if not finished:
        raise ProviderFailed("The model provider cut the connection before the answer was complete.")
    if calls:
        yield ModelChunk(tool_calls=tuple(ToolCall(*calls[at]) for at in sorted(calls)))


def _hang_up(answer: openai.Stream[ChatCompletionChunk]) -> None:
    """Wake up a read that waits in another thread; the SDK itself can only be closed by the thread that uses it."""
    stream = answer.response.extensions.get("network_stream")
    connection = None if stream is None else stream.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _gather(calls: dict[int, list[str]], pieces: Iterable[ChoiceDeltaToolCall]) -> None:
    """Put streamed pieces of tool calls together; the name comes first, the arguments bit by bit."""
    for piece in pieces:
        call = calls.setdefault(piece.index, ["", "", ""])
        call[0] = piece.id or call[0]
        if piece.function is not None:
            call[1] += piece.function.name or ""
            call[2] += piece.function.arguments or ""


def _usage(answer: ChatCompletion | ChatCompletionChunk) -> TokenUsage | None:
    usage = answer.usage
    if usage is None:
        return None
    return TokenUsage(usage.prompt_tokens or 0, usage.completion_tokens or 0, usage.total_tokens or 0)


def _translated(
    chunks: Generator[ModelChunk, None, None], request: ModelRequest
) -> Generator[ModelChunk, None, None]:
    """The chunks, with the SDK's errors turned into the domain's; closing this closes the connection."""
    import openai

    try:
        yield from chunks
    except RunFailed:
        raise
    except openai.APITimeoutError:
        raise RunTimedOut("The model provider did not answer in time.") from None
    except openai.APIStatusError as error:
        reason = redacted(_reason(error), request.api_key)
        raise ProviderFailed(f"The model provider answered {error.status_code}: {reason}") from None
    except openai.APIConnectionError:
        raise ProviderFailed("The model provider could not be reached, or cut the connection.") from None
    except openai.OpenAIError as error:
        reason = redacted(str(getattr(error, "message", "")), request.api_key)
        raise ProviderFailed(f"The model provider failed: {reason}") from None
    except Exception as error:
        # Whatever else the SDK lets through (bad JSON, an odd header); its text may quote the request.
        raise ProviderFailed(f"The model provider's answer cannot be used ({type(error).__name__}).") from None


def _reason(error: openai.APIStatusError) -> str:
    """The provider's own words, without the body around them."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        message = body["error"].get("message", message)
    return message if isinstance(message, str) and message else "no reason given"


def redacted(text: str, api_key: str) -> str:
    """The text without the credential, without anything that looks like one, and not too long."""
    if api_key:
        text = text.replace(api_key, "[removed]")
    return _SECRETS.sub("[removed]", text)[:_MAX_REASON]
