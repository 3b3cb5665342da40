"""Requests as bytes over a socket, for what no HTTP client would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

#: Seconds; a busy machine is slow.
PATIENCE = 60


@dataclass(frozen=True)
class Raw:
    """What came back until the server closed the connection."""

    text: bytes

    @property
    def statuses(self) -> list[int]:
        """Of each answer, in order; those that only say "go on" left out."""
        lines = [line for line in self.text.split(b"\r\n") if b"HTTP/1.1 " in line]
        found = [int(line.partition(b"HTTP/1.1 ")[2][:3]) for line in lines]
        return [status for status in found if status >= 200]

    @property
    def head(self) -> str:
        return self.text.partition(b"\r\n\r\n")[0].decode()

    @property
    def body(self) -> Any:
        return json.loads(self.text.partition(b"\r\n\r\n")[2])


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)) as made:
        yield made


def read_all(connection: socket.socket) -> Raw:
    """Read until the server closes."""
    text = b""
    try:
        while piece := connection.recv(65_536):
            text += piece
    except ConnectionResetError:
        pass  # the server closed while something of ours was on its way
    return Raw(text)


def ask(port: int, request: bytes, *, ends: bool = False) -> Raw:
    """Send bytes and read the answer; ``ends``: close our half behind them."""
    with connected(port) as connection:
        connection.sendall(request)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request of which only what is given is there, ``Host`` and ``Connection: close`` beside."""
    head = [f"{line} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    return "\r\n".join(head).encode("latin-1") + body
