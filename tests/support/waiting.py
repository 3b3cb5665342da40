"""Waiting for what happens elsewhere: for a server's first answer, or until something is so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

import requests
from urllib3.util import Retry


def wait_until_it_answers(url: str) -> None:
    """Wait for the first answer of a server that is starting."""
    with requests.Session() as session:
        session.mount(url, requests.adapters.HTTPAdapter(max_retries=Retry(total=10, connect=10, backoff_factor=0.1)))
        assert session.get(f"{url}/health", timeout=30).json() == {"status": "ok"}


T = TypeVar("T")


def until(ask: Callable[[], T], wanted: Callable[[T], bool] = bool, seconds: float = 20) -> T:
    """Ask again and again until the answer is the wanted one, and return it; fails after so many seconds."""
    deadline, pause = monotonic() + seconds, threading.Event()
    while not wanted(answer := ask()):
        assert monotonic() < deadline, f"not in time; the last answer was {answer!r}"
        pause.wait(0.02)
    return answer
