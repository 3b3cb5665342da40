"""Jobs in the database: one runner each, none lost, none for ever; on SQLite and PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from service.adapters.job_keeper import JobKeeper
from service.adapters.job_runner import writing
from service.adapters.vault import FernetVault
from service.domain import jobs
from service.domain.errors import NotDecryptable
from service.domain.jobs import JobRules, Order, Viewer
from service.domain.runs import RunRequest
from service.storage import Flow, Job
from service.storage.base import utc_now
from tests.conftest import SECRET

VAULT = FernetVault(SECRET)
ASKED = RunRequest(input_value="hi", tweaks={"a": 1}, variables={"KEY": "sk-secret"}, payload="{}")


class Ear:
    """A carrier that only listens."""

    def __init__(self, room: int = 10) -> None:
        self._room = room
        self.heard: list[uuid.UUID] = []

    def room(self) -> int:
        return self._room

    def announce(self, job_id: uuid.UUID) -> None:
        self.heard.append(job_id)

    def close(self) -> None:
        """Nothing runs."""


@pytest.fixture
def submit(engine: Engine, owner: uuid.UUID) -> Callable[..., uuid.UUID]:
    with writing(engine) as session:
        flow = Flow(user_id=owner, name="flow")
        session.add(flow)
        session.flush()
        flow_id = flow.id

    def make(rules: JobRules | None = None, asked: RunRequest = ASKED) -> uuid.UUID:
        with writing(engine) as session:
            return jobs.submit(session, VAULT, rules or JobRules(), Order(owner, flow_id, None, asked)).id

    return make


def row(engine: Engine, job_id: uuid.UUID) -> Job:
    with Session(engine) as session:
        job = session.get_one(Job, job_id)
        _ = job.request, job.result
        return job


def claim(engine: Engine, job_id: uuid.UUID) -> jobs.Claimed | None:
    with writing(engine) as session:
        return jobs.claim(session, job_id)


def taken(engine: Engine, job_id: uuid.UUID) -> jobs.Claimed:
    job = claim(engine, job_id)
    assert job is not None
    return job


def change(engine: Engine, job_id: uuid.UUID, **values: Any) -> None:
    with writing(engine) as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def keep(engine: Engine, ear: Ear | None = None, **rules: Any) -> None:
    """One round of a process that looks after jobs."""
    JobKeeper(engine, ear or Ear(), JobRules(**rules)).flush()


def test_of_many_who_hear_of_a_job_one_runs_it(engine: Engine, submit: Callable[..., uuid.UUID]) -> None:
    job_id = submit()
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: claim(engine, job_id), range(16)))
    assert sum(one is not None for one in claims) == 1
    assert row(engine, job_id).attempts == 1


def test_a_request_comes_back_as_it_was_asked(engine: Engine, submit: Callable[..., uuid.UUID]) -> None:
    job = taken(engine, submit())
    assert jobs.request_of(job, VAULT) == ASKED
    with pytest.raises(NotDecryptable):
        jobs.request_of(job, FernetVault("another-secret-0123456789-abcdefgh"))


def test_a_silent_runners_job_fails_with_the_reason_and_is_not_tried_again(
    engine: Engine, submit: Callable[..., uuid.UUID]
) -> None:
    job = taken(engine, submit())
    change(engine, job.id, heartbeat_at=utc_now() - timedelta(seconds=31))
    ear = Ear()
    keep(engine, ear)
    left = row(engine, job.id)
    assert (left.status, left.error["kind"], left.request, left.claim) == ("failed", "JobLost", None, None)
    assert "no sign of life" in left.error["message"]
    assert ear.heard == []


def test_a_silent_runners_job_is_tried_again_as_often_as_the_operator_allows(
    engine: Engine, submit: Callable[..., uuid.UUID]
) -> None:
    job_id, ear = submit(), Ear()
    for _ in range(3):
        taken(engine, job_id)
        change(engine, job_id, heartbeat_at=utc_now() - timedelta(seconds=31))
        keep(engine, ear, attempts=3)
    assert ear.heard == [job_id, job_id]
    assert (row(engine, job_id).status, row(engine, job_id).attempts) == ("failed", 3)


def test_a_runner_that_gives_signs_of_life_keeps_its_job(engine: Engine, submit: Callable[..., uuid.UUID]) -> None:
    job = taken(engine, submit())
    change(engine, job.id, heartbeat_at=utc_now() - timedelta(seconds=31))
    with writing(engine) as session:
        jobs.beat(session, [job.claim])
    keep(engine)
    assert row(engine, job.id).status == "running"


def test_whoever_lost_a_job_cannot_overwrite_what_became_of_it(
    engine: Engine, submit: Callable[..., uuid.UUID]
) -> None:
    first = taken(engine, submit())
    change(engine, first.id, heartbeat_at=utc_now() - timedelta(seconds=31))
    keep(engine, attempts=2)
    second = taken(engine, first.id)
    with writing(engine) as session:
        assert jobs.held(session, [first.claim, second.claim]) == {second.claim}
        assert not jobs.finish(session, first, {"late": True})
        assert jobs.finish(session, second, {"late": False})
        assert not jobs.fail(session, second, "RunFailed", "too late")
    assert row(engine, first.id).result == {"late": False}


def test_a_cancelled_job_is_taken_up_by_nobody_and_stays_so(
    engine: Engine, submit: Callable[..., uuid.UUID], owner: uuid.UUID
) -> None:
    waiting, running = submit(), taken(engine, submit())
    with writing(engine) as session:
        assert jobs.cancel(session, Viewer(owner), waiting)[1]
        assert jobs.cancel(session, Viewer(owner), running.id)[1]
    assert claim(engine, waiting) is None
    with writing(engine) as session:
        assert jobs.held(session, [running.claim]) == set()
        assert not jobs.finish(session, running, {})
    assert {row(engine, one).status for one in (waiting, running.id)} == {"cancelled"}


def test_a_job_for_which_there_was_no_room_waits_without_losing_an_attempt(
    engine: Engine, submit: Callable[..., uuid.UUID]
) -> None:
    job, ear = taken(engine, submit()), Ear()
    with writing(engine) as session:
        jobs.put_back(session, job, 60)
    keep(engine, ear)
    assert (row(engine, job.id).attempts, ear.heard) == (0, [])
    change(engine, job.id, take_at=utc_now())
    keep(engine, ear)
    assert ear.heard == [job.id]


HOUR_AHEAD = timedelta(hours=1)


def test_a_job_that_waits_is_taken_up_although_the_clock_was_set_back(
    engine: Engine, submit: Callable[..., uuid.UUID]
) -> None:
    job_id, ear = submit(), Ear()
    change(engine, job_id, take_at=utc_now() + HOUR_AHEAD, created_at=utc_now() + HOUR_AHEAD)
    keep(engine, ear)
    assert ear.heard == [job_id]


def test_a_dead_runner_is_noticed_although_the_clock_was_set_back(
    engine: Engine, submit: Callable[..., uuid.UUID]
) -> None:
    job = taken(engine, submit())
    change(engine, job.id, heartbeat_at=utc_now() + HOUR_AHEAD)
    keep(engine)
    assert row(engine, job.id).status == "running"  # it may be alive, and gets its time to say so
    assert row(engine, job.id).heartbeat_at <= utc_now() + timedelta(minutes=1)


def test_old_jobs_are_swept_up_a_few_at_a_time(engine: Engine, submit: Callable[..., uuid.UUID]) -> None:
    old = [submit() for _ in range(jobs.STEP + 5)]
    kept = taken(engine, submit())
    with writing(engine) as session:
        ended = utc_now() - timedelta(hours=25)
        session.execute(update(Job).where(Job.id.in_(old)).values(status="done", finished_at=ended))
        jobs.finish(session, kept, {})
    keeper = JobKeeper(engine, Ear(), JobRules(retention_hours=24))
    left = []
    for _ in range(2):
        keeper.flush()
        with Session(engine) as session:
            left.append(len(session.scalars(select(Job.id)).all()))
    assert left == [6, 1]


def test_a_job_that_nobody_takes_up_fails_in_the_end(engine: Engine, submit: Callable[..., uuid.UUID]) -> None:
    job_id = submit()
    change(engine, job_id, created_at=utc_now() - timedelta(hours=25))
    keep(engine, Ear(room=0), retention_hours=24)
    left = row(engine, job_id)
    assert (left.status, left.error["message"]) == ("failed", "Nobody took this job up within 24 hours.")


def test_a_waiting_job_survives_a_change_of_the_secret(engine: Engine, submit: Callable[..., uuid.UUID]) -> None:
    from service.domain import reencryption
    from service.storage.engine import begin_write

    job_id, both = submit(), FernetVault("the-new-secret-0123456789-abcdefgh", [SECRET])
    reencryption.reencrypt(lambda: begin_write(Session(engine)), both, both.key_id, lambda _: None)
    alone = FernetVault("the-new-secret-0123456789-abcdefgh")
    assert jobs.request_of(taken(engine, job_id), alone) == ASKED
