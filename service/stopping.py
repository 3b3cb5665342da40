"""Whether this worker has been told to stop, so that streams without an end do not hold it up."""

from __future__ import annotations

from collections.abc import Callable


def _never() -> bool:
    return False


_asked: Callable[[], bool] = _never


def ask(whether: Callable[[], bool]) -> None:
    """Set who knows; the server does so in each worker."""
    global _asked  # noqa: PLW0603 - one worker, one process
    _asked = whether


def is_stopping() -> bool:
    """Return True when the worker has been told to stop."""
    return _asked()
