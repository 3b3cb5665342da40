"""Writing chat messages: at once, or once a second."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from service.adapters.periodic import Periodic
from service.domain.ports import MessageRow
from service.observability import Outage
from service.storage.engine import begin_quietly
from service.storage.messages import StoredChatMessage
from service.storage.outages import name_of
from service.storage.statements import Batch

log = logging.getLogger(__name__)

#: So many messages do not wait for the end of the second; of so many more, whoever brings one writes them.
_MANY_WAITING, _MOST_WAITING = 1000, 4000
#: Messages that wait at most while the database is away; the oldest are given up then.
_MOST_KEPT = 10_000
_KEPT = frozenset({"id", "user_id", "flow_id"})
# A row that fails with one of these never gets in. It must not stay among the rows that wait: they are written
# together, and it would keep everybody's messages out for ever.
_HOPELESS = (IntegrityError, DataError)


class MessageWriter(Periodic):
    """Implements ``domain.ports.MessageSink``: one statement for all messages, whichever database.

    A message with a known id replaces the one that its owner has; nobody else's row is ever touched.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__("messages")
        self._engine = engine
        self._waiting: dict[object, MessageRow] = {}
        self._flushing = threading.Lock()
        self._outage = Outage(log)
        self._batch = Batch(_upsert(engine.dialect.name), at_once=True)

    def write(self, rows: Sequence[MessageRow]) -> None:
        """Write rows now; those whose flow or owner is gone meanwhile, or that cannot be stored, are left out."""
        try:
            self._write(rows)
        except _HOPELESS:
            for row in rows:
                self._write_alone(row)

    def defer(self, rows: Iterable[MessageRow]) -> None:
        """Write rows within a second."""
        self.awake()
        with self._lock:
            self._waiting.update((row["id"], row) for row in rows)
            waiting = len(self._waiting)
        if waiting > _MANY_WAITING and not self._outage.is_on:
            if waiting > _MOST_WAITING:
                self.flush()
            else:
                self.ring()

    def flush(self) -> None:
        """Write what waits; on failure it stays for the next time."""
        # Empty may mean that the timer is just writing it: whoever flushes wants to read it next.
        if not self._waiting and not self._flushing.locked():
            return
        with self._flushing:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
            if not waiting:
                return
            try:
                self.write(list(waiting.values()))
            except BaseException as error:
                with self._lock:
                    both = {**waiting, **self._waiting}
                    self._waiting = dict(list(both.items())[-_MOST_KEPT:])
                if not isinstance(error, SQLAlchemyError):
                    raise
                self._outage.failed("%d messages could not be written yet (%s)", len(waiting), name_of(error))
            else:
                self._outage.over("messages are written again")

    def forget(self) -> None:
        """Drop what another process had gathered before it forked."""
        self._waiting = {}

    def waiting(self) -> int:
        """How many messages are not written."""
        return len(self._waiting)

    def _write(self, rows: Sequence[MessageRow]) -> None:
        with self._engine.connect() as connection:
            self._batch.write(begin_quietly(connection), rows)
            connection.commit()

    def _write_alone(self, row: MessageRow) -> None:
        try:
            self._write([row])
        except IntegrityError:
            log.info("a message of a flow that is gone was not stored")
        except DataError:
            log.warning("a message that the database cannot hold was not stored")


def _upsert(dialect: str) -> Any:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement: Any = insert(StoredChatMessage)
    newer = {name: value for name, value in statement.excluded.items() if name not in _KEPT}
    mine = StoredChatMessage.user_id == statement.excluded.user_id
    return statement.on_conflict_do_update(index_elements=["id"], set_=newer, where=mine)
