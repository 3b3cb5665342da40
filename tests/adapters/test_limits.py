"""Limits on attempts."""

from __future__ import annotations

import threading

import pytest

from service.adapters import limits
from service.adapters.limits import SlidingWindow
from service.domain.errors import TooManyAttempts


class Seconds:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def window(clock: Seconds) -> SlidingWindow:
    return SlidingWindow(3, clock)


def attempts(window: SlidingWindow, count: int, subject: str = "somebody") -> int:
    """How many of so many attempts are let through."""
    passed = 0
    for _ in range(count):
        try:
            window.check(subject)
            passed += 1
        except TooManyAttempts:
            pass
    return passed


def test_attempts_up_to_the_limit_pass(window: SlidingWindow) -> None:
    assert attempts(window, 3) == 3


def test_an_attempt_over_the_limit_is_refused(window: SlidingWindow) -> None:
    assert attempts(window, 10) == 3


def test_a_refusal_says_when_to_come_back(window: SlidingWindow, clock: Seconds) -> None:
    attempts(window, 3)
    clock.now += 20
    with pytest.raises(TooManyAttempts) as refusal:
        window.check("somebody")
    assert refusal.value.retry_after == 40


def test_a_refusal_never_says_to_come_back_at_once(window: SlidingWindow, clock: Seconds) -> None:
    attempts(window, 3)
    clock.now += 59.99
    with pytest.raises(TooManyAttempts) as refusal:
        window.check("somebody")
    assert refusal.value.retry_after == 1


def test_the_window_slides(window: SlidingWindow, clock: Seconds) -> None:
    for _ in range(3):
        window.check("somebody")
        clock.now += 20
    assert attempts(window, 3) == 1


def test_after_a_minute_all_attempts_are_back(window: SlidingWindow, clock: Seconds) -> None:
    attempts(window, 3)
    clock.now += 60
    assert attempts(window, 5) == 3


def test_a_refused_attempt_does_not_lengthen_the_wait(window: SlidingWindow, clock: Seconds) -> None:
    attempts(window, 3)
    clock.now += 30
    attempts(window, 50)
    clock.now += 30
    assert attempts(window, 1) == 1


def test_one_subject_does_not_use_up_anothers_attempts(window: SlidingWindow) -> None:
    attempts(window, 3, "guesser")
    assert attempts(window, 3, "somebody else") == 3


def test_no_limit_means_none() -> None:
    assert attempts(SlidingWindow(None), 1000) == 1000


def test_threads_do_not_pass_more_than_the_limit(clock: Seconds) -> None:
    window, passed = SlidingWindow(50, clock), []
    threads = [threading.Thread(target=lambda: passed.append(attempts(window, 20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 50


def test_many_subjects_do_not_fill_the_memory(window: SlidingWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_SUBJECTS", 100)
    for number in range(1000):
        window.check(f"address {number}")
    assert len(window._seen) <= 100
