"""Uploaded files: seen by their owner only, and called by a reference that is never a path."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import PurePosixPath

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session, undefer

from service.domain.errors import Invalid, NotFound
from service.domain.ports import CompiledFlow, UploadedFile
from service.storage.files import UploadedFileRow as Row
from service.storage.flows import Flow

LONGEST_NAME = 200
MOST_AT_ONCE = 500
_UNSAFE = re.compile(r"[\x00-\x1f\x7f<>:\"/\\|?*]+")


class OwnersUploads:
    """The files of one owner, for a run; implements ``domain.ports.Uploads``.

    Args:
        open_session: opens a session of its own.
        user_id: the owner; every query has it.
        only: the flows that the caller's key is limited to.
        running: the flow that runs, and those that it runs in.
    """

    def __init__(self, open_session: Callable[[], Session], user_id: uuid.UUID,
                 only: frozenset[uuid.UUID] | None = None, running: Sequence[CompiledFlow] = ()) -> None:  # fmt: skip
        self._open, self._user_id, self._only, self._running = open_session, user_id, only, running

    def read(self, reference: str) -> UploadedFile:
        """Return the file; see ``domain.ports.Uploads``."""
        with self._open() as session:
            row = by_reference(session, self._user_id, reference)
            if not self._is_open(row.flow_id, reference):
                raise NotFound("File not found")
            return UploadedFile(row.name, row.content)

    def _is_open(self, flow_id: uuid.UUID | None, reference: str) -> bool:
        if self._only is None or flow_id is not None:
            return self._only is None or flow_id in self._only
        # A tweak, an input or a model's words may name it as well: only what the owner has stored counts.
        return any(flow.names_file(reference) for flow in self._running)


def clean_name(name: str) -> str:
    """A file name without folders, control characters and what some systems forbid.

    Raises:
        Invalid: nothing is left of it.
    """
    plain = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode()).replace("\\", "/")
    last = PurePosixPath(plain).name
    cleaned = _UNSAFE.sub("_", last).strip(" .")
    if not cleaned:
        raise Invalid.field("The file has no usable name", "body", "file")
    stem, dot, suffix = cleaned.rpartition(".")
    if len(cleaned) > LONGEST_NAME:
        suffix = suffix[:20] if dot else ""
        cleaned = f"{(stem or cleaned)[: LONGEST_NAME - len(suffix) - 1]}{dot}{suffix}"
    return cleaned


def store_for_flow(
    session: Session, user_id: uuid.UUID, flow_id: uuid.UUID, name: str, content: bytes, now: datetime
) -> Row:
    """Store a file with a flow of the user, under ``<flow id>/<time>_<name>``.

    Raises:
        NotFound: none such flow, or somebody else's.
        Invalid: the name cannot be used.
    """
    check_flow(session, user_id, flow_id)
    cleaned = clean_name(name)
    reference = _free(session, user_id, f"{flow_id}/{now:%Y-%m-%d_%H-%M-%S}_", cleaned)
    return _stored(session, user_id, flow_id, cleaned, reference, content, now)


def store_for_user(session: Session, user_id: uuid.UUID, name: str, content: bytes, now: datetime) -> Row:
    """Store a file of the user, under ``<user id>/<name>``; a taken name gets a number.

    Raises:
        Invalid: the name cannot be used.
    """
    cleaned = clean_name(name)
    reference = _free(session, user_id, f"{user_id}/", cleaned)
    return _stored(session, user_id, None, reference.partition("/")[2], reference, content, now)


def check_flow(session: Session, user_id: uuid.UUID, flow_id: uuid.UUID) -> None:
    """Make sure that the flow is the user's.

    Raises:
        NotFound: none such, or somebody else's.
    """
    if session.scalar(select(Flow.id).where(Flow.id == flow_id, Flow.user_id == user_id)) is None:
        raise NotFound("Flow not found")


def _free(session: Session, user_id: uuid.UUID, start: str, name: str) -> str:
    """A reference that no file of the user has yet."""
    stem, dot, suffix = name.rpartition(".")
    if not dot:
        stem, suffix = name, ""
    candidates = [name, *(f"{stem} ({number}){dot}{suffix}" for number in range(1, 1000))]
    known = set(session.scalars(select(Row.reference).where(Row.user_id == user_id, Row.reference.startswith(
        start + stem, autoescape=True))))  # fmt: skip
    for candidate in candidates:
        if start + candidate not in known:
            return start + candidate
    raise Invalid.field("There are too many files of this name", "body", "file")


def _stored(session: Session, user_id: uuid.UUID, flow_id: uuid.UUID | None, name: str, reference: str,
            content: bytes, now: datetime) -> Row:  # fmt: skip
    row = Row(user_id=user_id, flow_id=flow_id, name=name, reference=reference, size=len(content), content=content,
              created_at=now, updated_at=now)  # fmt: skip
    session.add(row)
    session.flush()
    return row


def of_flow(session: Session, user_id: uuid.UUID, flow_id: uuid.UUID) -> list[str]:
    """The stored names of a flow's files, oldest first.

    Raises:
        NotFound: none such flow, or somebody else's.
    """
    check_flow(session, user_id, flow_id)
    query = (
        select(Row.reference).where(Row.user_id == user_id, Row.flow_id == flow_id).order_by(Row.created_at, Row.id)
    )
    return [reference.partition("/")[2] for reference in session.scalars(query)]


def of_user(session: Session, user_id: uuid.UUID) -> Sequence[Row]:
    """The files that belong to the user and to no flow, the newest first; without their content."""
    return session.scalars(_mine(user_id).where(Row.flow_id.is_(None)).order_by(Row.updated_at.desc(), Row.id)).all()


def get(session: Session, user_id: uuid.UUID, file_id: uuid.UUID) -> Row:
    """One file with its content.

    Raises:
        NotFound: none such, or somebody else's.
    """
    return _one(session, _mine(user_id).where(Row.id == file_id))


def by_reference(session: Session, user_id: uuid.UUID, reference: str) -> Row:
    """One file, by what its upload answered with or by its id.

    Raises:
        NotFound: none such, or somebody else's.
    """
    if "\x00" in reference:
        raise NotFound("File not found")
    with suppress(ValueError):
        return get(session, user_id, uuid.UUID(reference))
    return _one(session, _mine(user_id).where(Row.reference == reference))


def _one(session: Session, query: Select[Row]) -> Row:
    row = session.scalar(query.options(undefer(Row.content)))
    if row is None:
        raise NotFound("File not found")
    return row


def rename(session: Session, user_id: uuid.UUID, file_id: uuid.UUID, name: str, now: datetime) -> Row:
    """Give a file another name; its reference, which flows may hold, stays.

    Raises:
        NotFound: none such, or somebody else's.
        Invalid: the name cannot be used.
    """
    row = get(session, user_id, file_id)
    row.name, row.updated_at = clean_name(name), now
    session.flush()
    return row


def remove(session: Session, user_id: uuid.UUID, file_id: uuid.UUID) -> None:
    """Delete a file.

    Raises:
        NotFound: none such, or somebody else's.
    """
    session.delete(get(session, user_id, file_id))


def remove_reference(session: Session, user_id: uuid.UUID, reference: str) -> None:
    """Delete a file by its reference.

    Raises:
        NotFound: none such, or somebody else's.
    """
    session.delete(by_reference(session, user_id, reference))


def several(session: Session, user_id: uuid.UUID, ids: Iterable[uuid.UUID]) -> list[Row]:
    """The files with these ids, all of them.

    Raises:
        NotFound: one of them is not there, or somebody else's.
    """
    wanted = list(dict.fromkeys(ids))
    found = {
        row.id: row for row in session.scalars(_mine(user_id).where(Row.id.in_(wanted)).options(undefer(Row.content)))
    }
    if not wanted or len(found) != len(wanted):
        raise NotFound("No files found")
    return [found[file_id] for file_id in wanted]


def remove_all(session: Session, user_id: uuid.UUID) -> int:
    """Delete every file that belongs to the user and to no flow; return how many there were."""
    mine = Row.user_id == user_id, Row.flow_id.is_(None)
    count = session.scalar(select(func.count()).select_from(Row).where(*mine)) or 0
    session.execute(delete(Row).where(*mine))
    return count


def _mine(user_id: uuid.UUID) -> Select[Row]:
    return select(Row).where(Row.user_id == user_id)
