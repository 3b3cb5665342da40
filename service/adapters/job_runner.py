"""Running one job: taken up, watched while it runs, ended."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.adapters.periodic import Periodic
from service.domain import jobs, places, runs
from service.domain.errors import DomainError, RunTooLarge, ServerStopping, TooBusy, TooManyAttempts
from service.domain.flow_runner import FlowRunner
from service.domain.jobs import Claimed, JobRules
from service.domain.ports import LimitStore, Vault
from service.domain.runs import Running
from service.observability import Outage
from service.storage.engine import begin_write
from service.storage.outages import name_of

log = logging.getLogger(__name__)

#: A cancelled job is noticed within so many seconds.
_LOOK_SECONDS = 0.4
#: Signs of life in the time after which a job counts as lost.
_BEATS = 6
#: Seconds until a job is looked at again for which there was no room.
_NO_ROOM_SECONDS = 1.0
#: Seconds for which an ending is tried to be written while the database is away.
_WRITE_SECONDS = 60.0
_STOPPED = "The server or worker that ran this job was stopped. It may have done a part of its work."

#: How a job ended, as a step that writes it down.
Ending = Callable[[Session], object]


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A short transaction of its own, that begins as a writer."""
    with Session(engine) as session:
        begin_write(session)
        yield session
        session.commit()


class Watch:
    """What the heart knows of one job that runs here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Running | None = None
        #: The job is no longer ours, or this process stops.
        self.over = False

    def begin(self, running: Running) -> None:
        """Say what is to be stopped."""
        with self._lock:
            self._running = running
            over = self.over
        if over:
            running.cancel()

    def stop(self) -> None:
        """Stop the run, and the provider's call that it waits for."""
        with self._lock:
            self.over, running = True, self._running
        if running is not None:
            running.cancel()


class Heart(Periodic):
    """Gives signs of life for the jobs of this process, and stops those that are no longer its own.

    Args:
        engine: the database.
        lost_after: seconds of silence after which others take a job for lost.
    """

    def __init__(self, engine: Engine, lost_after: float) -> None:
        super().__init__("job heart", _LOOK_SECONDS)
        self._engine, self._every = engine, lost_after / _BEATS
        self._watched: dict[uuid.UUID, Watch] = {}
        self._last_beat = 0.0
        self._outage = Outage(log)

    @contextmanager
    def watching(self, claim: uuid.UUID) -> Iterator[Watch]:
        """Watch a job while the block runs."""
        watch = Watch()
        self.awake()
        with self._lock:
            self._watched[claim] = watch
        try:
            yield watch
        finally:
            with self._lock:
                self._watched.pop(claim, None)

    def stop_all(self) -> None:
        """Stop everything that runs here."""
        for watch in self._all().values():
            watch.stop()

    def flush(self) -> None:
        """Look whether the jobs are still ours, and say now and then that they are alive."""
        watched = self._all()
        if not watched:
            return
        try:
            with Session(self._engine) as session:
                ours = jobs.held(session, watched)
            for claim in watched.keys() - ours:
                watched[claim].stop()
            if monotonic() - self._last_beat >= self._every:
                with writing(self._engine) as session:
                    jobs.beat(session, ours)
                self._last_beat = monotonic()
        except SQLAlchemyError as error:
            # The runs go on: a database that is away for a moment is no reason to stop what is paid for.
            self._outage.failed("no sign of life could be given for %d jobs (%s)", len(watched), name_of(error))
        else:
            self._outage.over("signs of life are given again")

    def forget(self) -> None:
        """Drop what the process before a fork ran."""
        self._watched = {}

    def _all(self) -> dict[uuid.UUID, Watch]:
        with self._lock:
            return dict(self._watched)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What running a job takes."""

    engine: Engine
    flows: FlowRunner
    vault: Vault
    run_limits: LimitStore
    run_timeout: float
    now: Callable[[], datetime]


class JobRunner:
    """Runs jobs, one at a time in each thread that calls it.

    Args:
        shop: what running takes.
        rules: what the operator allows.
    """

    def __init__(self, shop: Workshop, rules: JobRules) -> None:
        self._shop, self._rules = shop, rules
        self._heart = Heart(shop.engine, rules.lost_after)
        #: Set once nothing more is to be taken up.
        self.closing = threading.Event()
        #: Set once nothing is waited for any more.
        self._hurried = threading.Event()

    def execute(self, job_id: uuid.UUID) -> bool:
        """Run a job to its end; False: it was not there to be taken up, or may not be any more."""
        if self.closing.is_set():
            return False
        with writing(self._shop.engine) as session:
            job = jobs.claim(session, job_id)
        if job is None:
            return False
        with self._heart.watching(job.claim) as watch:
            ending = self._run(job, watch)
            self._write(job, ending)
        return True

    def waiting(self) -> uuid.UUID | None:
        """The next job that waits."""
        if self.closing.is_set():
            return None
        with Session(self._shop.engine) as session:
            found = jobs.due(session, 1)
        return found[0] if found else None

    def stop(self) -> None:
        """Take nothing more, and stop what runs: it is given back, or fails with the reason."""
        self.closing.set()
        self._hurried.set()
        self._heart.stop_all()

    def close(self) -> None:
        """Stop watching; nothing runs any more."""
        self.closing.set()
        self._heart.close()

    def _run(self, job: Claimed, watch: Watch) -> Ending:
        try:
            result = self._result(job, watch)
        except (TooBusy, TooManyAttempts):
            return lambda session: jobs.put_back(session, job, _NO_ROOM_SECONDS)
        except Exception as error:
            if watch.over or isinstance(error, ServerStopping):
                # By this process's end, or because the job is no longer ours and nothing changes any more.
                return lambda session: jobs.give_up(session, job, self._rules, _STOPPED)
            return self._failure(job, error)
        return lambda session: jobs.finish(session, job, result)

    def _failure(self, job: Claimed, error: Exception) -> Ending:
        if isinstance(error, DomainError):
            log.warning("job %s of flow %s failed: %s", job.id, job.flow_id, error)
            kind, message = type(error).__name__, error.message
        else:
            log.error("job %s of flow %s failed unexpectedly", job.id, job.flow_id, exc_info=error)
            kind, message = "Unexpected", "Internal Server Error"
        return lambda session: jobs.fail(session, job, kind, message)

    def _result(self, job: Claimed, watch: Watch) -> dict[str, Any]:
        shop = self._shop
        asked = jobs.request_of(job, shop.vault)
        with Session(shop.engine) as session:
            rights = jobs.rights_of(session, job, shop.now())
            prepared = shop.flows.prepare(
                lambda: session, job.owner_id, str(job.flow_id), asked.tweaks, asked.variables, asked.session_id,
                only=rights.flows if rights is not None else None, key_id=job.key_id,
                slot=places.slot_of(rights, job.key_id, shop.run_limits, shop.run_timeout),
            )  # fmt: skip
        running = runs.events(prepared, asked)
        watch.begin(running)
        result = {"session_id": prepared.session_id, "outputs": runs.finished(running)}
        if not jobs.fitting(result, self._rules):
            raise RunTooLarge(f"The result has more than {self._rules.most_result_bytes} bytes and is not kept.")
        return result

    def _write(self, job: Claimed, ending: Ending) -> None:
        """Write the ending down, with some patience: the run was paid for."""
        until, pause = monotonic() + _WRITE_SECONDS, 0.1
        while True:
            try:
                with writing(self._shop.engine) as session:
                    ending(session)
            except SQLAlchemyError as error:
                log.warning("the end of job %s could not be written yet (%s)", job.id, type(error).__name__)
                if monotonic() > until or self._hurried.wait(pause):
                    return
                pause = min(pause * 2, 5.0)
            else:
                return
