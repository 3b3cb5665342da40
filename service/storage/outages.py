"""A database that is away or full: how it is recognised, and how it is kept from costing every thread its time."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

#: Seconds that a connection may take to be made.
CONNECT_SECONDS = 5
#: Connections that a process makes at once, and seconds that another thread waits for its turn to make one.
_MOST_KNOCKING, _TURN_SECONDS = 4, 2.0
#: Seconds for which nobody tries again after a connection could not be made.
_SHUT_SECONDS = 1.0

# Appendix A of PostgreSQL's manual.
_READ_ONLY, _DISK_FULL = "25006", "53100"


def is_away(error: BaseException) -> bool:
    """Say whether an error is the database's state and no fault of the request: it may go well in a moment."""
    if isinstance(error, OperationalError | NoConnectionFree):
        return True
    return isinstance(error, DBAPIError) and (error.connection_invalidated or _code_of(error.orig) == _READ_ONLY)


def is_full(error: SQLAlchemyError) -> bool:
    """Say whether the database has no room left on its disk."""
    original = error.orig if isinstance(error, DBAPIError) else None
    return _code_of(original) == _DISK_FULL or getattr(original, "sqlite_errorname", "") == "SQLITE_FULL"


def name_of(error: BaseException) -> str:
    """What is wrong, in a word for the log; the database's own words may hold what somebody has sent."""
    original = error.orig if isinstance(error, DBAPIError) else None
    return str(getattr(original, "sqlite_errorname", "")) or type(original or error).__name__


def watch(engine: Engine, beside: Engine | None = None) -> None:
    """Add to an engine for PostgreSQL what keeps an outage short and cheap.

    Args:
        engine: that has made no connection yet.
        beside: another engine for the same database: what one finds out, both know.
    """
    door = _doors.get(beside) if beside is not None else None
    _doors[engine] = door or Door()
    event.listen(engine, "do_connect", _doors[engine])
    event.listen(engine, "checkout", _refuse_dead)
    event.listen(engine, "handle_error", _leave_standby)


class Door:
    """Makes connections; while none can be made, one thread at a time knocks and the others are turned away at once.

    A host that is gone answers nothing at all. Each thread that waits for it is one that answers nobody.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._knocking, self._is_shut, self._again_at = 0, False, 0.0

    def __call__(self, dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        """Make a connection; the signature is that of SQLAlchemy's event."""
        if not self._may_knock():
            raise dialect.loaded_dbapi.OperationalError("the database could not be reached a moment ago")
        is_shut = True
        try:
            made = dialect.connect(*arguments, **options)
            is_shut = False
        finally:
            with self._changed:
                self._knocking -= 1
                self._is_shut, self._again_at = is_shut, self._clock() + _SHUT_SECONDS
                self._changed.notify()
        return made

    def _may_knock(self) -> bool:
        with self._changed:
            if self._is_shut:
                if self._knocking or self._clock() < self._again_at:
                    return False
            elif not self._changed.wait_for(lambda: self._knocking < _MOST_KNOCKING, _TURN_SECONDS):
                return False
            self._knocking += 1
        return True


_doors: WeakKeyDictionary[Engine, Door] = WeakKeyDictionary()


def _refuse_dead(connection: Any, _record: Any, _proxy: Any) -> None:
    """Have a connection replaced whose other end was closed while it lay in the pool.

    Nobody has asked anything on it, so there is nothing to be read but a farewell. That is known without a question
    to the server, which would cost every request a round trip.
    """
    poll = select.poll()
    if not connection.closed:
        poll.register(connection.fileno(), select.POLLIN)
    if connection.closed or poll.poll(0):
        raise DisconnectionError("the server has closed this connection")


def _leave_standby(context: Any) -> None:
    """Drop connections to a server that has become read-only: the address may lead to its successor by now."""
    if _code_of(context.original_exception) == _READ_ONLY:
        context.is_disconnect = True


def _code_of(error: BaseException | None) -> str:
    return getattr(error, "sqlstate", None) or ""
