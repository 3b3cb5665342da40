"""Chat messages: the history of each session of each flow, seen by its owner only."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from service.domain.errors import Invalid, NotFound, Rejected
from service.domain.ports import MessageRow, MessageSink, StoredMessage
from service.storage.base import is_storable
from service.storage.messages import StoredChatMessage as Row

#: Langflow's page of a history, and the largest one that it gives.
PAGE, MOST = 100, 200
MOST_SESSIONS = 500
_ORDERS = {name: getattr(Row, name) for name in ("timestamp", "sender", "sender_name", "session_id", "text")}


class DatabaseHistory:
    """The history of one flow for one run; implements ``domain.ports.ChatHistory``.

    Messages are kept in memory until ``flush``, so that a run costs one write. A session with a name of its own, from
    the caller or from the flow, is a conversation whose next turn any worker may answer: its messages are written
    before the run's answer goes out.
    The others share the session of their flow, in which nobody waits for them: they are written within a second.

    Args:
        open_session: opens a session of its own.
        sink: writes rows.
        user_id: owner of the flow; every query has it.
        flow_id: the flow; every query has it.
        at_once: the run names its session.
    """

    def __init__(
        self,
        open_session: Callable[[], Session],
        sink: MessageSink,
        user_id: uuid.UUID,
        flow_id: uuid.UUID,
        *,
        at_once: bool,
    ) -> None:
        self._open, self._sink, self._at_once = open_session, sink, at_once
        self._user_id, self._flow_id = user_id, flow_id
        self._new: dict[str, StoredMessage] = {}
        self._times: dict[str, datetime] = {}
        self._taken: set[datetime] = set()

    def add(self, message: StoredMessage) -> None:
        """Add a message, or replace the one with its id."""
        time = self._times.get(message.id) or self._own_time(message.time)
        self._times[message.id] = time
        self._new[message.id] = message if time == message.time else replace(message, time=time)

    def load(self, session_id: str, *, context_id: str = "", sender: str = "", sender_name: str = "",
             limit: int = 100, newest_first: bool = False) -> list[StoredMessage]:  # fmt: skip
        """The last messages of a session; see ``domain.ports.ChatHistory``."""
        self.flush()
        self._sink.flush()
        query = select(Row).where(Row.user_id == self._user_id, Row.flow_id == self._flow_id)
        query = query.where(Row.session_id == _fitting(session_id, 1000), Row.error.is_(False))
        filters = ((Row.context_id, context_id), (Row.sender, sender), (Row.sender_name, sender_name))
        for column, wanted in ((column, _fitting(text, 1000)) for column, text in filters):
            query = query.where(column == wanted) if wanted else query
        newest = query.order_by(Row.timestamp.desc(), Row.id.desc()).limit(max(0, limit))
        with self._open() as session:
            found = [_message_of(row) for row in session.scalars(newest)]
        return found if newest_first else found[::-1]

    def flush(self) -> None:
        """Hand over what is new."""
        if not self._new:
            return
        new, self._new = self._new, {}
        rows = [_row_of(message, self._user_id, self._flow_id) for message in new.values()]
        if self._at_once or any(message.session_id != str(self._flow_id) for message in new.values()):
            self._sink.write(rows)
        else:
            self._sink.defer(rows)

    def _own_time(self, time: datetime) -> datetime:
        """Two outputs may hand on one message with its time; what came later has to be listed later."""
        while time in self._taken:
            time += timedelta(microseconds=1)
        self._taken.add(time)
        return time


def _row_of(message: StoredMessage, user_id: uuid.UUID, flow_id: uuid.UUID) -> MessageRow:
    return {
        "id": uuid.UUID(message.id),
        "user_id": user_id,
        "flow_id": flow_id,
        "session_id": _fitting(message.session_id, 1000),
        "context_id": _fitting(message.context_id, 1000),
        "sender": _fitting(message.sender, 255),
        "sender_name": _fitting(message.sender_name, 1000),
        "text": _storable(message.text),
        "files": list(message.files),
        "timestamp": message.time,
        "error": message.error,
        "edit": message.edit,
        "category": message.category,
        "properties": dict(message.properties),
        "content_blocks": list(message.content_blocks),
        "session_metadata": None if message.session_metadata is None else dict(message.session_metadata),
        "duration": message.duration,
    }


def _fitting(text: str, most: int) -> str:
    return _storable(text)[:most]


def _storable(text: str) -> str:
    """A model may write what no database can hold."""
    if is_storable(text):
        return text
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _message_of(row: Row) -> StoredMessage:
    return StoredMessage(
        id=str(row.id),
        session_id=row.session_id,
        text=row.text,
        sender=row.sender,
        sender_name=row.sender_name,
        time=row.timestamp,
        context_id=row.context_id,
        files=tuple(row.files),
        error=row.error,
        edit=row.edit,
        category=row.category,
        properties=row.properties,
        content_blocks=row.content_blocks,
        session_metadata=row.session_metadata,
        duration=row.duration,
    )


def list_of(session: Session, user_id: uuid.UUID, *, flow_id: uuid.UUID | None = None, session_id: str = "",
            sender: str = "", sender_name: str = "", order_by: str = "timestamp", descending: bool = False,
            limit: int = PAGE, offset: int = 0) -> list[Row]:  # fmt: skip
    """The newest messages that fit, at most ``MOST``, in the asked order.

    Raises:
        Rejected: ``order_by`` is no column to order by.
    """
    if order_by not in _ORDERS:
        raise Rejected(f"Invalid order_by field: {order_by}")
    if not all(map(is_storable, (session_id, sender, sender_name))):
        return []
    query = _mine(user_id)
    if flow_id is not None:
        query = query.where(Row.flow_id == flow_id)
    for column, wanted in ((Row.session_id, session_id), (Row.sender, sender), (Row.sender_name, sender_name)):
        query = query.where(column == wanted) if wanted else query
    newest = query.order_by(Row.timestamp.desc(), Row.id.desc()).offset(offset).limit(min(limit or PAGE, MOST))
    found = list(session.scalars(newest))
    return sorted(found, key=lambda row: (getattr(row, order_by), row.timestamp, row.id), reverse=descending)


def sessions_of(session: Session, user_id: uuid.UUID, flow_id: uuid.UUID | None = None) -> list[str]:
    """The session ids, the one that spoke last first."""
    query = select(Row.session_id).where(Row.user_id == user_id)
    if flow_id is not None:
        query = query.where(Row.flow_id == flow_id)
    last = func.max(Row.timestamp).desc()
    return list(session.scalars(query.group_by(Row.session_id).order_by(last, Row.session_id).limit(MOST_SESSIONS)))


def change(session: Session, user_id: uuid.UUID, message_id: uuid.UUID, body: dict[str, Any]) -> Row:
    """Edit a message; a new text marks it as edited.

    Raises:
        NotFound: none such, or somebody else's.
    """
    row = session.scalar(_mine(user_id).where(Row.id == message_id))
    if row is None:
        raise NotFound("Message not found")
    if body.get("text", row.text) != row.text:
        row.edit = True
    for name, value in body.items():
        setattr(row, name, value)
    session.flush()
    return row


def rename_session(session: Session, user_id: uuid.UUID, old: str, new: str) -> Sequence[Row]:
    """Give the messages of a session another session id, and return them.

    Raises:
        NotFound: no message has the old one.
        Invalid: the new one is empty, too long, or cannot be stored.
    """
    if not new:
        raise Invalid.field("String should have at least 1 character", "query", "new_session_id")
    Invalid.if_longer(new, 1000, "query", "new_session_id")
    if not is_storable(new):
        raise Invalid.field("Value error, the text cannot be stored", "query", "new_session_id", kind="value_error")
    mine = select(Row.id).where(Row.user_id == user_id, Row.session_id == old)
    ids = list(session.scalars(mine)) if is_storable(old) else []
    if not ids:
        raise NotFound("No messages found with the given session ID")
    session.execute(update(Row).where(Row.user_id == user_id, Row.session_id == old).values(session_id=new))
    return session.scalars(_mine(user_id).where(Row.id.in_(ids[:MOST])).order_by(Row.timestamp, Row.id)).all()


def remove(session: Session, user_id: uuid.UUID, ids: Iterable[uuid.UUID]) -> None:
    """Delete the messages that are the user's; the others are left alone without a word."""
    session.execute(delete(Row).where(Row.user_id == user_id, Row.id.in_(list(ids))))


def remove_sessions(session: Session, user_id: uuid.UUID, names: Iterable[str]) -> int:
    """Delete whole sessions; return how many of them had messages.

    Raises:
        Rejected: too many names at once.
    """
    wanted = list(dict.fromkeys(names))
    if len(wanted) > MOST_SESSIONS:
        raise Rejected(f"At most {MOST_SESSIONS} sessions can be deleted at once.")
    mine = Row.user_id == user_id, Row.session_id.in_([name for name in wanted if is_storable(name)])
    count = session.scalar(select(func.count(Row.session_id.distinct())).where(*mine)) or 0
    session.execute(delete(Row).where(*mine))
    return count


def _mine(user_id: uuid.UUID) -> Select[Row]:
    return select(Row).where(Row.user_id == user_id)
