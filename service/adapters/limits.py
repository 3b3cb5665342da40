"""Limits counted in this process, and what happens when the place where all workers count is away."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, time
from typing import Literal, TypeVar

from service.domain.errors import LimitsAway
from service.domain.ports import LimitStore, Standing
from service.observability import Outage

log = logging.getLogger(__name__)
T = TypeVar("T")

#: What to do meanwhile: count in this process alone, or refuse.
WhenAway = Literal["local", "refuse"]
_MOST_SUBJECTS = 10_000
_RETRY_SECONDS = 2.0
#: How far apart the clocks of two who count may be, in seconds: threads read theirs one after the other, and hosts
#: are kept together by NTP only.
CLOCKS_APART = 60.0


class LocalLimits:
    """Implements ``LimitStore`` for one process.

    Args:
        clock: seconds; tests bring their own.
    """

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._places: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()

    def hit(self, subject: str, most: int, seconds: int) -> Standing:
        now = self._clock()
        with self._lock:
            ends, count = self._windows.get(subject, (0.0, 0))
            # A window that ends much later than it can was begun before the clock went back.
            if not now < ends <= now + seconds + CLOCKS_APART:
                ends, count = now + seconds, 0
            if count >= most:
                return Standing(allowed=False, remaining=0, resets=ends - now)
            self._windows[subject] = (ends, count + 1)
            self._windows.move_to_end(subject)
            # Bounded: somebody who sends from many addresses must not fill the memory.
            if len(self._windows) > _MOST_SUBJECTS:
                self._windows.popitem(last=False)
        return Standing(allowed=True, remaining=most - count - 1, resets=ends - now)

    def forgive(self, subject: str) -> None:
        with self._lock:
            ends, count = self._windows.get(subject, (0.0, 0))
            if count:
                self._windows[subject] = (ends, count - 1)

    def enter(self, subject: str, most: int, lease: float) -> str | None:
        now = self._clock()
        with self._lock:
            held = self._places.setdefault(subject, {})
            for token in [token for token, ends in held.items() if not now < ends <= now + lease + CLOCKS_APART]:
                del held[token]
            if len(held) >= most:
                return None
            token = secrets.token_hex(16)
            held[token] = now + lease
        return token

    def leave(self, subject: str, token: str) -> None:
        with self._lock:
            held = self._places.get(subject, {})
            held.pop(token, None)
            if not held:
                self._places.pop(subject, None)

    def close(self) -> None:
        """Nothing to close."""


class SharedLimits:
    """A store that all workers share, and this process's own while that one is away.

    Args:
        shared: counts for all.
        local: counts here.
        clock: seconds that only grow.
    """

    def __init__(self, shared: LimitStore, local: LimitStore, clock: Callable[[], float] = monotonic) -> None:
        self._shared, self._local, self._clock = shared, local, clock
        self._away_until = 0.0
        self._outage = Outage(log)
        #: Places that could not be given back.
        self._owed: deque[tuple[str, str]] = deque(maxlen=_MOST_SUBJECTS)

    def of(self, when_away: WhenAway) -> LimitStore:
        """The store for one kind of limit, with the operator's choice for it."""
        return _Chosen(self, when_away)

    def close(self) -> None:
        """Give connections back."""
        self._shared.close()

    def ask(self, question: Callable[[LimitStore], T], when_away: WhenAway) -> T:
        """Ask the shared store, or do what the operator chose.

        Raises:
            LimitsAway: it does not answer, and the choice is to refuse.
        """
        if self._clock() >= self._away_until:
            try:
                if self._outage.is_on:
                    # One finds out whether it is back; a try may cost a time-out, and nobody waits for it beside.
                    self._away_until = self._clock() + _RETRY_SECONDS
                answer = question(self._shared)
            except LimitsAway:
                self._away_until = self._clock() + _RETRY_SECONDS
                self._outage.failed("limits cannot be counted for all workers at the moment (%s)", when_away)
            else:
                if self._outage.is_on:
                    self._away_until = 0.0
                    self._outage.over("limits are counted for all workers again")
                if self._owed:
                    self._give_back_owed()
                return answer
        if when_away == "refuse":
            raise LimitsAway
        return question(self._local)

    def leave(self, subject: str, token: str) -> None:
        """Give a place back, whichever store it is of; where that is away, later: it counts until its lease ends."""
        self._local.leave(subject, token)
        try:
            self.ask(lambda store: store.leave(subject, token), "refuse")
        except LimitsAway:
            self._owed.append((subject, token))

    def _give_back_owed(self) -> None:
        with suppress(IndexError, LimitsAway):  # emptied by another thread; away again, and the lease ends some day
            while True:
                self._shared.leave(*self._owed.popleft())


class _Chosen:
    """``SharedLimits`` with one choice; implements ``LimitStore``."""

    def __init__(self, limits: SharedLimits, when_away: WhenAway) -> None:
        self._limits, self._when_away = limits, when_away

    def hit(self, subject: str, most: int, seconds: int) -> Standing:
        return self._limits.ask(lambda store: store.hit(subject, most, seconds), self._when_away)

    def forgive(self, subject: str) -> None:
        self._limits.ask(lambda store: store.forgive(subject), self._when_away)

    def enter(self, subject: str, most: int, lease: float) -> str | None:
        return self._limits.ask(lambda store: store.enter(subject, most, lease), self._when_away)

    def leave(self, subject: str, token: str) -> None:
        self._limits.leave(subject, token)

    def close(self) -> None:
        self._limits.close()
