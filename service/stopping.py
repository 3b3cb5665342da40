"""Whether this worker has been told to stop, and what is done when its time is nearly over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import sleep

#: Seconds before the end at which what still runs is stopped, so that its client is told and not cut off.
LAST_SECONDS = 5.0
_LOOK_SECONDS = 0.5


def _never() -> bool:
    return False


def _nothing() -> None:
    """Nothing is to be done."""


_asked: Callable[[], bool] = _never
_in_the_end: Callable[[], None] = _nothing


def ask(whether: Callable[[], bool]) -> None:
    """Set who knows; the server does so in each worker."""
    global _asked  # noqa: PLW0603 - one worker, one process
    _asked = whether


def is_stopping() -> bool:
    """Return True when the worker has been told to stop."""
    return _asked()


def in_the_end(act: Callable[[], None]) -> None:
    """Set what is done when a worker that stops has only ``LAST_SECONDS`` left."""
    global _in_the_end  # noqa: PLW0603 - one worker, one process
    _in_the_end = act


def watch(grace: float) -> None:
    """Wait, in a thread of its own, for the worker to be told to stop; it has ``grace`` seconds then."""
    threading.Thread(target=_watch, args=(grace,), name="stopping", daemon=True).start()


def _watch(grace: float) -> None:
    while not is_stopping():
        sleep(_LOOK_SECONDS)
    sleep(max(0.0, grace / 2 - _LOOK_SECONDS, grace - LAST_SECONDS - _LOOK_SECONDS))
    _in_the_end()
