"""Limits counted in the database that all workers share anyway."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import ColumnElement, Engine, case, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.adapters.limits import CLOCKS_APART
from service.domain.errors import LimitsAway
from service.domain.ports import Standing
from service.storage.clock import seconds_at
from service.storage.engine import begin_write
from service.storage.limits import LimitLease, LimitWindow

_SWEEP_EVERY = 1000
_KEEP_SECONDS = 3600.0


class DatabaseLimits:
    """Implements ``LimitStore`` with one statement for each count, so that the count is exact over all workers.

    Args:
        engine: the database.
        clock: seconds since 1970; None: the database's own, for hosts whose clocks differ would count other windows.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] | None = None) -> None:
        self._engine, self._clock = engine, clock
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._since_sweep = 0

    def hit(self, subject: str, most: int, seconds: int) -> Standing:
        now = self._now()
        # A window that ends later than it can was begun before the clock went back. A little later is only another
        # worker's clock, and a window that began anew for it would let one more request through.
        over = or_(LimitWindow.ends <= now, LimitWindow.ends > now + seconds + CLOCKS_APART)
        fresh = self._insert(LimitWindow).values(subject=subject, ends=now + seconds, count=1)
        count = fresh.on_conflict_do_update(
            index_elements=[LimitWindow.subject],
            set_={
                "count": case((over, 1), else_=LimitWindow.count + 1),
                "ends": case((over, now + seconds), else_=LimitWindow.ends),
            },
            where=or_(over, LimitWindow.count < most),
        ).returning(LimitWindow.count.label("counted"), (LimitWindow.ends - now).label("resets"))
        with self._writing() as session:
            row = session.execute(count).first()
            if row is None:
                left = select(LimitWindow.ends - now).where(LimitWindow.subject == subject)
                return Standing(allowed=False, remaining=0, resets=session.scalar(left) or 0.0)
            self._sweep(session, now)
        return Standing(allowed=True, remaining=most - row.counted, resets=row.resets)

    def forgive(self, subject: str) -> None:
        with self._writing() as session:
            session.execute(
                update(LimitWindow)
                .where(LimitWindow.subject == subject, LimitWindow.count > 0)
                .values(count=LimitWindow.count - 1)
            )

    def enter(self, subject: str, most: int, lease: float) -> str | None:
        now, token = self._now(), secrets.token_hex(16)
        mine = LimitLease.subject == subject
        with self._writing() as session:
            if self._engine.dialect.name == "postgresql":
                # Two that count at once would both see the last free place. SQLite has one writer anyway.
                session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(subject, 0))))
            session.execute(
                delete(LimitLease).where(
                    mine, or_(LimitLease.ends <= now, LimitLease.ends > now + lease + CLOCKS_APART)
                )
            )
            if (session.scalar(select(func.count()).select_from(LimitLease).where(mine)) or 0) >= most:
                return None
            session.add(LimitLease(token=token, subject=subject, ends=now + lease))
        return token

    def leave(self, subject: str, token: str) -> None:
        with self._writing() as session:
            session.execute(delete(LimitLease).where(LimitLease.token == token, LimitLease.subject == subject))

    def close(self) -> None:
        """Nothing to close: the engine is somebody else's."""

    def _now(self) -> ColumnElement[float]:
        return seconds_at(self._engine, self._clock)

    def _sweep(self, session: Session, now: ColumnElement[float]) -> None:
        self._since_sweep += 1
        if self._since_sweep >= _SWEEP_EVERY:
            self._since_sweep = 0
            for model in (LimitWindow, LimitLease):
                session.execute(delete(model).where(model.ends < now - _KEEP_SECONDS))

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        try:
            with Session(self._engine) as session:
                begin_write(session, quiet=True)
                yield session
                session.commit()
        except SQLAlchemyError:
            # Whatever it is: a standby has no tables that are not logged, and says so in yet another way.
            raise LimitsAway from None
