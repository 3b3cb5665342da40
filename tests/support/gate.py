"""A way to a server on loopback that can be shut and opened again."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Gate:
    """A broker's address that can be closed, with everything that goes through it."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target, self._sockets, self._lock = target, set(), threading.Lock()
        self._open, self._is_mute = True, False
        #: Those that are not answered.
        self._waiting: list[socket.socket] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        with self._lock:
            self._open, sockets = False, list(self._sockets)
            waiting, self._waiting = self._waiting, []
        for one in sockets:
            # Whoever carries may be closing it at this moment.
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for one in waiting:
            one.close()

    def open(self) -> None:
        with self._lock:
            self._open = True

    def mute(self) -> None:
        """Cut what goes through, and take new connections without ever answering: a host that is gone."""
        self.shut()
        with self._lock:
            self._open = self._is_mute = True

    def speak(self) -> None:
        """Carry again what comes from now on."""
        self.shut()
        with self._lock:
            self._open, self._is_mute = True, False

    def close(self) -> None:
        self.shut()
        self._door.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            with self._lock:
                if not self._open:
                    client.close()
                    continue
                if self._is_mute:
                    self._waiting.append(client)
                    continue
                try:
                    broker = socket.create_connection(self._target)
                except ConnectionRefusedError:
                    client.close()
                    continue
                self._sockets |= {client, broker}
            for ends in ((client, broker), (broker, client)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for one in (source, sink):
                with self._lock:
                    self._sockets.discard(one)
                one.close()
