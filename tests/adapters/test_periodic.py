"""The timer of what is gathered in memory outlives whatever happens to one of its rounds."""

from __future__ import annotations

import threading

from service.adapters.periodic import Periodic


class Failing(Periodic):
    """Fails in its first round."""

    def __init__(self) -> None:
        super().__init__("failing", 0.01)
        self.rounds, self.is_well = 0, threading.Event()

    def flush(self) -> None:
        self.rounds += 1
        if self.rounds == 1:
            raise RuntimeError("nobody has foreseen this")
        self.is_well.set()

    def forget(self) -> None:
        """Nothing is gathered."""


def test_a_round_that_fails_is_followed_by_the_next() -> None:
    timer = Failing()
    timer.awake()
    assert timer.is_well.wait(30)
    timer.close()
