"""Counts of key uses: gathered in memory, written once a second and at the end."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Engine, case, or_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.adapters.periodic import Periodic
from service.observability import Outage
from service.storage.engine import begin_write
from service.storage.keys import ApiKey, KeyUsage
from service.storage.outages import name_of

log = logging.getLogger(__name__)


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
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
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
        with Session(self._engine) as session:
            begin_write(session, quiet=True)
            # In one order everywhere, so that two workers cannot wait for each other.
            for key_id, uses in sorted(pending.items()):
                known = session.execute(
                    update(ApiKey)
                    .where(ApiKey.id == key_id)
                    .values(total_uses=ApiKey.total_uses + uses.count, **_latest(uses.last))
                    .returning(ApiKey.id)
                    .execution_options(synchronize_session=False)
                ).scalar()
                # The row is locked now: nobody deletes the key between this and the lines that refer to it.
                for (day, status), count in sorted(uses.answers.items()) if known else ():
                    self._add(session, key_id, day, status, count)
            session.commit()

    def _add(self, session: Session, key_id: uuid.UUID, day: date, status: int, count: int) -> None:
        fresh = self._insert(KeyUsage).values(key_id=key_id, day=day, status=status, count=count)
        session.execute(
            fresh.on_conflict_do_update(
                index_elements=[KeyUsage.key_id, KeyUsage.day, KeyUsage.status],
                set_={"count": KeyUsage.count + count},
            )
        )

    def _put_back(self, pending: dict[uuid.UUID, _Uses]) -> None:
        with self._lock:
            for key_id, uses in pending.items():
                uses.add(self._pending.get(key_id, _Uses()))
                self._pending[key_id] = uses


def _latest(at: datetime | None) -> dict[str, Any]:
    """What sets the last use, unless another worker has written a later one."""
    if at is None:
        return {}
    later = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < at)
    return {"last_used_at": case((later, at), else_=ApiKey.last_used_at)}
