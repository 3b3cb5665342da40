"""Clients that keep a server busy while something happens to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import requests

#: An answer that takes longer is taken for a hang.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """What came of one request; ``status`` 0: the connection was refused or cut."""

    status: int
    body: Any
    headers: dict[str, str]
    seconds: float

    @property
    def is_kept(self) -> bool:
        """The server has said that it is done."""
        return 200 <= self.status < 300


def send(method: str, url: str, **kwargs: Any) -> Answer:
    """Send a request on a connection of its own."""
    began = monotonic()
    try:
        answer = requests.request(method, url, timeout=PATIENCE_SECONDS, **kwargs)
    # The second: what was cut off in the middle of its answer.
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return Answer(0, None, {}, monotonic() - began)
    try:
        body = answer.json()
    except ValueError:
        body = answer.text
    return Answer(answer.status_code, body, {k.lower(): v for k, v in answer.headers.items()}, monotonic() - began)


@dataclass
class Crowd:
    """What several threads did, each again and again until ``leave``."""

    answers: list[Answer] = field(default_factory=list)
    #: What was thrown, which a test should not have to look for.
    broken: list[BaseException] = field(default_factory=list)
    _gone: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def leave(self) -> None:
        """Finish what is begun, and begin nothing more."""
        self._gone.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS * 2)
        assert not any(thread.is_alive() for thread in self._threads), "a request hangs"
        assert self.broken == []

    def statuses(self) -> set[int]:
        return {answer.status for answer in self.answers}

    def join(self, act: Callable[[], Answer], pause: float) -> None:
        """Let one more thread act."""
        thread = threading.Thread(target=self._go, args=(act, pause))
        self._threads.append(thread)
        thread.start()

    def _go(self, act: Callable[[], Answer], pause: float) -> None:
        try:
            while not self._gone.is_set():
                self.answers.append(act())
                self._gone.wait(pause)
        except BaseException as error:
            self.broken.append(error)


@contextmanager
def crowd(*acts: Callable[[], Answer], pause: float = 0.02) -> Iterator[Crowd]:
    """Let a thread do each act while the block runs; they have left afterwards."""
    made = Crowd()
    for act in acts:
        made.join(act, pause)
    try:
        yield made
    finally:
        made.leave()
