"""The audit trail on the wire."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, post_load

from service.domain.audit import Action, Filter
from service.http.schemas.fields import Instant, Text, WireSchema, between

_ACTIONS = tuple(action.value for action in Action)
_OUTCOMES = ("done", "refused")


class EventSchema(WireSchema):
    """Who did what to which thing, from where."""

    id = fields.Integer()
    at = fields.String(metadata={"format": "date-time"})
    action = fields.String(metadata={"enum": list(_ACTIONS)})
    outcome = fields.String(metadata={"enum": list(_OUTCOMES)})
    actor_id = fields.String(allow_none=True)
    actor_name = fields.String(allow_none=True)
    via = fields.String()
    key_id = fields.String(allow_none=True)
    address = fields.String(allow_none=True)
    subject_type = fields.String(allow_none=True)
    subject_id = fields.String(allow_none=True)
    subject_name = fields.String(allow_none=True)
    details = fields.Dict()


class EventPageSchema(WireSchema):
    """Events, the newest first; ``next_cursor`` is null on the last page."""

    events = fields.List(fields.Nested(EventSchema))
    next_cursor = fields.String(allow_none=True)


def _one_of(*allowed: str) -> Any:
    def check(text: str) -> None:
        if text not in allowed:
            known = ", ".join(f"'{one}'" for one in allowed)
            raise ValidationError({"kind": "enum", "text": f"Input should be {known}"})

    return check


def _is_cursor(text: str) -> None:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise ValidationError("cursor is none that this server has given")


class AuditQuerySchema(WireSchema):
    """Which events."""

    limit = fields.Integer(load_default=100, validate=between(1, 1000))
    cursor = Text(load_default=None, validate=_is_cursor, longest=19, metadata={"pattern": "^[1-9][0-9]{0,17}$"})
    action = Text(validate=_one_of(*_ACTIONS), metadata={"enum": list(_ACTIONS)})
    outcome = Text(validate=_one_of(*_OUTCOMES), metadata={"enum": list(_OUTCOMES)})
    actor_id = fields.UUID()
    key_id = fields.UUID()
    subject_id = fields.UUID()
    since = Instant()
    until = Instant()

    @post_load
    def build(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Make the domain's own filter."""
        wanted = {name: data[name] for name in Filter.__dataclass_fields__ if name in data}
        return {"filter": Filter(**wanted), "limit": data["limit"], "before": data["cursor"] and int(data["cursor"])}
