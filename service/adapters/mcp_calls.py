"""Tool calls that run, so that a wish to stop one reaches the worker that runs it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from service.storage.clock import seconds_at
from service.storage.engine import begin_write
from service.storage.mcp import McpCall

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


class OpenCalls:
    """The open calls of all workers in one table, and those of this process with what stops them.

    The table is asked only while this process runs a call that can be cancelled.

    Args:
        engine: the database that all workers share.
        lasts: seconds after which a call is taken for dead.
        clock: seconds since 1970; None: the database's own, on which all hosts agree.
    """

    def __init__(self, engine: Engine, lasts: float, clock: Callable[[], float] | None = None) -> None:
        self._engine, self._lasts, self._clock = engine, lasts, clock
        self._mine: dict[str, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._watch: threading.Thread | None = None

    def begin(self, call_id: str, stop: Callable[[], None], stream_id: str | None = None) -> bool:
        """Note a call; False when it cannot be cancelled, because its id is taken or its stream gone.

        Args:
            call_id: a digest.
            stop: called from another thread when somebody cancels the call, or its stream ends.
            stream_id: the stream that its answer goes to.
        """
        with Session(self._engine) as session:
            begin_write(session, quiet=True)
            ends = seconds_at(self._engine, self._clock) + self._lasts
            session.add(McpCall(id=call_id, stream_id=stream_id, ends=ends))
            try:
                session.commit()
            except IntegrityError:
                return False
        with self._lock:
            self._mine[call_id] = stop
            if self._watch is None:
                self._watch = threading.Thread(target=self._look, name="mcp-calls", daemon=True)
                self._watch.start()
        return True

    def end(self, call_id: str) -> None:
        """Forget a call that is over."""
        with self._lock:
            self._mine.pop(call_id, None)
        with Session(self._engine) as session:
            begin_write(session, quiet=True)
            session.execute(delete(McpCall).where(McpCall.id == call_id))
            session.commit()

    def cancel(self, call_id: str) -> bool:
        """Wish that a call stops, on whichever worker it runs; False when there is none such."""
        known = select(McpCall.id).where(McpCall.id == call_id)
        with Session(self._engine) as session:
            # Asked without a writer's lock: anybody may send ids that never were.
            if session.scalar(known) is None:
                return False
        with Session(self._engine) as session:
            begin_write(session, quiet=True)
            session.execute(update(McpCall).where(McpCall.id == call_id).values(cancelled=True))
            session.commit()
        return True

    def _look(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(POLL_SECONDS)
            with self._lock:
                if not self._mine:
                    self._watch = None
                    return
                mine = dict(self._mine)
            try:
                wanted = self._still_wanted(set(mine))
            except SQLAlchemyError as error:
                log.warning("open calls of MCP cannot be looked up: %s", type(error).__name__)
                continue
            for call_id in mine.keys() - wanted:
                with self._lock:
                    self._mine.pop(call_id, None)
                mine[call_id]()

    def _still_wanted(self, call_ids: set[str]) -> set[str]:
        """Those that nobody has cancelled, and whose stream is still there."""
        with Session(self._engine) as session:
            query = select(McpCall.id).where(McpCall.id.in_(call_ids), McpCall.cancelled.is_(False))
            return set(session.scalars(query))
