"""The HTTP+SSE transport of 2024-11-05: a stream that stays open, and POSTs whose answers come out of it.

The stream and a POST may be with different workers, so that answers go through the database.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

from flask import Request, Response

from service import stopping
from service.domain.errors import NotFound, TooBusy
from service.http.db import release
from service.http.mcp import calls, jsonrpc, streamable
from service.http.mcp.exchange import Exchange
from service.http.mcp.jsonrpc import Fault, Json, Message, failure
from service.http.mcp.places import streams
from service.json_text import spaced

log = logging.getLogger(__name__)

REVISION = "2024-11-05"
#: A holder that did not say so for this long has died.
LASTS_SECONDS = 60.0
_POLL_SECONDS = 0.2


def opened(exchange: Exchange, endpoint: str, gone: Callable[[], bool], is_admitted: Callable[[], bool]) -> Response:
    """Return the answer that is a stream; its first event says where to send messages.

    Args:
        exchange: the request.
        endpoint: where that is.
        gone: says whether the client has gone away.
        is_admitted: says whether the caller would still be let in; asked at each heartbeat.

    Raises:
        TooManyAttempts: too many streams are open.
    """
    token = secrets.token_urlsafe(32)
    exchange = dataclasses.replace(exchange, session_id=token)
    release()
    held = _Held(exchange)
    pieces = held.pieces(f"{endpoint}?session_id={token}", gone, is_admitted)
    response = Response(pieces, mimetype="text/event-stream")
    response.headers["Cache-Control"], response.headers["X-Accel-Buffering"] = "no-cache", "no"
    response.call_on_close(held.close)
    return response


def posted(exchange: Exchange, request: Request) -> Response:
    """Take a message for an open stream, and answer into that.

    Raises:
        NotFound: this caller has no such stream.
        Fault: what arrived is no message.
    """
    mail, stream_id = exchange.own.mcp_mail, _stream_id(exchange)
    if not mail.has(stream_id):
        raise NotFound("Could not find session")
    message = jsonrpc.message_of(streamable.body_of(request))
    if message is None or message.id is None:
        streamable.notified(exchange, message)
    else:
        answer = _answer(exchange, message, stream_id)
        release()
        if answer is not None and not mail.put(stream_id, spaced(answer)):
            raise TooBusy
    return Response("Accepted", 202, mimetype="text/plain")


class _Held:
    """An open stream of this worker."""

    def __init__(self, exchange: Exchange) -> None:
        self._own, self._id = exchange.own, _stream_id(exchange)
        self._places = streams(exchange.own, exchange.address, keyless=exchange.whom.is_public)
        self._token = self._places.enter()
        try:
            self._own.mcp_mail.open(self._id)
        except BaseException:
            self._places.leave(self._token)
            raise

    def pieces(self, endpoint: str, gone: Callable[[], bool], is_admitted: Callable[[], bool]) -> Iterator[bytes]:
        """Yield the stream's events until the client, its admission or this worker goes away."""
        yield f"event: endpoint\ndata: {endpoint}\n\n".encode()
        mail, pause = self._own.mcp_mail, threading.Event()
        heartbeat = min(self._own.settings.heartbeat_seconds, LASTS_SECONDS / 3)
        kept = time.monotonic()
        while not stopping.is_stopping() and not gone():
            for body in mail.take(self._id):
                yield streamable.event(body)
            if time.monotonic() - kept >= heartbeat:
                if not (is_admitted() and mail.keep(self._id)):
                    return
                kept = time.monotonic()
                yield b": still here\n\n"
            pause.wait(_POLL_SECONDS)

    def close(self) -> None:
        """End the stream, and the calls whose answers would have come out of it."""
        self._places.leave(self._token)
        self._own.mcp_mail.close(self._id)


def _stream_id(exchange: Exchange) -> str:
    return exchange.digest("stream")


def _answer(exchange: Exchange, message: Message, stream_id: str) -> Json | None:
    """Return the answer to a request, or None where a run has begun that will answer by itself."""
    try:
        if message.method != "tools/call":
            return streamable.reply(exchange, message)
        call = calls.call_of(exchange, message)
        running = calls.started(call)
    except Fault as fault:
        fault.id = message.id
        return failure(fault)
    if isinstance(running, dict):
        return running
    opened = calls.OpenCall(call, running, stream_id)
    threading.Thread(target=_deliver, args=(opened, stream_id), name="run", daemon=False).start()
    return None


def _deliver(opened: calls.OpenCall, stream_id: str) -> None:
    mail = opened.call.exchange.own.mcp_mail
    try:
        with closing(opened.messages()) as messages:
            for said in messages:
                if not mail.put(stream_id, spaced(said)):
                    return
    except Exception:
        log.exception("the answer to a tool call could not be delivered")
