"""Messages for the streams of MCP's HTTP+SSE transport: any worker may write to a stream that another one holds."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import ColumnElement, Engine, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.storage.clock import seconds_at
from service.storage.engine import begin_write
from service.storage.mcp import McpCall, McpMail, McpStream

MOST_WAITING = 100


class Mailbox:
    """Streams, and what waits for each.

    Args:
        engine: the database that all workers share.
        lasts: seconds that a stream lives on without ``keep``: its holder may have died.
        clock: seconds since 1970; None: the database's own, on which all hosts agree.
    """

    def __init__(self, engine: Engine, lasts: float, clock: Callable[[], float] | None = None) -> None:
        self._engine, self._lasts, self._clock = engine, lasts, clock

    def open(self, stream_id: str) -> None:
        """Make a stream, and sweep up what the dead have left."""
        now = self._now()
        with Session(self._engine) as session:
            begin_write(session, quiet=True)
            session.execute(delete(McpStream).where(McpStream.ends < now))
            session.execute(delete(McpCall).where(McpCall.ends < now))
            session.add(McpStream(id=stream_id, ends=now + self._lasts))
            session.commit()

    def keep(self, stream_id: str) -> bool:
        """Say that the stream is still held; False when it is gone."""
        with Session(self._engine) as session:
            begin_write(session, quiet=True)
            change = update(McpStream).where(McpStream.id == stream_id).values(ends=self._now() + self._lasts)
            kept = session.scalar(change.returning(McpStream.id)) is not None
            session.commit()
        return kept

    def has(self, stream_id: str) -> bool:
        """Say whether somebody holds the stream."""
        with Session(self._engine) as session:
            return self._is_open(session, stream_id)

    def put(self, stream_id: str, body: str) -> bool:
        """Write to a stream; False when nobody holds it, or nobody has read from it for long."""
        with Session(self._engine) as session:
            begin_write(session, quiet=True)
            waiting = select(func.count()).select_from(McpMail).where(McpMail.stream_id == stream_id)
            if not self._is_open(session, stream_id) or (session.scalar(waiting) or 0) >= MOST_WAITING:
                return False
            session.add(McpMail(stream_id=stream_id, body=body))
            try:
                session.commit()
            except IntegrityError:  # closed in between
                return False
        return True

    def take(self, stream_id: str) -> list[str]:
        """Take what waits, in the order in which it came."""
        with Session(self._engine) as session:
            found = session.execute(
                select(McpMail.id, McpMail.body).where(McpMail.stream_id == stream_id).order_by(McpMail.id)
            ).all()
        if found:
            with Session(self._engine) as session:
                begin_write(session, quiet=True)
                session.execute(delete(McpMail).where(McpMail.id.in_([row.id for row in found])))
                session.commit()
        return [row.body for row in found]

    def close(self, stream_id: str) -> None:
        """End a stream, with what waits for it and the calls that answer to it."""
        with Session(self._engine) as session:
            begin_write(session, quiet=True)
            session.execute(delete(McpStream).where(McpStream.id == stream_id))
            session.commit()

    def _now(self) -> ColumnElement[float]:
        return seconds_at(self._engine, self._clock)

    def _is_open(self, session: Session, stream_id: str) -> bool:
        query = select(McpStream.id).where(McpStream.id == stream_id, McpStream.ends >= self._now())
        return session.scalar(query) is not None
