"""A clock that tests set."""

from __future__ import annotations


class Seconds:
    """Seconds that go on only when a test says so."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
