"""A row for each run, gathered in memory and written once a second."""

from __future__ import annotations

import logging
import threading
from typing import Any

from sqlalchemy import Engine, insert
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from service.adapters.periodic import Periodic
from service.chance import new_uuid
from service.domain.ports import FinishedRun
from service.observability import Outage
from service.storage.engine import begin_quietly
from service.storage.outages import name_of
from service.storage.runs import RunRow
from service.storage.statements import Batch

log = logging.getLogger(__name__)

_RUNS = Batch(insert(RunRow), at_once=True)

#: Rows that wait at most while the database is away; the oldest are given up then.
_MOST_WAITING = 100_000


class RunLog(Periodic):
    """Implements ``domain.ports.RunSink``. A crash loses at most what came since the last flush."""

    def __init__(self, engine: Engine) -> None:
        super().__init__("runs")
        self._engine = engine
        self._waiting: list[FinishedRun] = []
        self._flushing = threading.Lock()
        self._outage = Outage(log)

    def add(self, run: FinishedRun) -> None:
        """Write a run within a second."""
        self.awake()
        with self._lock:
            self._waiting.append(run)

    def flush(self) -> None:
        """Write what waits; on failure it stays for the next time."""
        # Empty may mean that the timer is just writing it: whoever flushes wants to read it next.
        if not self._waiting and not self._flushing.locked():
            return
        with self._flushing:
            with self._lock:
                waiting, self._waiting = self._waiting, []
            if not waiting:
                return
            try:
                self._write(waiting)
            except BaseException as error:
                with self._lock:
                    self._waiting = (waiting + self._waiting)[-_MOST_WAITING:]
                if not isinstance(error, SQLAlchemyError):
                    raise
                self._outage.failed("%d runs could not be noted yet (%s)", len(waiting), name_of(error))
            else:
                self._outage.over("runs are noted again")

    def forget(self) -> None:
        """Drop what another process had gathered before it forked."""
        self._waiting = []

    def waiting(self) -> int:
        """How many runs are not noted."""
        return len(self._waiting)

    def _write(self, runs: list[FinishedRun]) -> None:
        try:
            self._insert([_row_of(run) for run in runs])
        except IntegrityError:
            for run in runs:
                self._insert_alone(run)

    def _insert_alone(self, run: FinishedRun) -> None:
        try:
            self._insert([_row_of(run)])
        except IntegrityError:
            log.info("a run of a flow that is gone was not noted")

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        with self._engine.connect() as connection:
            _RUNS.write(begin_quietly(connection), rows)
            connection.commit()


def _row_of(run: FinishedRun) -> dict[str, Any]:
    return {
        "id": new_uuid(),
        "user_id": run.owner_id,
        "flow_id": run.flow_id,
        "key_id": run.key_id,
        "started_at": run.started_at,
        "duration": round(run.seconds * 1000),
        "outcome": run.outcome,
        "input_tokens": run.tokens.input_tokens if run.tokens else None,
        "output_tokens": run.tokens.output_tokens if run.tokens else None,
    }
