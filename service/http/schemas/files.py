"""Uploaded files on the wire (Langflow's ``/files``)."""

from __future__ import annotations

from marshmallow import fields

from service.http.schemas.fields import Instant, WireSchema


class FileSchema(WireSchema):
    """A file as an upload answers it; ``path`` is the reference that flows use."""

    id = fields.UUID()
    name = fields.Function(lambda row: row.name.rpartition(".")[0] or row.name)
    path = fields.String(attribute="reference")
    size = fields.Integer()
    provider = fields.Constant(None)


class ListedFileSchema(FileSchema):
    """A file in a list."""

    user_id = fields.UUID()
    created_at = Instant()
    updated_at = Instant()
