"""Counts of key uses: gathered in memory, written once a second and at the end."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Engine, bindparam, case, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from service.adapters.periodic import Periodic
from service.observability import Outage
from service.storage.engine import begin_quietly
from service.storage.keys import ApiKey, KeyUsage
from service.storage.outages import name_of
from service.storage.statements import Batch

log = logging.getLogger(__name__)


_AT = bindparam("at", type_=ApiKey.last_used_at.type)
_LAST = ApiKey.last_used_at
_COUNT = Batch(
    update(ApiKey)
    .where(ApiKey.id == bindparam("wanted"))
    .values(
        total_uses=ApiKey.total_uses + bindparam("uses", type_=BigInteger()),
        # Another worker may have written a later use.
        last_used_at=case((or_(_LAST.is_(None), _LAST < _AT), _AT), else_=_LAST),
    )
)


@dataclass(slots=True)
class _Uses:
    """What one key has gathered."""

    count: int = 0
    last: datetime | None = None
    #: (day, status) -> answers.
    answers: Counter[tuple[date, int]] = field(default_factory=Counter)

    def add(self, other: _Uses) -> None:
        self.count += other.count
        self.last = max(filter(None, (self.last, other.last)), default=None)
        self.answers.update(other.answers)


class UsageCounter(Periodic):
    """Adds up uses of keys, so that no request writes and no use is lost.

    The increment is done by the database (``total_uses = total_uses + n``): any number of workers may
    flush at once. A crash loses at most what came since the last flush.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__("usage")
        self._engine = engine
        self._answers = Batch(_answers_of(engine.dialect.name))
        self._pending: dict[uuid.UUID, _Uses] = {}
        self._flushing = threading.Lock()
        self._outage = Outage(log)

    def record(self, key_id: uuid.UUID, at: datetime) -> None:
        """Count one use."""
        self.awake()
        with self._lock:
            uses = self._pending.get(key_id)
            if uses is None:
                uses = self._pending[key_id] = _Uses()
            uses.count += 1
            uses.last = at

    def answered(self, key_id: uuid.UUID, day: date, status: int) -> None:
        """Count one answer to a request with the key."""
        self.awake()
        with self._lock:
            uses = self._pending.get(key_id)
            if uses is None:
                uses = self._pending[key_id] = _Uses()
            uses.answers[day, status] += 1

    def flush(self) -> None:
        """Write what has gathered; on failure it stays for the next time."""
        with self._flushing:
            with self._lock:
                pending, self._pending = self._pending, {}
            if not pending:
                return
            try:
                self._write(pending)
            except BaseException as error:
                self._put_back(pending)
                if not isinstance(error, SQLAlchemyError):
                    raise
                self._outage.failed("uses of %d keys could not be written yet (%s)", len(pending), name_of(error))
            else:
                self._outage.over("uses of keys are written again")

    def forget(self) -> None:
        """Drop what another process had gathered before it forked."""
        self._pending = {}

    def waiting(self) -> int:
        """Of how many keys uses are not written."""
        return len(self._pending)

    def _write(self, pending: dict[uuid.UUID, _Uses]) -> None:
        # In one order everywhere, so that two workers cannot wait for each other.
        ordered = sorted(pending.items())
        with self._engine.connect() as connection:
            begin_quietly(connection)
            _COUNT.write(
                connection, [{"wanted": key_id, "uses": uses.count, "at": uses.last} for key_id, uses in ordered]
            )
            # The rows are locked now: nobody deletes a key between this and the lines that refer to it.
            answers = [
                {"wanted": key_id, "day": day, "status": status, "count": count}
                for key_id, uses in ordered
                for (day, status), count in sorted(uses.answers.items())
            ]
            if answers:
                self._answers.write(connection, answers)
            connection.commit()

    def _put_back(self, pending: dict[uuid.UUID, _Uses]) -> None:
        with self._lock:
            for key_id, uses in pending.items():
                uses.add(self._pending.get(key_id, _Uses()))
                self._pending[key_id] = uses


def _answers_of(dialect: str) -> Any:
    """Adds to a key's answers of a day and status; for a key that is gone it adds nothing."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    columns = (KeyUsage.key_id, KeyUsage.day, KeyUsage.status, KeyUsage.count)
    names = ("wanted", "day", "status", "count")
    row = select(*(bindparam(name, type_=column.type) for name, column in zip(names, columns, strict=True)))
    fresh = insert(KeyUsage).from_select(
        columns, row.where(exists().where(ApiKey.id == bindparam("wanted", type_=ApiKey.id.type)))
    )
    return fresh.on_conflict_do_update(
        index_elements=columns[:3], set_={"count": KeyUsage.count + fresh.excluded.count}
    )
