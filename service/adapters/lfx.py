"""``lfx``, Langflow's own executor, as a second engine; implements ``domain.ports.Executor``.

Everything that comes from a run is the word of a stranger: its size is counted before it is read, its shape is looked
at before it is used, and no text of it goes into a log or a refusal.
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any

from service.adapters.lfx_fence import Fence
from service.adapters.lfx_process import Child, Forker, Forkers
from service.domain.errors import EngineFailed, RunCancelled, RunTimedOut, TooBusy
from service.domain.ports import Cancellation, Lacking

log = logging.getLogger(__name__)

_GONE_SECONDS = 10.0
_CHUNK = 262_144
_SIGXCPU = -24


class LfxExecutor:
    """Runs flows in processes of their own; safe to use from many threads.

    Args:
        fence: what a run may use.
        most: runs at once in this worker.
        most_bytes: that one run may put out.
    """

    def __init__(self, fence: Fence, *, most: int, most_bytes: int) -> None:
        self._fence, self._most_bytes = fence, most_bytes
        self._places = threading.BoundedSemaphore(most)
        self._forkers = Forkers(fence)
        self.allow_code = fence.allow_code

    @property
    def forker(self) -> Forker | None:
        """The process that has lfx, where it has been started and lives."""
        return self._forkers.living

    def lacking(self, types: frozenset[str]) -> Lacking:
        """See ``domain.ports.Executor``. The first call starts lfx, which takes seconds."""
        forker = self._forkers.current()
        if self.allow_code:
            return Lacking()
        return Lacking(frozenset(types - forker.names), frozenset(types & forker.that_run_code))

    def run(self, order: Mapping[str, Any], cancellation: Cancellation) -> Generator[Mapping[str, Any], None, None]:
        """See ``domain.ports.Executor``."""
        if not self._places.acquire(blocking=False):
            raise TooBusy
        try:
            forker = self._forkers.current()
            child = forker.launch()
        except BaseException:
            self._places.release()
            raise
        lines = self._lines(_Conversation(forker, child, self._fence.seconds, self._most_bytes), order, cancellation)
        next(lines)  # from here on, closing it gives everything back, whether anybody has read from it or not
        return lines

    def close(self) -> None:
        """End every run, and lfx with them."""
        self._forkers.close()

    def _lines(
        self, talk: _Conversation, order: Mapping[str, Any], cancellation: Cancellation
    ) -> Generator[Mapping[str, Any], None, None]:
        try:
            yield {}
            with cancellation.interrupting(talk.interrupt):
                talk.send(json.dumps(order).encode())
                yield from talk.lines()
            if cancellation.is_set:
                raise RunCancelled("The run was stopped by its caller.")
        finally:
            talk.close()
            self._places.release()


class _Conversation:
    """What is said between here and one run."""

    def __init__(self, forker: Forker, child: Child, seconds: float, most_bytes: int) -> None:
        self._forker, self._child, self._most = forker, child, most_bytes
        self._seconds, self._deadline = seconds, time.monotonic() + seconds
        self._printed, self._prints = 0, True
        self._interrupted = False
        self._poll = select.poll()
        self._poll.register(child.wire, select.POLLIN)
        self._poll.register(child.errors, select.POLLIN)

    def interrupt(self) -> None:
        """Have the run end, from another thread."""
        self._interrupted = True
        self._forker.kill(self._child)
        with suppress(OSError):
            self._child.wire.shutdown(socket.SHUT_RDWR)

    def send(self, order: bytes) -> None:
        """Hand the order over.

        Raises:
            EngineFailed, RunTimedOut: nobody takes it.
        """
        self._child.wire.settimeout(self._left())
        try:
            self._child.wire.sendall(order + b"\n")
        except OSError:
            self._raise_how_it_ended()

    def lines(self) -> Generator[Mapping[str, Any], None, None]:
        """Yield what the run says, up to ``end`` or ``failed``.

        Raises:
            EngineFailed: it ended before that, or said too much or nonsense.
            RunTimedOut: it took too long.
            RunCancelled: ``interrupt`` was called.
        """
        pieces: list[bytes] = []
        size = 0
        while True:
            piece = self._next()
            size += len(piece)
            if size > self._most:
                raise EngineFailed(f"The run put out more than {self._most} bytes.")
            if not piece:
                self._raise_how_it_ended()
            pieces.append(piece)
            if b"\n" not in piece:
                continue
            *complete, rest = b"".join(pieces).split(b"\n")
            pieces = [rest]
            for text in complete:
                line = _read(text)
                yield line
                if "end" in line or "failed" in line:
                    return

    def close(self) -> None:
        """Make sure that the run is gone, with its files."""
        self._forker.kill(self._child)
        if not self._child.ended.wait(_GONE_SECONDS):
            log.error("a run of lfx did not end in time")
        self._drain()
        if self._printed:
            # Not what it was: a component may print what it was given.
            log.debug("a run of lfx printed %d bytes", self._printed)
        self._child.close()

    def _next(self) -> bytes:
        """Wait for something on the socket; what comes to standard error is read on the way."""
        while True:
            ready = dict(self._poll.poll(self._left() * 1000))
            if self._child.errors in ready:
                self._drain()
            if self._child.wire.fileno() in ready:
                try:
                    return self._child.wire.recv(_CHUNK)
                except OSError:
                    return b""

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            self._raise_timeout()
        return left

    def _drain(self) -> None:
        """Read what the run has printed, and forget it: it must never wait for a reader."""
        while self._prints:
            try:
                piece = os.read(self._child.errors, 65_536)
            except BlockingIOError:
                return
            self._printed += len(piece)
            if not piece:
                self._prints = False
                self._poll.unregister(self._child.errors)

    def _raise_timeout(self) -> None:
        raise RunTimedOut(f"The run took longer than {self._seconds:g} seconds.")

    def _raise_how_it_ended(self) -> None:
        if self._interrupted:
            raise RunCancelled("The run was stopped by its caller.")
        self._child.ended.wait(_GONE_SECONDS)
        status = self._child.status
        if status == _SIGXCPU or time.monotonic() >= self._deadline:
            self._raise_timeout()
        log.error("a run of lfx ended with %s", "nobody to tell how" if status is None else f"status {status}")
        raise EngineFailed(EngineFailed.CRASHED)


def _read(text: bytes) -> Mapping[str, Any]:
    """One line, which may be anything.

    Raises:
        EngineFailed: it is no JSON object.
    """
    try:
        line = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        line = None
    if not isinstance(line, dict):
        raise EngineFailed(EngineFailed.NONSENSE)
    return line
