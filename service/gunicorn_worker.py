"""gunicorn's threaded worker, made deaf to slow clients: a thread is taken when there is something to do for it.

gunicorn 27's own gives a thread to a connection with its first byte, and the thread waits without an end for the rest
of the head or the body; and its loop itself waits up to two seconds for a client that does not close. Some dozens of
connections that say nothing would keep everybody out. Here the loop gathers heads and small bodies, and waits for
nobody; what a thread still waits for, large bodies and slow readers, has limits of its own.
"""

from __future__ import annotations

import errno
import json
import re
import selectors
import socket
import struct
from collections import deque
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any

from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from service.http import bodies
from service.http.headers import OF_API

#: Seconds in which the head and a small body have to be there; no thread waits for them.
HEAD_SECONDS = 10
#: Bytes of a head. gunicorn's own limits on its lines hold beside it.
MOST_HEAD = 65_536
#: Seconds that a thread waits for a client that sends or takes nothing at all.
STANDSTILL_SECONDS = 10
#: A large body may take this long, and longer the more of it has come.
BODY_SECONDS, BODY_BYTES_PER_SECOND = 30, 8192
#: Seconds that a closed connection is read from, so that what was sent last arrives (RFC 9112, 9.6).
LINGER_SECONDS = 2.0
#: Seconds that a thread spends on a body that nobody wanted, so that the connection can go on.
_DRAIN_SECONDS = 0.05
_PIECE = 65_536
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n", re.IGNORECASE)
_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_STANDSTILL = struct.pack("ll", STANDSTILL_SECONDS, 0)


def refusal(status: str) -> bytes:
    """The answer to what never becomes a request, as the API words it; ``status`` is a code and its name."""
    body = json.dumps({"detail": status.partition(" ")[2]})
    lines = [
        f"HTTP/1.1 {status}", "Connection: close", "Content-Type: application/json", f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in OF_API), "", body,
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


class _BodyReader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Reads what the loop has not gathered, with an end to its patience."""

    began: float | None = None
    got = 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        began = self.began = self.began or monotonic()
        try:
            piece: bytes = super().chunk(size_hint)
        except BlockingIOError:
            raise _too_slow() from None
        self.got += len(piece)
        if monotonic() - began > BODY_SECONDS + self.got / BODY_BYTES_PER_SECOND:
            raise _too_slow()
        return piece


def _too_slow() -> ConnectionResetError:
    # gunicorn and werkzeug take it for a client that went away, which is no news for the log.
    return ConnectionResetError(errno.ECONNRESET, "the client was too slow")


class _Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection and what the loop has read from it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.gathered = bytearray()
        #: True while the loop waits for more.
        self.waits = False
        self.was_told_to_go_on = False
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _STANDSTILL)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _STANDSTILL)

    def init(self) -> None:
        """In a thread: hand to gunicorn's parser what the loop has gathered."""
        is_new = not self.initialized
        super().init()
        if is_new:
            self.parser.unreader = _BodyReader(self.sock)
        reader = self.parser.unreader
        reader.began, reader.got = None, 0
        reader.unread(bytes(self.gathered))
        self.gathered.clear()
        self.was_told_to_go_on = False

    def lacks(self) -> int:
        """How many bytes are missing at least until a thread has something to do; below 0: the head is too long."""
        held = self.gathered
        # Line ends in front of a request are gunicorn's to judge; they end no head.
        start = len(held) - len(held.lstrip(b"\r\n"))
        end = held.find(b"\r\n\r\n", start) + 4
        if (end if end >= 4 else len(held)) > MOST_HEAD:
            return -1
        if end < 4:
            return 1
        length = _LENGTH.search(held, 0, end)
        # Of two lengths gunicorn refuses both, whatever comes.
        missing = end + int(length[1]) - len(held) if length is not None and int(length[1]) <= bodies.SMALL else 0
        if missing > 0 and not self.was_told_to_go_on and _CONTINUE.search(held, 0, end):
            self.was_told_to_go_on = True
            self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return max(missing, 0)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, which gathers requests before it takes a thread; over TLS it is gunicorn's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._leaving: deque[_Connection] = deque()

    def accept(self, listener: socket.socket) -> None:
        if self.cfg.is_ssl:
            super().accept(listener)
            return
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                # To raise it would end the worker, and every stream with it.
                self._make_room()
            elif error.errno not in {errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED}:
                raise
            return
        self.nr_conns += 1
        if self.nr_conns > self.worker_connections * 0.9:
            self._make_room()
        self._receive(_Connection(self.cfg, client, address, listener.getsockname()))

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        if not isinstance(conn, _Connection):
            super().on_client_socket_readable(conn, client)
            return
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._receive(conn)

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        if not isinstance(conn, _Connection):
            super().finish_request(conn, fs)
            return
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self._leave(conn)
            return
        rest = conn.parser.unreader.take_buffered()
        if not rest:
            super().finish_request(conn, fs)
            return
        # A client that does not wait for answers: its next request may lack its end as well.
        conn.gathered += rest
        conn.sock.setblocking(False)
        self._go_on(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        try:
            return super().handle_request(req, conn)
        except BlockingIOError:
            raise _too_slow() from None

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        note = _Note()
        super().handle_error(req, note, addr, exc)
        _say(client, refusal(note.status()))

    def murder_pending(self) -> None:
        if self.cfg.is_ssl:
            super().murder_pending()
            return
        now = monotonic()
        while self.pending_conns and self.pending_conns[0].timeout <= now:
            self._dismiss(self.pending_conns[0])
        while self._leaving and self._leaving[0].timeout <= now:
            self._end(self._leaving[0])

    def _keepalive_after(self, conn: TConn, keepalive: Any) -> bool:
        return bool(keepalive and conn.parser.finish_body(deadline=monotonic() + _DRAIN_SECONDS))

    def _receive(self, conn: _Connection, _client: Any = None) -> None:
        """Take what has come."""
        try:
            piece = conn.sock.recv(_PIECE)
        except BlockingIOError:
            self._go_on(conn)
        except OSError:
            self._forget(conn)
            self._drop(conn)
        else:
            conn.gathered += piece
            self._go_on(conn, ended=not piece)

    def _go_on(self, conn: _Connection, *, ended: bool = False) -> None:
        """Take a thread if there is something to do for it, and wait otherwise."""
        try:
            missing = conn.lacks() if conn.gathered else 1
        except OSError:
            missing, ended = 1, True
        if missing < 0:
            self._dismiss(conn, "431 Request Header Fields Too Large")
        elif missing == 0 or (ended and conn.gathered):
            # One that ended too early is judged by whoever reads it.
            self._forget(conn)
            conn.data_ready = True
            self.enqueue_req(conn)
        elif ended:
            self._forget(conn)
            self._drop(conn)
        elif not conn.waits:
            conn.waits, conn.timeout = True, monotonic() + HEAD_SECONDS
            self.pending_conns.append(conn)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))

    def _dismiss(self, conn: _Connection, status: str = "408 Request Timeout") -> None:
        """Close a connection from which no request came; say so if it has begun one."""
        self._forget(conn)
        if conn.gathered:
            _say(conn.sock, refusal(status))
        self._leave(conn)

    def _make_room(self) -> None:
        """In a full house, the one that has kept us waiting longest goes."""
        if self.pending_conns:
            self._dismiss(self.pending_conns[0])
        if self._leaving:
            self._end(self._leaving[0])

    def _forget(self, conn: _Connection) -> None:
        if conn.waits:
            conn.waits = False
            self.poller.unregister(conn.sock)
            self.pending_conns.remove(conn)

    def _leave(self, conn: _Connection) -> None:
        """Close our half, and read on for a moment without waiting: what was sent last would be lost otherwise."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        conn.timeout = monotonic() + LINGER_SECONDS
        self._leaving.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._hear_out, conn))

    def _hear_out(self, conn: _Connection, _client: Any) -> None:
        try:
            is_over = not conn.sock.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            is_over = True
        if is_over:
            self._end(conn)

    def _end(self, conn: _Connection) -> None:
        self._leaving.remove(conn)
        self.poller.unregister(conn.sock)
        self._drop(conn)

    def _drop(self, conn: _Connection) -> None:
        self.nr_conns -= 1
        conn.close()


class _Note:
    """Stands where a client's socket would, to learn which status gunicorn gives to a failure."""

    def __init__(self) -> None:
        self.text = b""

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, data: bytes) -> None:
        self.text += data

    def status(self) -> str:
        return self.text.partition(b"\r\n")[0].decode().partition(" ")[2]


def _say(client: socket.socket, answer: bytes) -> None:
    try:
        client.setblocking(False)
        client.sendall(answer)
    except OSError:
        pass  # whoever does not take it has no use for it
