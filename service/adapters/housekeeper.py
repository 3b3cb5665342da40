"""What each process of the server does now and then, so that neither its memory nor the database grows for ever."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from time import monotonic

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service import memory
from service.adapters.periodic import Periodic
from service.domain import housekeeping
from service.domain.flow_runner import FlowRunner
from service.storage.engine import begin_write

log = logging.getLogger(__name__)

_SECONDS = 10.0
#: Reading what is over takes a look at every key, and nothing is in a hurry.
SWEEP_SECONDS, _FIRST_SECONDS = 86_400.0, 600.0


class Housekeeper(Periodic):
    """Gives memory back that is not needed, and sweeps old rows up a few at a time. An idle one writes nothing.

    Args:
        engine: the database.
        flows: what runs flows, and keeps them compiled.
        now: what time it is.
        clock: seconds that only grow.
    """

    def __init__(
        self, engine: Engine, flows: FlowRunner, now: Callable[[], datetime], clock: Callable[[], float] = monotonic
    ) -> None:
        super().__init__("housekeeper", _SECONDS)
        self._engine, self._flows, self._now, self._clock = engine, flows, now, clock
        self._next_sweep = clock() + _FIRST_SECONDS

    def flush(self) -> None:
        """Do what is due."""
        try:
            self._flows.forget_gone(lambda: Session(self._engine))
            if self._clock() >= self._next_sweep:
                self._sweep()
        except SQLAlchemyError as error:
            log.warning("old rows could not be swept up (%s)", type(error).__name__)
        memory.tidy()

    def _sweep(self) -> None:
        with Session(self._engine) as session:
            found = housekeeping.find(session, self._now())
        if not found:
            self._next_sweep = self._clock() + SWEEP_SECONDS
            return
        with Session(self._engine) as session:
            begin_write(session)
            housekeeping.remove(session, found)
            session.commit()

    def forget(self) -> None:
        """Nothing is gathered."""

    def close(self) -> None:
        """Stop; what is due is for others to do."""
        self._stop.set()
        self._bell.set()
