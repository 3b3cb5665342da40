"""What has to be done for jobs once in a while, by whichever process comes first."""

from __future__ import annotations

import logging
from time import monotonic

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.adapters.job_runner import writing
from service.adapters.periodic import Periodic
from service.domain import jobs
from service.domain.jobs import JobRules
from service.domain.ports import JobCarrier
from service.observability import Outage
from service.storage.outages import name_of

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 60.0
_LOST = "The server or worker that ran this job gave no sign of life. It may have done a part of its work."


class JobKeeper(Periodic):
    """Finds jobs that wait while this process has room, takes lost ones back, and sweeps old ones up a few at a time.

    Every process of the server and every worker has one. Each step first reads, so that an idle one writes nothing.

    Args:
        engine: the database.
        carrier: what runs jobs here, or tells others.
        rules: what the operator allows.
    """

    def __init__(self, engine: Engine, carrier: JobCarrier, rules: JobRules) -> None:
        super().__init__("job keeper")
        self._engine, self._carrier, self._rules = engine, carrier, rules
        self._next_round = self._next_sweep = 0.0
        self._outage = Outage(log)

    def flush(self) -> None:
        """Do what is due."""
        try:
            if monotonic() >= self._next_round:
                self._next_round = monotonic() + self._rules.lost_after / 3
                self._take_back()
            self._announce()
            if monotonic() >= self._next_sweep:
                self._sweep()
        except SQLAlchemyError as error:
            self._outage.failed("jobs could not be looked after (%s)", name_of(error))
        except Exception:
            log.exception("jobs could not be looked after")
        else:
            self._outage.over("jobs are looked after again")

    def forget(self) -> None:
        """Nothing is gathered."""

    def close(self) -> None:
        """Stop; what is due is for others to do."""
        self.end()

    def _take_back(self) -> None:
        with Session(self._engine) as session:
            if not jobs.lost(session, self._rules) and not jobs.are_ahead(session):
                return
        with writing(self._engine) as session:
            jobs.bring_back(session)
            for job in jobs.lost(session, self._rules):
                log.warning("job %s of flow %s was lost in attempt %d", job.id, job.flow_id, job.attempts)
                jobs.give_up(session, job, self._rules, _LOST)

    def _announce(self) -> None:
        room = self._carrier.room()
        if room <= 0:
            return
        with Session(self._engine) as session:
            due = jobs.due(session, room)
        for job_id in due:
            self._carrier.announce(job_id)

    def _sweep(self) -> None:
        with Session(self._engine) as session:
            more = jobs.forgotten(session, self._rules)
        if not more:
            self._next_sweep = monotonic() + _SWEEP_SECONDS
            return
        # Again in the next round, until nothing is found: small steps let others write in between.
        with writing(self._engine) as session:
            jobs.sweep(session, self._rules)
