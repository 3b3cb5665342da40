"""API keys on the wire (contract 1.4)."""

from __future__ import annotations

from marshmallow import fields

from service.domain.keys import NAME_LENGTH, masked
from service.http.schemas.fields import Instant, Text, WireSchema


class NewKeySchema(WireSchema):
    """What a new key may be given."""

    name = Text(allow_none=True, load_default=None, longest=NAME_LENGTH)
    expires_at = Instant(allow_none=True, load_default=None)


class KeySchema(WireSchema):
    """A key in a list: its first characters only."""

    name = fields.String(allow_none=True)
    last_used_at = Instant(allow_none=True)
    total_uses = fields.Integer()
    is_active = fields.Boolean()
    expires_at = Instant(allow_none=True)
    id = fields.UUID()
    api_key: fields.Field[str] = fields.Function(masked)
    user_id = fields.UUID()
    created_at = Instant()


class MadeKeySchema(KeySchema):
    """A key at the one moment when it can be read."""

    class Meta:
        exclude = ("created_at",)

    api_key: fields.Field[str] = fields.String()


class KeyListSchema(WireSchema):
    """All keys of a user."""

    total_count = fields.Integer()
    user_id = fields.UUID()
    api_keys = fields.List(fields.Nested(KeySchema))


class StoreKeySchema(WireSchema):
    """The key of Langflow's former store; taken, and not kept."""

    api_key = Text(required=True, longest=1024)


class DetailSchema(WireSchema):
    """A sentence."""

    detail = fields.String()
