"""Refused credentials in the audit trail: all that matter, and not one row for each request of an attack."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from time import monotonic

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.domain import audit
from service.domain.audit import Action, Actor, Subject
from service.observability import Outage
from service.storage.engine import begin_write
from service.storage.outages import name_of

log = logging.getLogger(__name__)

_WINDOW_SECONDS = 60.0
_MOST_ROWS = 60
_MOST_KINDS = 10_000


class RefusalLog:
    """Writes the first refusal of a kind at once, and how many followed with the next one a minute later.

    Args:
        engine: the database; each event is a short transaction of its own, for the request's is rolled back.
        clock: seconds that only grow.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()
        self._minute, self._rows = 0.0, 0
        self._outage = Outage(log)

    def note(self, by: Actor, action: Action, now: datetime, reason: str, subject: Subject | None = None) -> None:
        """Note one refusal; a database that is away costs the note and not the answer."""
        repeated = self._repeated((by.key_id, by.address, action, reason, subject.id if subject else None))
        if repeated is None:
            return
        details: dict[str, object] = {"reason": reason}
        if repeated:
            details["repeated"] = repeated
        try:
            with Session(self._engine) as session:
                begin_write(session, quiet=True)
                audit.record(session, by, action, now, subject, details, refused=True)
                session.commit()
        except SQLAlchemyError as error:
            self._outage.failed("refusals (%s) could not be written to the audit trail: %s", reason, name_of(error))
        else:
            self._outage.over("refusals are written to the audit trail again")

    def _repeated(self, kind: tuple[object, ...]) -> int | None:
        """Return how many came since the last row of this kind; None: no row for this one."""
        now = self._clock()
        with self._lock:
            written, since = self._seen.get(kind, (None, 0))
            if now - self._minute >= _WINDOW_SECONDS:
                self._minute, self._rows = now, 0
            if (written is not None and now - written < _WINDOW_SECONDS) or self._rows >= _MOST_ROWS:
                self._seen[kind] = (written if written is not None else now - _WINDOW_SECONDS, since + 1)
                since = -1
            else:
                self._rows += 1
                self._seen[kind] = (now, 0)
            self._seen.move_to_end(kind)
            if len(self._seen) > _MOST_KINDS:
                self._seen.popitem(last=False)
        return None if since < 0 else since
