"""The timer of what is gathered in memory outlives whatever happens to one of its rounds."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

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


def test_a_timer_that_is_about_to_start_is_waited_for_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, timer = threading.Event(), threading.Event(), Failing()
    start = threading.Thread.start

    def start_late(thread: threading.Thread) -> None:
        if thread.name == "failing":
            begun.set()
            assert go_on.wait(30)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_late)
    with ThreadPoolExecutor() as pool:
        started = pool.submit(timer.awake)
        assert begun.wait(30)
        ended = pool.submit(timer.end)
        go_on.set()
        started.result(30)
        ended.result(30)
    assert not any(thread.name == "failing" for thread in threading.enumerate())
