"""Counts of key uses: gathered in memory, written once a second and at the end."""

from __future__ import annotations

import logging
import threading
import uuid
from datetime import datetime

from sqlalchemy import Engine, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.adapters.periodic import Periodic
from service.storage.engine import begin_write
from service.storage.keys import ApiKey

log = logging.getLogger(__name__)


class UsageCounter(Periodic):
    """Adds up uses of keys, so that no request writes and no use is lost.

    The increment is done by the database (``total_uses = total_uses + n``): any number of workers may
    flush at once. A crash loses at most what came since the last flush.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__("usage")
        self._engine = engine
        self._pending: dict[uuid.UUID, tuple[int, datetime]] = {}
        self._flushing = threading.Lock()

    def record(self, key_id: uuid.UUID, at: datetime) -> None:
        """Count one use."""
        self.awake()
        with self._lock:
            count, _ = self._pending.get(key_id, (0, at))
            self._pending[key_id] = (count + 1, at)

    def flush(self) -> None:
        """Write what has gathered; on failure it stays for the next time."""
        with self._flushing:
            with self._lock:
                pending, self._pending = self._pending, {}
            if not pending:
                return
            try:
                self._write(pending)
            except SQLAlchemyError:
                log.warning("uses of %d keys could not be written yet", len(pending))
                self._put_back(pending)

    def forget(self) -> None:
        """Drop what another process had gathered before it forked."""
        self._pending = {}

    def _write(self, pending: dict[uuid.UUID, tuple[int, datetime]]) -> None:
        with Session(self._engine) as session:
            begin_write(session)
            # In one order everywhere, so that two workers cannot wait for each other.
            for key_id, (count, at) in sorted(pending.items()):
                session.execute(
                    update(ApiKey)
                    .where(ApiKey.id == key_id)
                    .values(total_uses=ApiKey.total_uses + count, last_used_at=at)
                    .execution_options(synchronize_session=False)
                )
            session.commit()

    def _put_back(self, pending: dict[uuid.UUID, tuple[int, datetime]]) -> None:
        with self._lock:
            for key_id, (count, at) in pending.items():
                newer, latest = self._pending.get(key_id, (0, at))
                self._pending[key_id] = (count + newer, max(at, latest))
