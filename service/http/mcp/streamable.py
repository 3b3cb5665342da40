"""The streamable HTTP transport: each message is a POST, and its answer comes with it.

No worker remembers anything between two requests: any of them answers the next one.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from flask import Request, Response
from werkzeug.exceptions import NotAcceptable, UnsupportedMediaType

from service.domain.errors import LimitsAway, TooManyAttempts
from service.http import key_limits
from service.http.db import abandon
from service.http.mcp import calls, methods, revisions
from service.http.mcp.exchange import Exchange
from service.http.mcp.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    LIMITED,
    PARSE_ERROR,
    Fault,
    Json,
    Message,
    failure,
    message_of,
    result,
)
from service.http.parsing import loads
from service.http.streaming import Relay, answered, departed
from service.json_text import spaced
from service.storage import outages

log = logging.getLogger(__name__)

#: Enough for the longest input, escaped; the limit of the official servers.
MOST_BODY = 4 * 1024 * 1024
MOST_IN_BATCH = 10
_PULSE = b": still running\n\n"


def body_of(request: Request) -> object:
    """Return the parsed body.

    Raises:
        UnsupportedMediaType: it is not sent as JSON, which is all that a page of another site could send unasked.
        Fault: it is no JSON.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    try:
        return loads(request.get_data())
    except (ValueError, RecursionError):
        raise Fault(PARSE_ERROR, "Parse error: the body is not JSON") from None


def answer(exchange: Exchange, request: Request, content: object) -> Response:
    """Return the answer to the body of a POST.

    Raises:
        Fault: what arrived is no message.
        NotAcceptable: the client takes neither JSON nor a stream of events.
    """
    accepted = request.accept_mimetypes
    streams = any(kind == "text/event-stream" and quality > 0 for kind, quality in accepted)
    if not streams and accepted and not accepted.quality("application/json"):
        raise NotAcceptable
    if isinstance(content, list):
        return _batch(exchange, content)
    message = message_of(content)
    if message is None or message.id is None:
        notified(exchange, message)
        return Response(status=202)
    with _answerable(message):
        if exchange.revision == revisions.STATELESS:
            revisions.check_envelope(message, request)
        if message.method == "tools/call" and streams:
            return _streamed(exchange, message, departed(request))
        return _single(exchange, message)


def refused(fault: Fault, revision: str) -> Response:
    """Return the answer to a message that cannot be answered otherwise."""
    return _json(failure(fault), revisions.status_of(fault, revision))


def notified(exchange: Exchange, message: Message | None) -> None:
    """Take notice of a message that wants no answer.

    Without a handshake nothing is to notice: there a call is cancelled by closing its stream.
    """
    if message is None or exchange.revision == revisions.STATELESS:
        return
    if message.method == "notifications/cancelled":
        calls.cancel(exchange, message)


def reply(exchange: Exchange, message: Message) -> Json:
    """Return the answer to a request, whatever happens; a tool call is run to its end.

    Raises:
        Fault: with the request's id.
        SQLAlchemyError: the database does not answer.
    """
    with _answerable(message):
        if message.method == "tools/call":
            return _called(exchange, message)
        return result(message.id, methods.answer(exchange, message))


@contextmanager
def _answerable(message: Message) -> Iterator[None]:
    """Make of whatever goes wrong an error with the request's id; a database that is away is the server's matter."""
    try:
        yield
    except Fault as fault:
        fault.id = message.id
        raise
    except Exception as error:
        if outages.is_away(error):
            raise
        log.exception("a message of MCP could not be answered")
        abandon()
        raise Fault(INTERNAL_ERROR, "Internal error", id=message.id) from None


def _called(exchange: Exchange, message: Message) -> Json:
    call = calls.call_of(exchange, message)
    running = calls.started(call)
    if isinstance(running, dict):
        return running
    # Nobody takes the rest: there is one answer, and none where the call was cancelled.
    answers = [said for said in calls.OpenCall(call, running).messages() if "id" in said]
    return answers[0] if answers else call.cancelled()


def _single(exchange: Exchange, message: Message) -> Response:
    response = _json(reply(exchange, message))
    if message.method == "initialize":
        # Nobody remembers it. It is what a wish to cancel has in common with the call that it means.
        response.headers["Mcp-Session-Id"] = secrets.token_urlsafe(24)
    return response


def _streamed(exchange: Exchange, message: Message, gone: Callable[[], bool]) -> Response:
    call = calls.call_of(exchange, message)
    running = calls.started(call)
    if isinstance(running, dict):
        return _json(running)
    opened = calls.OpenCall(call, running)

    def pieces() -> Generator[bytes, None, None]:
        for said in opened.messages():
            yield event(spaced(said))

    relay = Relay(pieces(), opened.cancel, exchange.own.settings.heartbeat_seconds, _PULSE, gone)
    return answered(relay, "text/event-stream")


def event(text: str) -> bytes:
    """Return one message as an event of a stream."""
    return f"event: message\ndata: {text}\n\n".encode("utf-8", "replace")


def _batch(exchange: Exchange, content: list[object]) -> Response:
    """Answer several messages at once, where the revision has that."""
    if exchange.revision != revisions.BATCHES:
        raise Fault(INVALID_REQUEST, "Invalid request: this revision has no batches")
    if not 0 < len(content) <= MOST_IN_BATCH:
        raise Fault(INVALID_REQUEST, f"Invalid request: a batch has 1 to {MOST_IN_BATCH} messages")
    called = [at for at, item in enumerate(content) if isinstance(item, dict) and item.get("method") == "tools/call"]
    made = (_of_batch(exchange, item, is_further=at in called[1:]) for at, item in enumerate(content))
    answers = [one for one in made if one is not None]
    return _json(answers) if answers else Response(status=202)


def _of_batch(exchange: Exchange, content: object, *, is_further: bool) -> Json | None:
    """Answer one of several messages.

    The first call of a tool was counted with the request. Each further one is counted here: a run costs as much in a
    batch as alone, and a batch must be no way around the limit of a key.
    """
    try:
        message = message_of(content)
        if message is None or message.id is None:
            notified(exchange, message)
            return None
        if message.method == "initialize":
            raise Fault(INVALID_REQUEST, "Invalid request: initialize is never part of a batch", id=message.id)
        if is_further:
            _count(exchange, message)
        return reply(exchange, message)
    except Fault as fault:
        return failure(fault)


def _count(exchange: Exchange, message: Message) -> None:
    if exchange.identity is None:
        return
    try:
        key_limits.count(exchange.identity, exchange.own)
    except (TooManyAttempts, LimitsAway) as error:
        raise Fault(LIMITED, str(error), id=message.id) from None


def _json(content: object, status: int = 200) -> Response:
    text = spaced(content)
    return Response(text.encode("utf-8", "backslashreplace"), status, mimetype="application/json")
