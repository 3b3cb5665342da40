"""What is over is swept up a few at a time, and nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL, Engine, func, select, text
from sqlalchemy.orm import Session

from service.adapters import housekeeper
from service.adapters.housekeeper import SWEEP_SECONDS, Housekeeper
from service.domain import housekeeping
from service.storage import ApiKey, Flow, KeyUsage, LimitLease, RunRow, SessionToken, User
from service.storage.mcp import McpCall, McpStream

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD, RECENT = NOW - timedelta(days=367), NOW - timedelta(days=365)


class Seconds:
    """A clock that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as made:
        yield made


def rows(session: Session, at: datetime) -> list[Any]:
    """One of each kind that was over, or ended, at a time."""
    user = session.scalars(select(User)).first()
    assert user is not None
    flow = Flow(user_id=user.id, name=uuid.uuid4().hex, data={})
    key = ApiKey(digest=uuid.uuid4().hex, prefix="sk-", length=53, user_id=user.id)
    session.add_all([flow, key])
    session.flush()
    ends = at.timestamp()
    return [
        RunRow(user_id=user.id, flow_id=flow.id, started_at=at, duration=1, outcome="done"),
        KeyUsage(key_id=key.id, day=at.date(), status=200, count=1),
        SessionToken(digest=uuid.uuid4().hex, kind="access", family=uuid.uuid4(), user_id=user.id, expires_at=at),
        McpStream(id=uuid.uuid4().hex, ends=ends),
        McpCall(id=uuid.uuid4().hex, ends=ends),
        LimitLease(token=uuid.uuid4().hex, subject="a", ends=ends),
    ]


KINDS = (RunRow, KeyUsage, SessionToken, McpStream, McpCall, LimitLease)


def counts(session: Session) -> dict[str, int]:
    session.rollback()
    found = {kind.__name__: session.scalar(select(func.count()).select_from(kind)) or 0 for kind in KINDS}
    return {name: count for name, count in found.items() if count}


class NoFlows:
    """Keeps none compiled."""

    def forget_gone(self, open_session: Callable[[], Session]) -> None:
        """Nothing to forget."""


def keeper(engine: Engine, clock: Seconds) -> Housekeeper:
    return Housekeeper(engine, NoFlows(), lambda: NOW, clock)  # type: ignore[arg-type]


def test_what_is_over_is_swept_up(engine: Engine, session: Session) -> None:
    session.add_all(rows(session, OLD))
    session.commit()
    clock = Seconds()
    one = keeper(engine, clock)
    one.flush()
    assert set(counts(session)) == {kind.__name__ for kind in KINDS}
    clock.now = SWEEP_SECONDS
    one.flush()
    assert counts(session) == {}


def test_what_a_report_can_still_show_and_what_has_not_ended_stays(engine: Engine, session: Session) -> None:
    recent, later = rows(session, RECENT)[:2], rows(session, NOW + timedelta(hours=1))[2:]
    session.add_all([*recent, *later])
    session.commit()
    clock = Seconds()
    one = keeper(engine, clock)
    clock.now = SWEEP_SECONDS
    one.flush()
    assert counts(session) == {kind.__name__: 1 for kind in KINDS}


def test_many_rows_take_many_steps(engine: Engine, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "STEP", 2)
    for _ in range(3):
        session.add_all(rows(session, OLD))
    session.commit()
    clock = Seconds()
    one = keeper(engine, clock)
    clock.now = SWEEP_SECONDS
    one.flush()
    assert set(counts(session).values()) == {1}
    one.flush()
    assert counts(session) == {}


def test_a_database_that_is_away_is_asked_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Seconds()
    one = keeper(engine, clock)
    clock.now = SWEEP_SECONDS
    asked: list[object] = []

    def find(*_: object) -> list[Any]:
        asked.append(1)
        raise housekeeper.SQLAlchemyError

    monkeypatch.setattr(housekeeping, "find", find)
    one.flush()
    one.flush()
    assert len(asked) == 2


@pytest.mark.postgresql
def test_what_somebody_else_holds_is_left_for_later(make_app: Callable[..., Flask], postgresql_url: URL) -> None:
    engine = make_app(postgresql_url).extensions["keyturn"].engine
    with Session(engine) as session, Session(engine) as elsewhere:
        session.add_all([row for _ in range(2) for row in rows(session, OLD)])
        session.commit()
        held = elsewhere.scalars(select(SessionToken).limit(1).with_for_update()).one()
        # It would wait without an end: whoever holds the row goes on only afterwards.
        session.execute(text("SET LOCAL lock_timeout = '5s'"))
        housekeeping.remove(session, housekeeping.find(session, NOW))
        session.commit()
        assert counts(session) == {"SessionToken": 1}
        assert session.scalars(select(SessionToken.id)).one() == held.id
