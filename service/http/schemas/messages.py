"""Chat messages on the wire (contract 1.7)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from marshmallow import fields

from service.http.schemas.fields import Flag, Text, WireSchema


class Stamp(fields.Field[datetime]):
    """A time as Langflow writes messages: ``2026-11-23 13:04:17.058446 UTC``."""

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else f"{value:%Y-%m-%d %H:%M:%S.%f} UTC"


class MessageReadSchema(WireSchema):
    """A message as an edit answers it."""

    id = fields.UUID()
    flow_id = fields.UUID()
    timestamp = Stamp()
    sender = fields.String()
    sender_name = fields.String()
    session_id = fields.String()
    context_id = fields.String()
    text = fields.String()
    files = fields.List(fields.String())
    error = fields.Boolean()
    edit = fields.Boolean()
    duration = fields.Integer(allow_none=True)
    properties = fields.Dict()
    category = fields.String()
    content_blocks = fields.List(fields.Raw())
    session_metadata = fields.Dict(allow_none=True)


class MessageSchema(MessageReadSchema):
    """A message in a list; ``files`` is JSON text there, as in the recorded answers."""

    class Meta(MessageReadSchema.Meta):
        exclude = ("error",)

    files = fields.Function(lambda row: json.dumps(list(row.files)))  # type: ignore[assignment]


class MessageUpdateSchema(WireSchema):
    """What an edit may change."""

    text = Text(longest=1_000_000)
    sender = Text(longest=255)
    sender_name = Text(longest=1000)
    session_id = Text(longest=1000)
    edit = Flag()
    error = Flag()
    properties = fields.Dict(keys=fields.String())
