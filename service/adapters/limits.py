"""Limits on attempts, counted in this process."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic

from service.domain.errors import TooManyAttempts

_WINDOW_SECONDS = 60
_MOST_SUBJECTS = 10_000


class SlidingWindow:
    """At most so many attempts of one subject in any minute.

    Args:
        per_minute: attempts; None for no limit.
        clock: seconds that only grow, for tests.
    """

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, subject: str) -> None:
        if self._per_minute is None:
            return
        now = self._clock()
        with self._lock:
            times = self._seen.setdefault(subject, deque())
            self._seen.move_to_end(subject)
            while times and times[0] <= now - _WINDOW_SECONDS:
                times.popleft()
            if len(times) >= self._per_minute:
                raise TooManyAttempts(max(1, round(times[0] + _WINDOW_SECONDS - now)))
            times.append(now)
            # Bounded: somebody who sends from many addresses must not fill the memory.
            if len(self._seen) > _MOST_SUBJECTS:
                self._seen.popitem(last=False)
