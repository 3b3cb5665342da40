"""The connections of model SDKs, which end with their request: at its deadline, or when its run is stopped.

An HTTP client's own time limits hold for one read each, so a server that sends a byte now and then keeps a request
alive for ever. Here every read and write asks the exchange that it belongs to how long it may still take. Nothing is
read from the environment but the place of the trusted certificates, and no redirect is followed.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import ModuleType
from typing import Any

from service.adapters.names import resolved_in_time

_PIECE = 65_536
#: Of one answer, whatever it says of its length.
_MOST_BYTES = 50_000_000
_THREAD = threading.local()


class Exchange:
    """One request with its answer: how long both may take, and whether somebody has stopped them.

    Args:
        seconds: from now until the deadline.
    """

    __slots__ = ("_connection", "_deadline", "_lock", "_received", "_stop")

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._received = 0

    @property
    def seconds_left(self) -> float:
        """Until the deadline; negative after it."""
        return self._deadline - time.monotonic()

    @property
    def is_stopped(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the exchange, from any thread; a read that waits wakes up."""
        self._stop.set()
        with self._lock:
            connection = self._connection
        if connection is not None:
            connection.hang_up(self)

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until ``stop``."""
        self._stop.wait(seconds)

    @contextmanager
    def current(self) -> Iterator[None]:
        """What this thread reads and writes in the block belongs to the exchange."""
        before = getattr(_THREAD, "exchange", None)
        _THREAD.exchange = self
        try:
            yield
        finally:
            _THREAD.exchange = before

    def limit(self, timeout: float | None, late: type[Exception], stopped: type[Exception]) -> float:
        """Seconds for the next step.

        Raises:
            late: the deadline has passed.
            stopped: ``stop`` was called.
        """
        if self.is_stopped:
            raise stopped("stopped")
        left = self.seconds_left
        if left <= 0:
            raise late("the deadline has passed")
        return left if timeout is None else min(left, timeout)

    def receive(self, count: int, too_much: type[Exception]) -> None:
        """Count bytes that have come.

        Raises:
            too_much: they are more than any answer needs.
        """
        self._received += count
        if self._received > _MOST_BYTES:
            raise too_much("the answer is too long")

    def uses(self, connection: _Connection) -> None:
        """Remember what ``stop`` has to interrupt."""
        with self._lock:
            self._connection = connection


class _Connection:
    """A network stream of ``httpcore`` whose reads and writes keep to the exchange of their thread."""

    def __init__(self, stream: Any, errors: ModuleType) -> None:
        self._stream, self._errors = stream, errors
        self._lock = threading.Lock()
        self._user: Exchange | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        limit = self._limit(timeout, self._errors.ReadTimeout, self._errors.ReadError)
        found: bytes = self._stream.read(max_bytes, limit)
        if self._user is not None:
            self._user.receive(len(found), self._errors.ReadError)
        return found

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        for start in range(0, len(view), _PIECE):
            limit = self._limit(timeout, self._errors.WriteTimeout, self._errors.WriteError)
            self._stream.write(view[start : start + _PIECE], limit)

    def start_tls(self, *, timeout: float | None = None, **options: Any) -> _Connection:
        limit = self._limit(timeout, self._errors.ConnectTimeout, self._errors.ConnectError)
        return _Connection(self._stream.start_tls(timeout=limit, **options), self._errors)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def hang_up(self, user: Exchange) -> None:
        """Wake up a read that waits in another thread; closing a connection is only for the thread that uses it."""
        connection = self._stream.get_extra_info("socket")
        with self._lock:
            # A connection that has gone back to the pool may serve somebody else by now.
            if self._user is user and connection is not None:
                with suppress(OSError):
                    # Past the TLS layer, which another thread is using.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _limit(self, timeout: float | None, late: type[Exception], stopped: type[Exception]) -> float | None:
        exchange: Exchange | None = getattr(_THREAD, "exchange", None)
        if exchange is None:
            return timeout
        with self._lock:
            self._user = exchange
        exchange.uses(self)  # before the question whether it is stopped, or a stop in between would go unheard
        return exchange.limit(timeout, late, stopped)


class _Backend:
    """A network backend of ``httpcore`` whose connections keep to the exchange of their thread."""

    def __init__(self, backend: Any, errors: ModuleType) -> None:
        self._backend, self._errors = backend, errors

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **options: Any) -> _Connection:
        """Connect to the first address of the host that answers; all of them share the time."""
        exchange = getattr(_THREAD, "exchange", None) or Exchange(60.0)
        late, failed = self._errors.ConnectTimeout, self._errors.ConnectError
        ends = time.monotonic() + exchange.limit(timeout, late, failed)
        try:
            addresses = resolved_in_time(host, port, ends - time.monotonic())
        except TimeoutError:
            raise late("the name server did not answer") from None
        for at, address in enumerate(addresses):
            share = exchange.limit((ends - time.monotonic()) / (len(addresses) - at), late, failed)
            try:
                stream = self._backend.connect_tcp(address, port, timeout=max(share, 0.001), **options)
            except (late, failed):
                if at == len(addresses) - 1:
                    raise
                continue
            return _Connection(stream, self._errors)
        raise failed("the host is not known")

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


def http_module(sdk: ModuleType) -> ModuleType:
    """The HTTP library that an SDK uses; it is not the same one for every version of an SDK."""
    # The SDKs rename what they export, so the name is taken from the base of their own client.
    return _home(sdk.DefaultHttpxClient.__base__)


def http_client(sdk: ModuleType) -> Any:
    """An HTTP client for an SDK: no proxies and no passwords from the environment, no redirects, and deadlines."""
    http = http_module(sdk)
    limits = http.Limits(max_connections=1000, max_keepalive_connections=100)
    alive = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)]
    transport = http.HTTPTransport(verify=_trusted(http), trust_env=False, limits=limits, socket_options=alive)
    pool = transport._pool
    # The library has no public way to bring one's own connections; the tests fail if this one stops to work.
    pool._network_backend = _Backend(pool._network_backend, _home(type(pool)))

    def refuse_compressed(response: Any) -> None:
        # A thousand times its size would come out of it, and nothing counts that.
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise http.DecodingError("a compressed answer, which was not asked for", request=response.request)

    return http.Client(
        transport=transport, trust_env=False, follow_redirects=False,
        headers={"Accept-Encoding": "identity"}, event_hooks={"response": [refuse_compressed]},
    )  # fmt: skip


def _home(thing: type) -> ModuleType:
    """The package that a class comes from."""
    return sys.modules[thing.__module__.partition(".")[0]]


@cache
def _trusted(http: ModuleType) -> Any:
    """The trusted certificates; reading them takes longer than many an answer, so all clients share them."""
    return http.create_ssl_context()
