"""Runs in the background: started, taken up by somebody, ended; kept for a while.

The database row is the truth. Each step is one statement that names the state it starts from, so that of two who try
it one succeeds: a job that is announced twice runs once, and whoever lost a job cannot overwrite what became of it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, undefer

from service.domain import key_records
from service.domain.depth import is_deeper
from service.domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    JobLost,
    JobNotFound,
    NotFound,
    QueueFull,
    TooManyAttempts,
)
from service.domain.flows import MOST_LEVELS
from service.domain.identity import Identity
from service.domain.permissions import Rights, Scope
from service.domain.places import TOO_MANY_RUNS
from service.domain.ports import Vault
from service.domain.runs import RunRequest
from service.json_text import encoded
from service.storage.base import utc_now
from service.storage.jobs import Job
from service.storage.users import User

PAGE, MOST = 50, 200
_MOST_AHEAD = timedelta(minutes=2)
#: Jobs that one step of an errand touches.
STEP = 100


class Status(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: What has not ended.
OPEN = (Status.QUEUED, Status.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRules:
    """What the operator allows. Times are seconds unless named otherwise."""

    attempts: int = 1
    lost_after: float = 30.0
    retention_hours: int = 24
    most_waiting: int = 1000
    most_result_bytes: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Order:
    """A run that somebody wants in the background.

    ``most_of_key`` is how many the key may have going on at once; None: it is not limited.
    """

    owner_id: uuid.UUID
    flow_id: uuid.UUID
    key_id: uuid.UUID | None
    asked: RunRequest
    idempotency_key: str | None = None
    most_of_key: int | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the starter of a job is told."""

    id: uuid.UUID
    flow_id: uuid.UUID
    status: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that is ours to run, until ``claim`` is taken from us."""

    id: uuid.UUID
    claim: uuid.UUID
    owner_id: uuid.UUID
    flow_id: uuid.UUID
    key_id: uuid.UUID | None
    attempts: int
    request: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Which jobs somebody may see and cancel.

    ``flows`` are those that the key is limited to; ``only_of`` is a key that sees what it has started and no more.
    """

    owner_id: uuid.UUID
    flows: frozenset[uuid.UUID] | None = None
    only_of: uuid.UUID | None = None

    @classmethod
    def of(cls, identity: Identity) -> Viewer:
        """The caller of a request. A key that may run and not read has no business with the answers of others."""
        rights = identity.rights
        if rights is None:
            return cls(identity.user_id)
        return cls(identity.user_id, rights.flows, None if rights.allow(Scope.READ) else identity.key_id)


def submit(session: Session, vault: Vault, rules: JobRules, order: Order) -> Ticket:
    """Write a job down. Tell the carrier once this is committed, and not before.

    Raises:
        QueueFull: as many jobs of the owner are open as may.
        TooManyAttempts: the same, of the key.
        Conflict: the idempotency key was used in this very moment.
        NotFound: the flow was deleted in this very moment.
    """
    known = _known(session, order)
    if known is not None:
        return _ticket(known)
    mine = select(func.count()).select_from(Job).where(Job.user_id == order.owner_id, Job.status.in_(OPEN))
    if (session.scalar(mine) or 0) >= rules.most_waiting:
        raise QueueFull
    of_key = mine.where(Job.key_id == order.key_id)
    if order.most_of_key is not None and (session.scalar(of_key) or 0) >= order.most_of_key:
        raise TooManyAttempts(1, TOO_MANY_RUNS)
    now = database_now(session)
    job = Job(
        id=uuid.uuid4(), user_id=order.owner_id, flow_id=order.flow_id, key_id=order.key_id, status=Status.QUEUED,
        idempotency_key=order.idempotency_key, request=vault.encrypt(_packed(order.asked)), created_at=now,
        take_at=now,
    )  # fmt: skip
    session.add(job)
    try:
        session.flush()
    except IntegrityError as error:
        if "idempotency_key" in str(error.orig):
            raise Conflict("A job with this idempotency_key is already in progress.") from None
        raise NotFound(f"Flow identifier {order.flow_id} not found") from None
    return _ticket(job)


def get(session: Session, viewer: Viewer, job_id: uuid.UUID) -> Job:
    """Return a job with its result.

    Raises:
        JobNotFound: none such, or none that the viewer may see.
    """
    job = session.scalar(_visible(viewer).where(Job.id == job_id).options(undefer(Job.result)))
    if job is None:
        raise JobNotFound(job_id)
    return job


def list_of(session: Session, viewer: Viewer, *, status: str | None = None, flow_id: uuid.UUID | None = None,
            before: uuid.UUID | None = None, limit: int = PAGE) -> tuple[list[Job], uuid.UUID | None]:  # fmt: skip
    """The jobs that fit, the newest first and without results, and the id to go on ``before``; None: that was all.

    Raises:
        Invalid: ``before`` is no job of the viewer.
    """
    query = _visible(viewer)
    query = query.where(Job.status == status) if status else query
    query = query.where(Job.flow_id == flow_id) if flow_id else query
    if before is not None:
        last = session.scalar(_visible(viewer).where(Job.id == before))
        if last is None:
            raise Invalid.field("Value error, cursor is none that this server has given", "query", "cursor")
        older = and_(Job.created_at == last.created_at, Job.id < last.id)
        query = query.where(or_(Job.created_at < last.created_at, older))
    found = list(session.scalars(query.order_by(Job.created_at.desc(), Job.id.desc()).limit(limit + 1)))
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def cancel(session: Session, viewer: Viewer, job_id: uuid.UUID) -> tuple[Job, bool]:
    """End a job that has not ended; returns it as it stands now, and whether this act ended it.

    It is final at once. Whoever runs the job sees it within a second and stops.

    Raises:
        JobNotFound: none such, or none that the viewer may see.
    """
    job = get(session, viewer, job_id)
    ended = _end(session, Job.id == job.id, Status.CANCELLED)
    session.refresh(job)
    return job, ended


def claim(session: Session, job_id: uuid.UUID) -> Claimed | None:
    """Take a job up; None: it does not wait, so it is somebody else's, or has ended."""
    now = database_now(session)
    row = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.status == Status.QUEUED)
        .values(
            status=Status.RUNNING, claim=uuid.uuid4(), attempts=Job.attempts + 1, started_at=now, heartbeat_at=now
        )
        .returning(Job.id, Job.claim, Job.user_id, Job.flow_id, Job.key_id, Job.attempts, Job.request)
    ).one_or_none()
    return None if row is None else _claimed(row, row.request)


def rights_of(session: Session, job: Claimed, now: datetime) -> Rights | None:
    """The rights of the job's key as they are now, not as they were when it was started; None: not limited.

    Raises:
        Forbidden: the owner may no longer sign in, or the key no longer be used, or not for runs.
    """
    if job.key_id is None:
        if not session.scalar(select(User.is_active).where(User.id == job.owner_id)):
            raise Forbidden("The owner of this job is not active")
        return None
    record = key_records.find_by_id(session, job.key_id)
    if record is None or not record.is_good(now):
        raise Forbidden("The API key that started this job can no longer be used")
    rights = record.rights
    # Where its request came from is not known any more, but that nothing may come from anywhere is.
    if rights is not None and (not rights.allow(Scope.RUN) or rights.networks == ()):
        raise Forbidden("The API key that started this job may no longer run flows")
    return rights


def request_of(job: Claimed, vault: Vault) -> RunRequest:
    """What was asked.

    Raises:
        NotDecryptable: the server's secret is another one now.
    """
    return RunRequest(**json.loads(vault.decrypt(job.request)))


def held(session: Session, claims: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Which of these claims still hold; of the others the job was cancelled, deleted or taken away."""
    mine = select(Job.claim).where(Job.claim.in_(claims), Job.status == Status.RUNNING)
    return {one for one in session.scalars(mine) if one is not None}


def beat(session: Session, claims: Collection[uuid.UUID]) -> None:
    """Give a sign of life for the jobs of these claims."""
    alive = update(Job).where(Job.claim.in_(claims), Job.status == Status.RUNNING)
    session.execute(alive.values(heartbeat_at=database_now(session)))


def finish(session: Session, job: Claimed, result: Mapping[str, Any]) -> bool:
    """Keep the result; False: the job is no longer ours, and what became of it stands."""
    return _end(session, _ours(job), Status.DONE, result=dict(result))


def fail(session: Session, job: Claimed, kind: str, message: str) -> bool:
    """Keep the reason; False: the job is no longer ours."""
    return _end(session, _ours(job), Status.FAILED, error={"kind": kind, "message": message})


def put_back(session: Session, job: Claimed, seconds: float) -> None:
    """Let a job wait a little more that has not begun: this was no attempt."""
    _requeue(session, _ours(job), database_now(session) + timedelta(seconds=seconds), attempts=job.attempts - 1)


def give_up(session: Session, job: Claimed, rules: JobRules, reason: str) -> None:
    """Let somebody else try again what has begun, where the operator allows more attempts; else it has failed."""
    if job.attempts < rules.attempts:
        _requeue(session, _ours(job), database_now(session))
    else:
        fail(session, job, JobLost.__name__, reason)


def lost(session: Session, rules: JobRules) -> list[Claimed]:
    """Jobs whose runner has given no sign of life for too long; without what was asked."""
    silent = Job.heartbeat_at < database_now(session) - timedelta(seconds=rules.lost_after)
    query = select(Job.id, Job.claim, Job.user_id, Job.flow_id, Job.key_id, Job.attempts)
    return [
        _claimed(row, "") for row in session.execute(query.where(Job.status == Status.RUNNING, silent).limit(STEP))
    ]


def are_ahead(session: Session) -> bool:
    """Say whether ``bring_back`` would find anything."""
    return any(session.scalar(select(Job.id).where(one).limit(1)) for one in _ahead(session))


def bring_back(session: Session) -> None:
    """Set times right that lie ahead of a clock that was set back.

    Else a job would wait, and one whose runner has died would count as running, until the clock has caught up.
    """
    now = database_now(session)
    waits, runs = _ahead(session)
    session.execute(update(Job).where(waits).values(take_at=now))
    # Whoever is alive says so again; whoever is not counts as lost in a while.
    session.execute(update(Job).where(runs).values(heartbeat_at=now))


def due(session: Session, most: int) -> list[uuid.UUID]:
    """Jobs that wait to be taken up, the oldest first."""
    waiting = Job.status == Status.QUEUED, Job.take_at <= database_now(session)
    return list(session.scalars(select(Job.id).where(*waiting).order_by(Job.take_at, Job.id).limit(most)))


def forgotten(session: Session, rules: JobRules) -> bool:
    """Say whether ``sweep`` would find anything."""
    over = database_now(session) - timedelta(hours=rules.retention_hours)
    return session.scalar(select(Job.id).where(_is_over(over)).limit(1)) is not None


def sweep(session: Session, rules: JobRules) -> None:
    """Delete a few ended jobs that were kept long enough, and end a few that nobody has taken up in that time."""
    over = database_now(session) - timedelta(hours=rules.retention_hours)
    waiting = select(Job.id).where(Job.status == Status.QUEUED, Job.created_at < over).limit(STEP)
    error = {"kind": JobLost.__name__, "message": f"Nobody took this job up within {rules.retention_hours} hours."}
    for job_id in session.scalars(waiting).all():
        _end(session, and_(Job.id == job_id, Job.status == Status.QUEUED), Status.FAILED, error=error)
    old = select(Job.id).where(Job.finished_at < over).limit(STEP)
    session.execute(delete(Job).where(Job.id.in_(session.scalars(old).all())))


def fitting(result: Mapping[str, Any], rules: JobRules) -> bool:
    """Say whether a result is small enough to be kept."""
    return len(encoded(result, str)) <= rules.most_result_bytes


def database_now(session: Session) -> datetime:
    """The database's own time, so that hosts whose clocks differ agree on who is silent for how long."""
    if session.connection().dialect.name == "postgresql":
        now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
        return now
    return utc_now()


def _visible(viewer: Viewer) -> Select[Job]:
    query = select(Job).where(Job.user_id == viewer.owner_id)
    query = query if viewer.flows is None else query.where(Job.flow_id.in_(viewer.flows))
    return query if viewer.only_of is None else query.where(Job.key_id == viewer.only_of)


def _known(session: Session, order: Order) -> Job | None:
    """The job that the same idempotency key has started; for another flow the key is refused."""
    if order.idempotency_key is None:
        return None
    mine = Job.user_id == order.owner_id, Job.idempotency_key == order.idempotency_key
    job = session.scalar(select(Job).where(*mine))
    if job is not None and (job.flow_id, job.key_id) != (order.flow_id, order.key_id):
        raise Conflict("This idempotency_key was used for another run.")
    return job


def _ticket(job: Job) -> Ticket:
    return Ticket(job.id, job.flow_id, job.status, job.created_at)


def _claimed(row: Any, request: str) -> Claimed:
    return Claimed(row.id, row.claim, row.user_id, row.flow_id, row.key_id, row.attempts, request)


def _packed(asked: RunRequest) -> str:
    if is_deeper(asked.tweaks, MOST_LEVELS):
        # It could be written out here and not be read again by whoever takes the job up.
        raise Invalid.field(f"Value error, the tweaks have more than {MOST_LEVELS} levels", "body", "tweaks")
    return json.dumps(asdict(asked) | {"stream": False, "background": False})


def _ours(job: Claimed) -> ColumnElement[bool]:
    return and_(Job.id == job.id, Job.claim == job.claim, Job.status == Status.RUNNING)


def _end(session: Session, which: ColumnElement[bool], status: Status, **values: Any) -> bool:
    """End an open job, and forget what was asked."""
    values |= {"status": status, "finished_at": database_now(session), "request": None, "claim": None}
    change = update(Job).where(which, Job.status.in_(OPEN)).values(**values).returning(Job.id)
    return session.execute(change).one_or_none() is not None


def _requeue(session: Session, which: ColumnElement[bool], take_at: datetime, **values: Any) -> None:
    values |= {"status": Status.QUEUED, "claim": None, "take_at": take_at}
    session.execute(update(Job).where(which).values(**values))


def _ahead(session: Session) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Jobs that wait, and jobs that run, whose times are further ahead than this code ever sets them."""
    soon = database_now(session) + _MOST_AHEAD
    waits = and_(Job.status == Status.QUEUED, Job.take_at > soon)
    return waits, and_(Job.status == Status.RUNNING, Job.heartbeat_at > soon)


def _is_over(over: datetime) -> ColumnElement[bool]:
    return or_(Job.finished_at < over, and_(Job.status == Status.QUEUED, Job.created_at < over))
