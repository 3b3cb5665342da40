"""Threads for jobs come and go, and leave nothing behind."""

from __future__ import annotations

import threading
import uuid

import pytest

from service.adapters import job_threads
from service.adapters.job_threads import ThreadCarrier
from tests.support.waiting import until


class Runner:
    """Has done every job at once."""

    def __init__(self) -> None:
        self.closing = threading.Event()

    def execute(self, job_id: uuid.UUID) -> bool:
        return True

    def waiting(self) -> None:
        """Nothing waits."""

    def stop(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing is watched."""


def test_the_interpreter_is_asked_once_to_close_it_however_often_it_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(job_threads.atexit, "register", asked.append)
    carrier = ThreadCarrier(Runner(), 2)  # type: ignore[arg-type]
    for _ in range(3):
        carrier.announce(uuid.uuid4())
        until(carrier.room, lambda room: room == 2)
    assert len(asked) == 1
    carrier.close()
