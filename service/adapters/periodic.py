"""What is gathered in memory and written once a second, and at the end."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from weakref import WeakSet

log = logging.getLogger(__name__)

SECONDS = 1.0
#: Seconds that the end waits for a round that is under way.
_END_SECONDS = 5.0


_timers: WeakSet[Periodic] = WeakSet()


def _stand_still() -> None:
    for timer in _timers:
        timer._runs = False


os.register_at_fork(after_in_child=_stand_still)


class Periodic:
    """A timer that calls ``flush`` while there is a process to call it in.

    Threads do not survive gunicorn's fork, so the timer starts with the first thing that a process gathers.

    Args:
        name: of the thread.
        seconds: between two calls.
    """

    def __init__(self, name: str, seconds: float = SECONDS) -> None:
        self._name, self._seconds = name, seconds
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._pid = 0
        #: Asked for with every request, so it is no question to the system.
        self._runs = False
        _timers.add(self)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def flush(self) -> None:
        """Write what has gathered."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop what another process had gathered before it forked."""
        raise NotImplementedError

    def waiting(self) -> int:
        """How much has gathered and is not written."""
        return 0

    def close(self) -> None:
        """Stop the timer and write the rest."""
        self.end()
        atexit.unregister(self.close)
        self.flush()
        if left := self.waiting():
            log.error("%s: %d could not be written before the end, and are lost", self._name, left)

    def end(self) -> None:
        """Stop the timer, and wait for the round that is under way: its connection is to be given back."""
        with self._lock:  # one that another thread is about to start cannot be waited for yet
            self._stop.set()
            self._bell.set()
            thread = self._thread
        if thread is not None and self._pid == os.getpid() and thread is not threading.current_thread():
            thread.join(_END_SECONDS)

    def awake(self) -> None:
        """Make sure that the timer runs in this process."""
        if not self._runs:
            self._start()

    def ring(self) -> None:
        """Have ``flush`` called now, in its own thread."""
        self.awake()
        self._bell.set()

    def _start(self) -> None:
        with self._lock:
            if self._runs:
                return
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self.forget()
            self._runs = True
            self._stop, self._bell = threading.Event(), threading.Event()
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        stop, bell = self._stop, self._bell
        while not stop.is_set():
            bell.wait(self._seconds)
            bell.clear()
            if stop.is_set():
                return
            try:
                self.flush()
            except Exception:
                # Whatever it is, what gathers next has to find its timer alive.
                log.exception("the timer %s failed, and goes on", self._name)
