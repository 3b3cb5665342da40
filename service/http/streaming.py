"""The events of a run as bytes on the wire, while it runs."""

from __future__ import annotations

import json
import logging
import queue
import select
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

from flask import Request, Response

from service.domain.errors import DomainError, Invalid
from service.domain.ports import Event
from service.domain.runs import Running
from service.http.db import services
from service.http.errors import database_state, detail_of, status_of
from service.http.schemas.workflows import outputs_of
from service.json_text import spaced

log = logging.getLogger(__name__)

Encode = Callable[[str, object], bytes]
_BACKLOG = 64
_LOOK_SECONDS = 0.5


class Relay:
    """Hands pieces over that are made in a thread of their own.

    So a silent provider does not keep the server from seeing that the client has gone away: a line is sent after each
    ``heartbeat`` seconds of silence, and when that fails the work is cancelled.

    Args:
        pieces: makes the bytes; closed in its own thread.
        cancel: makes it stop; called from another thread.
        heartbeat: seconds of silence after which an empty line is sent.
        pulse: the bytes of a heartbeat.
        departed: says whether the client has gone away, where that can be told without writing.
    """

    def __init__(
        self, pieces: Generator[bytes, None, None], cancel: Callable[[], None], heartbeat: float, pulse: bytes,
        departed: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._pieces, self._cancel, self._heartbeat, self._pulse = pieces, cancel, heartbeat, pulse
        self._departed = departed
        self._queue: queue.Queue[bytes | None] = queue.Queue(_BACKLOG)
        self._gone = threading.Event()
        threading.Thread(target=self._pump, name="stream", daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        step, silent = min(self._heartbeat, _LOOK_SECONDS), 0.0
        while True:
            try:
                piece = self._queue.get(timeout=step)
            except queue.Empty:
                if self._departed():
                    return
                silent += step
                if silent >= self._heartbeat:
                    silent = 0.0
                    yield self._pulse
                continue
            if piece is None:
                return
            silent = 0.0
            yield piece

    def close(self) -> None:
        """Stop the work; called when the answer is complete and when the client has gone away."""
        self._gone.set()
        self._cancel()

    def _pump(self) -> None:
        try:
            for piece in self._pieces:
                if not self._put(piece):
                    break
            self._pieces.close()
        except Exception:
            log.exception("what a stream shows could not be brought to an end")
        finally:
            self._put(None)

    def _put(self, piece: bytes | None) -> bool:
        """Hand over, however slow the client is; False when nobody takes it any more."""
        while not self._gone.is_set():
            try:
                self._queue.put(piece, timeout=0.5)
            except queue.Full:
                continue
            return True
        return False


class Pump(Relay):
    """Runs a flow and hands its events over.

    Args:
        running: the run.
        session_id: goes into the last event.
        heartbeat: seconds of silence after which an empty line is sent.
        encode: makes the bytes of one event.
        pulse: the bytes of a heartbeat.
    """

    def __init__(self, running: Running, session_id: str, heartbeat: float, encode: Encode, pulse: bytes) -> None:
        super().__init__(_told(running, session_id, encode), running.cancel, heartbeat, pulse)


def _told(running: Running, session_id: str, encode: Encode) -> Generator[bytes, None, None]:
    try:
        for event in running:
            yield _bytes(event, session_id, encode)
    except DomainError as error:
        yield encode("error", _failure(status_of(error), detail_of(error)))
    except Exception as error:
        yield encode("error", _failure(*failure_of(error)))
    finally:
        running.close()


def _failure(status: int, detail: object) -> dict[str, str]:
    """What clients take apart at the first colon. A component's failure is JSON already, as an answer has it."""
    return {"error": f"{status}: {detail if isinstance(detail, str) else json.dumps(detail)}"}


def failure_of(error: Exception) -> tuple[int, str]:
    """Return status and words for what ended a stream and is no error of the domain's; the log has the rest."""
    told = database_state(error)
    if told is None:
        log.error("a streamed run failed unexpectedly", exc_info=error)
        return 500, "Internal Server Error"
    return told


def _bytes(event: Event, session_id: str, encode: Encode) -> bytes:
    if event.name != "end":
        return encode(event.name, event.data)
    return encode("end", {"result": {"session_id": session_id, "outputs": event.data["outputs"]}})


def _langflow(name: str, data: object) -> bytes:
    """Bare JSON and a blank line, with no ``data:`` in front: what Langflow's clients parse."""
    return _text(name, data) + b"\n\n"


def _ndjson(name: str, data: object) -> bytes:
    return _text(name, data) + b"\n"


def _sse(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {spaced(data)}\n\n".encode("utf-8", "replace")


def _text(name: str, data: object) -> bytes:
    return spaced({"event": name, "data": data}).encode("utf-8", "replace")


def _workflow(name: str, data: object) -> bytes:
    """An event of a v2 workflow; the result is an ``output`` for each component, and then a bare ``end``."""
    if name != "end":
        return _data(name, data)
    result: Any = data
    outputs = [_data("output", output) for output in outputs_of(result["result"]["outputs"])]
    return b"".join([*outputs, _data("end", {})])


def _data(name: str, data: object) -> bytes:
    return b"data: " + _text(name, data) + b"\n\n"


_WORKFLOW = ("text/event-stream", _workflow, b": still running\n\n")

#: By what a client asks for: content type, encoding, heartbeat. An empty line says nothing in any of them.
_FORMATS: dict[str, tuple[str, Encode, bytes]] = {
    "langflow": ("text/event-stream", _langflow, b"\n"),
    "ndjson": ("application/x-ndjson", _ndjson, b"\n"),
    "sse": ("text/event-stream", _sse, b": still running\n\n"),
}


def wanted_format(request: Request) -> str:
    """How the client wants its events.

    Raises:
        Invalid: ``?format=`` names none of the formats.
    """
    named = request.args.get("format") if request.query_string else None
    if named is None:
        accepted = "HTTP_ACCEPT" in request.environ and request.accept_mimetypes.best == "application/x-ndjson"
        return "ndjson" if accepted else "langflow"
    if named not in _FORMATS:
        raise Invalid.field(f"Input should be one of {', '.join(_FORMATS)}", "query", "format", kind="enum")
    return named


def streamed(running: Running, session_id: str, form: str, heartbeat: float) -> Response:
    """The answer that shows a run while it runs."""
    return _answer(running, session_id, heartbeat, *_FORMATS[form])


def workflow_stream(running: Running, session_id: str, heartbeat: float) -> Response:
    """The same, as Langflow's v2 workflows have it."""
    return _answer(running, session_id, heartbeat, *_WORKFLOW)


def _answer(running: Running, session_id: str, heartbeat: float, kind: str, encode: Encode, pulse: bytes) -> Response:
    pump = Pump(running, session_id, heartbeat, encode, pulse)
    return answered(pump, kind)


def departed(request: Request) -> Callable[[], bool]:
    """Return what says whether the client has closed its connection.

    A stream that seldom writes would notice it late. Only gunicorn shows its socket; elsewhere the answer is no.
    """
    connection = request.environ.get("gunicorn.socket")
    if not isinstance(connection, socket.socket) or isinstance(connection, ssl.SSLSocket):
        return lambda: False
    poll = select.poll()
    poll.register(connection, select.POLLIN)

    def is_gone() -> bool:
        try:
            # What can be read and is empty is the end. The next request of a client that does not wait is not.
            return bool(poll.poll(0)) and connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    return is_gone


def answered(pump: Relay, kind: str) -> Response:
    """The answer that hands a stream over, of a content type."""
    headers: dict[str, Any] = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    response = Response(iter(pump), mimetype=kind, headers=headers)
    response.call_on_close(pump.close)
    meter = services().meter
    meter.stream(1)
    response.call_on_close(lambda: meter.stream(-1))
    return response
