"""Uploaded files as resources of MCP: the caller's own, and none for nobody in particular."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, unquote, urlsplit

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, undefer

from service.domain.errors import NotFound, TooLarge
from service.domain.mcp import Audience
from service.storage.files import UploadedFileRow as Row
from service.storage.flows import Flow

MOST_BYTES = 10_000_000


def listed(session: Session, whom: Audience, offset: int, size: int) -> Sequence[Row]:
    """Return some of the files that somebody may read, the oldest first; without their content."""
    if whom.is_public:
        return []
    return session.scalars(_readable(whom).order_by(Row.created_at, Row.id).offset(offset).limit(size)).all()


def read(session: Session, whom: Audience, uri: str) -> Row:
    """Return a file with its content.

    Raises:
        NotFound: none such, or not for this caller.
        TooLarge: it would not fit into an answer.
    """
    reference = reference_of(uri)
    query = _readable(whom).where(Row.reference == reference)
    size = None if whom.is_public or "\x00" in reference else session.scalar(query.with_only_columns(Row.size))
    if size is None:
        raise NotFound("Resource not found")
    if size > MOST_BYTES:
        raise TooLarge(f"The file has more than {MOST_BYTES} bytes. Download it from /api/v1/files instead.")
    return session.scalars(query.options(undefer(Row.content))).one()


def uri_of(row: Row) -> str:
    """Return the name of a file as a resource."""
    return f"keyturn://files/{quote(row.reference)}"


def reference_of(uri: str) -> str:
    """Return the reference that a URI names: its last two parts, as Langflow reads its own URIs too."""
    try:
        parts = urlsplit(uri).path.split("/")
    except ValueError:
        return ""
    return "/".join(unquote(part) for part in parts[-2:])


def _readable(whom: Audience) -> Select[Row]:
    query = select(Row).where(Row.user_id == whom.user_id)
    if whom.only is not None:
        query = query.where(Row.flow_id.in_(whom.only))
    if whom.project_id is not None:
        # Files of the user's own belong to no project.
        query = query.where(Row.flow_id.in_(select(Flow.id).where(Flow.folder_id == whom.project_id)))
    return query
