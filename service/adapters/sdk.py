"""What the adapters of model SDKs share: connections, deadlines, retries, and errors without secrets.

The SDKs of OpenAI and Anthropic come from one generator and have the same shapes. They are imported when the first
request is made. They would read keys, addresses and headers from the environment; every one of them is set here
instead, so that a credential only goes where the operator's configuration says.
"""

from __future__ import annotations

import hashlib
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from service.adapters.connections import Exchange, http_client, http_module
from service.domain.errors import ComponentFailed, ProviderFailed, RunFailed, RunTimedOut
from service.domain.ports import Cancellation, ModelChunk, ModelRequest
from service.instants import in_utc

SETTING = "KEYTURN_MODEL_BASE_URLS"

#: What a flow's own parameters may not set: where a request goes, who sends it, what it says, and how it is answered.
_OURS = frozenset(
    {"model", "messages", "system", "stream", "stream_options", "tools", "tool_choice", "functions", "function_call",
     "n", "modalities", "audio", "store", "metadata", "mcp_servers", "container", "extra_headers", "extra_query",
     "extra_body", "headers", "default_headers", "default_query", "timeout", "max_retries", "base_url", "api_key",
     "http_client", "organization"}
)  # fmt: skip

#: Words with stars in them, looked for at the start of each word: from every letter it would take quadratic time.
_MASKED = re.compile(r"(?<!\S)(?=\S*?\*{3})\S++")
_SECRETS = re.compile(r"\b(?:(?:sk|pk|rk|gsk|key)[-_]|AIza|Bearer )[\w*.\-]{4,}", re.IGNORECASE)
_ODD = re.compile(r"[^!-~]|\\")
_PORTS = {"http": 80, "https": 443}
_MAX_REASON = 500
_MAX_READ = 2_000
_MAX_WAIT = 30.0
_RETRIED = frozenset({408, 409, 429})

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

    def __init__(self, client: Any) -> None:
        self.client, self.users, self.retired = client, 0, False

    def retire(self) -> None:
        self.retired = True
        if self.users == 0:
            self.client.close()

    def leave(self) -> None:
        self.users -= 1
        if self.retired and self.users == 0:
            self.client.close()


class SdkProvider:
    """A ``domain.ports.ModelProvider`` over one SDK; subclasses say how to speak to it.

    Args:
        base_url: where requests go when the flow names no address.
        allowed_base_urls: addresses that a flow may name; scheme, host and port have to match.
        timeout: longest time for one answer, in seconds; a flow can only ask for less.
        connect_timeout: longest time to reach the server, in seconds.
        max_retries: most retries of one request; a flow can only ask for fewer.
        backoff: wait before the first retry, in seconds, where the provider names none; it doubles each time.
        max_clients: connections pools kept; one for each pair of credential and address.
        needs_key: a request without a key is refused before it is sent.
    """

    def __init__(
        self,
        *,
        base_url: str,
        allowed_base_urls: Iterable[str] = (),
        timeout: float = 120.0,
        connect_timeout: float = 10.0,
        max_retries: int = 3,
        backoff: float = 0.5,
        max_clients: int = 32,
        needs_key: bool = True,
    ) -> None:
        self.base_url = base_url
        self._allowed = frozenset(filter(None, map(origin, (base_url, *allowed_base_urls))))
        self._timeout, self.connect_timeout = timeout, connect_timeout
        self._max_retries, self._max_clients = max_retries, max_clients
        self._backoff, self._needs_key = backoff, needs_key
        self._pools: OrderedDict[tuple[bytes, str], _Pool] = OrderedDict()
        self._lock = threading.Lock()

    def complete(self, request: ModelRequest) -> Iterator[ModelChunk]:
        """Ask for one answer; see ``domain.ports.ModelProvider``.

        Raises:
            ComponentFailed: the flow names an address that the operator has not allowed.
            ProviderFailed: refused, failed or unreachable; the text holds no secret.
            RunTimedOut: no answer in time.
        """
        if self._needs_key and not request.api_key.strip():
            raise ComponentFailed("The model has no API key.")
        address = self._address(request.base_url)
        return self._answer(request, address)

    def close(self) -> None:
        """Close the connections that nobody uses; the others close when they are done."""
        with self._lock:
            for pool in self._pools.values():
                pool.retire()
            self._pools.clear()

    def _answer(self, request: ModelRequest, address: str) -> Generator[ModelChunk, None, None]:
        """The chunks, with the SDK's errors turned into the domain's; closing this closes the connection."""
        exchange = Exchange(min(request.timeout, self._timeout))
        cancellation = request.cancellation or Cancellation()
        try:
            with self._borrowed(request.api_key, address) as client, cancellation.interrupting(exchange.stop):
                yield from self._attempts(client, request, exchange)
        except RunFailed:
            raise
        except Exception as error:
            # Without the cause: the SDK's errors quote the request, and a log could print the chain.
            raise self._failure(error, request, exchange) from None

    def _address(self, wanted: str | None) -> str:
        if wanted is None:
            return self.base_url
        if origin(wanted) not in self._allowed:
            raise ComponentFailed(
                f"The flow sends its credential to an address that this server does not allow. "
                f"The operator can allow it in {SETTING}."
            )
        return wanted

    @contextmanager
    def _borrowed(self, api_key: str, base_url: str) -> Iterator[Any]:
        """The client of one credential at one address, never of two."""
        name = (hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).digest(), base_url)
        with self._lock:
            pool = self._pools.pop(name, None) or _Pool(self.new_client(api_key, base_url))
            self._pools[name] = pool
            pool.users += 1
            if len(self._pools) > self._max_clients:
                self._pools.popitem(last=False)[1].retire()
        try:
            yield pool.client
        finally:
            with self._lock:
                pool.leave()

    def sdk(self) -> ModuleType:
        """The SDK's module, imported when it is first needed."""
        raise NotImplementedError

    def new_client(self, api_key: str, base_url: str) -> Any:
        """A client for one credential at one address, which reads nothing from the environment."""
        raise NotImplementedError

    def ask(self, client: Any, request: ModelRequest, timeout: Any) -> Any:
        """Send the request and return the SDK's answer or stream."""
        raise NotImplementedError

    def whole(self, answer: Any) -> Iterator[ModelChunk]:
        """The chunks of an answer that came at once."""
        raise NotImplementedError

    def parts(self, events: Iterator[Any]) -> Generator[ModelChunk, None, None]:
        """The chunks of a stream."""
        raise NotImplementedError

    def retries(self, request: ModelRequest) -> int:
        """How often a request may be repeated."""
        return max(0, min(request.max_retries, self._max_retries))

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the failure of an attempt, counted from 0."""
        return self._backoff * 2.0**attempt

    def _attempts(self, client: Any, request: ModelRequest, exchange: Exchange) -> Generator[ModelChunk, None, None]:
        """Send until it works, within the retries and the time; what has begun to arrive is not repeated."""
        answer = self._asked(client, request, exchange)
        if not request.stream:
            yield from self.whole(answer)
            return
        with closing(_events(answer, exchange)) as events:
            yield from self.parts(events)

    def _asked(self, client: Any, request: ModelRequest, exchange: Exchange) -> Any:
        sdk = self.sdk()
        for attempt in range(self.retries(request) + 1):
            seconds = _seconds_left(exchange)
            try:
                with exchange.current():
                    return self.ask(client, request, sdk.Timeout(seconds, connect=min(seconds, self.connect_timeout)))
            except sdk.APITimeoutError:
                raise
            except (sdk.APIConnectionError, sdk.APIStatusError) as error:
                wait = _wait(error, self.pause(attempt))
                if attempt == self.retries(request) or wait is None or wait >= exchange.seconds_left:
                    raise
            exchange.pause(wait)
        raise AssertionError("the last attempt returns or raises")

    def _failure(self, error: Exception, request: ModelRequest, exchange: Exchange) -> RunFailed:
        """What an error of the SDK, or of the HTTP library that it lets through, means for the run."""
        sdk = self.sdk()
        http = http_module(sdk)
        if exchange.is_stopped:
            return ProviderFailed("The request to the model provider was given up.")
        if isinstance(error, sdk.APIStatusError) and error.status_code >= 300:
            return ProviderFailed(f"The model provider answered {error.status_code}: {_reason(error, request)}")
        if exchange.seconds_left <= 0 or isinstance(error, (sdk.APITimeoutError, http.TimeoutException)):
            return RunTimedOut("The model provider did not answer in time.")
        if isinstance(error, (sdk.APIConnectionError, http.TransportError)):
            return ProviderFailed("The model provider could not be reached, or cut the connection.")
        if isinstance(error, sdk.APIError):
            return ProviderFailed(f"The model provider failed: {_reason(error, request)}")
        # Bad JSON, an odd header: the text may quote the request.
        return ProviderFailed(f"The model provider's answer cannot be used ({type(error).__name__}).")

    def http_client(self) -> Any:
        """The HTTP client that ``new_client`` gives to the SDK."""
        return http_client(self.sdk())


def _seconds_left(exchange: Exchange) -> float:
    if exchange.is_stopped:
        raise ProviderFailed("The request to the model provider was given up.")
    if exchange.seconds_left <= 0:
        raise RunTimedOut("The model provider did not answer in time.")
    return exchange.seconds_left


def _events(answer: Any, exchange: Exchange) -> Generator[Any, None, None]:
    """The events of a stream, each read within the exchange; the connection is closed at the end, come what may."""
    events, end = iter(answer), object()
    try:
        while True:
            _seconds_left(exchange)
            with exchange.current():
                event = next(events, end)
            if event is end:
                return
            yield event
    finally:
        with exchange.current():
            answer.close()


def own_parameters(request: ModelRequest) -> dict[str, Any]:
    """What the flow's author adds to the body of a request."""
    return {name: value for name, value in request.options.items() if name not in _OURS}


def _wait(error: Exception, pause: float) -> float | None:
    """Seconds until a retry makes sense, or None when it does not."""
    status = getattr(error, "status_code", None)
    if status is not None and status not in _RETRIED and status < 500:
        return None
    response = getattr(error, "response", None)
    asked = None if response is None else _retry_after(response.headers)
    wait = pause if asked is None else asked
    return wait if wait <= _MAX_WAIT else None


def _retry_after(headers: Any) -> float | None:
    """Seconds that the provider asks for: in thousandths, in seconds, or as a date; None where it does not."""
    with suppress(ValueError):
        return _positive(float(headers.get("retry-after-ms", "")) / 1000)
    asked = headers.get("retry-after", "")
    with suppress(ValueError):
        return _positive(float(asked))
    with suppress(ValueError):
        return max(0.0, (in_utc(parsedate_to_datetime(asked)) - datetime.now(UTC)).total_seconds())
    return None


def _positive(seconds: float) -> float | None:
    return seconds if seconds >= 0 and math.isfinite(seconds) else None


def _reason(error: Any, request: ModelRequest) -> str:
    """The provider's own words, without the body around them and without secrets."""
    body, message = error.body, None
    if isinstance(body, dict):
        inner = body.get("error")
        message = (inner if isinstance(inner, dict) else body).get("message") or body.get("message")
    elif not hasattr(error, "status_code"):
        message = getattr(error, "message", None)
    return (redacted(message, request.api_key) if isinstance(message, str) else "") or "no reason given"


def redacted(text: str, api_key: str) -> str:
    """The text without the credential, without anything that looks like one, and not too long."""
    if api_key:
        text = text.replace(api_key, "[removed]")
    if len(text) > _MAX_READ:
        # Without the last word: half of a secret does not look like one any more.
        text = " ".join(text[:_MAX_READ].split()[:-1])
    return _SECRETS.sub("[removed]", _MASKED.sub("[removed]", text))[:_MAX_REASON]
