"""``tools/call``: runs a flow, tells how it goes, and answers with what it says."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from service.domain import errors, mcp, runs
from service.domain.errors import DomainError
from service.domain.ports import Event
from service.domain.runs import Running
from service.http import key_limits
from service.http.db import release, session
from service.http.mcp import revisions
from service.http.mcp.exchange import Exchange
from service.http.mcp.jsonrpc import (
    CANCELLED,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    Fault,
    Id,
    Json,
    Message,
    failure,
    id_of,
    notification,
    result,
)
from service.http.mcp.places import keyless_runs
from service.json_text import spaced

log = logging.getLogger(__name__)

#: Not every piece of an answer is worth a message.
_PROGRESS_SECONDS = 0.2
#: What nobody in particular is told of a failure; everything else may speak of what is the owner's.
_TOLD = (
    mcp.ArgumentInvalid, errors.TweaksRefused, errors.InputConflict, errors.TooBusy, errors.TooManyAttempts,
    errors.RunTimedOut, errors.RunTooLarge,
)  # fmt: skip
_UNTOLD = "The tool could not do its work."


@dataclass(slots=True)
class Call:
    """A call that has been understood; what it says goes through here, whatever the transport.

    Args:
        exchange: the request that brought it.
        message: the request.
        name: of the tool.
        arguments: as they came.
    """

    exchange: Exchange
    message: Message
    name: str
    arguments: dict[str, Any] = field(repr=False)
    _progress: int = 0
    _told_at: float = 0.0

    @property
    def token(self) -> Id | None:
        """What the caller wants to hear about the progress under; None: nothing."""
        return id_of(self.message.meta.get("progressToken"))

    def progress(self) -> Json | None:
        """Return a message about one more step, or None when the last one was just now."""
        now = time.monotonic()
        if self.token is None or (self._progress and now - self._told_at < _PROGRESS_SECONDS):
            return None
        self._told_at = now
        self._progress += 1
        return notification("notifications/progress", {"progressToken": self.token, "progress": self._progress})

    def event(self, event: Event) -> Json | None:
        """Return the message that an event of the run is worth."""
        return self.done(event.data["outputs"]) if event.name == "end" else self.progress()

    def done(self, outputs: Any) -> Json:
        """Return the answer of a run that ended well."""
        return self._answer(mcp.texts_of(outputs, _written), is_error=False)

    def failed(self, error: DomainError) -> Json:
        """Return the answer of a run that failed."""
        told = not self.exchange.whom.is_public or isinstance(error, _TOLD)
        reason = error.message if told else _UNTOLD
        return self._answer([f"Error executing the {self.name} tool. Error: {reason}"], is_error=True)

    def missing(self) -> Json:
        """Return the answer where there is no such tool, in Langflow's words."""
        return self._answer([f"Flow with name '{self.name[:100]}' not found"], is_error=True)

    def cancelled(self) -> Json:
        """Return the answer where the request still waits for one, although its caller has cancelled it."""
        return failure(Fault(CANCELLED, "The request was cancelled", id=self.message.id))

    def broken(self) -> Json:
        """Return the answer where this server failed."""
        return failure(Fault(INTERNAL_ERROR, "Internal error", id=self.message.id))

    def _answer(self, texts: list[str], *, is_error: bool) -> Json:
        content = {"content": [{"type": "text", "text": text} for text in texts], "isError": is_error}
        exchange = self.exchange
        return result(self.message.id, revisions.finished(exchange.revision, "tools/call", content, exchange.server))


class OpenCall:
    """A call that runs: can be cancelled by its caller from any worker until it is closed.

    Args:
        call: what runs.
        running: its run.
        stream_id: where its answer goes, where that is not the request itself.
    """

    def __init__(self, call: Call, running: Running, stream_id: str | None = None) -> None:
        self.call, self._running = call, running
        self._id: str | None = None
        self._stopped = False
        exchange = call.exchange
        if exchange.session_id is None:
            return
        call_id = call_id_of(exchange, call.message.id)
        try:
            if exchange.own.mcp_calls.begin(call_id, self.cancel, stream_id):
                self._id = call_id
        except BaseException:
            running.close()
            raise

    def __iter__(self) -> Iterator[Event]:
        return self._running

    def cancel(self) -> None:
        """Ask the run to stop; may come from another thread."""
        self._stopped = True
        self._running.cancel()

    def close(self) -> None:
        """End the run."""
        try:
            self._running.close()
        finally:
            call_id, self._id = self._id, None
            if call_id is not None:
                self.call.exchange.own.mcp_calls.end(call_id)

    def messages(self) -> Generator[Json, None, None]:
        """Yield what the call says, the answer last; nothing any more once it is cancelled."""
        try:
            for event in self:
                message = self.call.event(event)
                if message is not None:
                    yield message
        except DomainError as error:
            # A run that was stopped fails with whatever it was at: nobody is told.
            if not self._stopped:
                yield self.call.failed(error)
        except Exception:
            log.exception("a tool call failed unexpectedly")
            yield self.call.broken()
        finally:
            self.close()


def call_of(exchange: Exchange, message: Message) -> Call:
    """Read a call.

    Raises:
        Fault: it names no tool, or its arguments are no object.
    """
    name, arguments = message.params.get("name"), message.params.get("arguments")
    if not isinstance(name, str):
        raise Fault(INVALID_PARAMS, "Invalid params: name has to be a string")
    if arguments is not None and not isinstance(arguments, dict):
        raise Fault(INVALID_PARAMS, "Invalid params: arguments have to be an object")
    return Call(exchange, message, name, arguments or {})


def started(call: Call) -> Running | Json:
    """Start the run of a call, or return the answer to one that cannot be run."""
    exchange = call.exchange
    own, identity = exchange.own, exchange.identity
    named = next((one for one in mcp.tools_of(session(), exchange.whom) if one.name == call.name), None)
    if named is None:
        return call.missing()
    try:
        shape = mcp.shape(session(), own.tool_shapes, named.flow_id)
        asked = mcp.request_of(shape, call.arguments, exchange.whom, stream=call.token is not None)
        slot = key_limits.slot_of(identity, own) if identity is not None else keyless_runs(own, exchange.address)
        prepared = own.runner.prepare(
            session, named.owner_id, str(named.flow_id), asked.tweaks,
            # What a stranger sends must not stand where the owner's own values go.
            {} if exchange.whom.is_public else exchange.variables, asked.session_id, only=exchange.whom.only,
            slot=slot, key_id=identity.key_id if identity is not None else None,
        )  # fmt: skip
        release()
        return runs.events(prepared, asked)
    except DomainError as error:
        return call.failed(error)


def cancel(exchange: Exchange, message: Message) -> None:
    """Wish that a call of the same session stops; one that is not there is no reason to complain."""
    wanted = id_of(message.params.get("requestId"))
    if exchange.session_id is not None and wanted is not None:
        exchange.own.mcp_calls.cancel(call_id_of(exchange, wanted))


def call_id_of(exchange: Exchange, request_id: Id | None) -> str:
    """Return under which id a call can be cancelled: 1 and "1" are two requests."""
    return exchange.digest("call", request_id)


def _written(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        return spaced(value)
