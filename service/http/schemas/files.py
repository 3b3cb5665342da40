"""Uploaded files on the wire (Langflow's ``/files``)."""

from __future__ import annotations

from marshmallow import fields

from service.http.schemas.fields import Instant, WireSchema
from service.storage.files import UploadedFileRow


def _shown(row: UploadedFileRow) -> str:
    """Langflow shows an upload without its ending, and a name that was given later as it was given."""
    is_first = row.reference.endswith(f"/{row.name}")
    return row.name.rpartition(".")[0] or row.name if is_first else row.name


class FileSchema(WireSchema):
    """A file as an upload answers it; ``path`` is the reference that flows use."""

    id = fields.UUID()
    name = fields.Function(_shown)
    path = fields.String(attribute="reference")
    size = fields.Integer()
    provider = fields.Constant(None)


class ListedFileSchema(FileSchema):
    """A file in a list."""

    user_id = fields.UUID()
    created_at = Instant()
    updated_at = Instant()
