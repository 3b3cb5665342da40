"""Asking for the addresses of a host name, within a deadline."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterable

Resolve = Callable[[str, int], Iterable[str]]


def resolve(host: str, port: int) -> list[str]:
    """Every address of a name, as the system's resolver gives them.

    Raises:
        OSError: the name is unknown.
    """
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def resolved_in_time(host: str, port: int, seconds: float, resolve: Resolve = resolve) -> list[str]:
    """Ask for the addresses of a name, in a thread: the system's resolver knows no deadline.

    Args:
        host: the name, or an address.
        port: of the connection that is going to be made.
        seconds: longest wait.
        resolve: gives the addresses.

    Returns:
        list[str]: each address once; empty for a name that is unknown.

    Raises:
        TimeoutError: no answer in time.
    """
    answer: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answer.put(list(dict.fromkeys(resolve(host, port))))
        except (OSError, UnicodeError):
            answer.put([])

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    try:
        return answer.get(timeout=max(0.0, seconds))
    except queue.Empty:
        raise TimeoutError(host) from None
