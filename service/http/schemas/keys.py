"""API keys on the wire (contract 1.4); everything below ``created_at`` is Keyturn's own addition."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from marshmallow import fields, post_load

from service.domain.keys import NAME_LENGTH, KeyRules, NewKey, is_stale, masked
from service.domain.permissions import (
    MOST_ENTRIES,
    MOST_PARALLEL,
    MOST_REQUESTS,
    MOST_SECONDS,
    Rate,
    Rights,
    Scope,
    rights_from,
)
from service.domain.usage import MOST_DAYS
from service.http.schemas.fields import Flag, Instant, Text, WireSchema, between, instant_text
from service.storage.keys import ApiKey

_SCOPES = {"description": "null: all that the owner may do; []: nothing", "maxItems": MOST_ENTRIES}
_FLOWS = {"description": "ids; null: all flows; []: none", "maxItems": MOST_ENTRIES}
_NETWORKS = {"description": "CIDR; null: anywhere; []: nowhere", "maxItems": MOST_ENTRIES}
_ONE_SCOPE = {"enum": [scope.value for scope in Scope]}


class RateSchema(WireSchema):
    """So many requests in so many seconds."""

    requests = fields.Integer(required=True, strict=True, metadata={"minimum": 1, "maximum": MOST_REQUESTS})
    window_seconds = fields.Integer(required=True, strict=True, metadata={"minimum": 1, "maximum": MOST_SECONDS})

    @post_load
    def build(self, data: dict[str, int], **_: Any) -> Rate:
        """Make the domain's own."""
        return Rate(data["requests"], data["window_seconds"])


class _RightsSchema(WireSchema):
    scopes = fields.List(Text(metadata=_ONE_SCOPE), allow_none=True, metadata=_SCOPES)
    flows = fields.List(Text(metadata={"format": "uuid"}), allow_none=True, metadata=_FLOWS)
    networks = fields.List(Text(metadata={"format": "network"}), allow_none=True, metadata=_NETWORKS)
    rate_limit = fields.Nested(RateSchema, allow_none=True)
    max_parallel_runs = fields.Integer(
        allow_none=True, strict=True, metadata={"minimum": 1, "maximum": MOST_PARALLEL}
    )

    @staticmethod
    def rights(data: dict[str, Any]) -> Rights:
        """Read the rights; what is absent is not limited."""
        return rights_from(
            data.get("scopes"), data.get("flows"), data.get("networks"), data.get("rate_limit"),
            data.get("max_parallel_runs"),
        )  # fmt: skip


class NewKeySchema(_RightsSchema):
    """What a new key may be given."""

    name = Text(allow_none=True, load_default=None, longest=NAME_LENGTH)
    expires_at = Instant(allow_none=True, load_default=None)

    @post_load
    def build(self, data: dict[str, Any], **_: Any) -> NewKey:
        """Make the domain's own."""
        rights = self.rights(data)
        return NewKey(data["name"], data["expires_at"], rights)


class KeyChangesSchema(_RightsSchema):
    """Part of a key; what is absent stays."""

    name = Text(allow_none=True, longest=NAME_LENGTH)
    is_active = Flag()
    expires_at = Instant(allow_none=True)

    @post_load
    def build(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Name things as the domain does."""
        rights = self.rights(data)
        sent = {"scopes": "scopes", "flows": "flows", "networks": "networks", "rate_limit": "rate",
                "max_parallel_runs": "max_parallel"}  # fmt: skip
        changes = {ours: getattr(rights, ours) for theirs, ours in sent.items() if theirs in data}
        return changes | {name: data[name] for name in ("name", "is_active", "expires_at") if name in data}


class KeySchema(WireSchema):
    """A key in a list: its first characters only."""

    name = fields.String(allow_none=True)
    last_used_at = Instant(allow_none=True)
    total_uses = fields.Integer()
    is_active = fields.Boolean()
    expires_at = Instant(allow_none=True)
    id = fields.UUID()
    api_key = fields.String()
    user_id = fields.UUID()
    created_at = Instant()
    scopes = fields.List(fields.String(), allow_none=True)
    flows = fields.List(fields.String(), allow_none=True)
    networks = fields.List(fields.String(), allow_none=True)
    rate_limit = fields.Nested(RateSchema, allow_none=True)
    max_parallel_runs = fields.Integer(allow_none=True)
    rotated_at = Instant(allow_none=True)
    former_valid_until = Instant(allow_none=True)
    is_expired = fields.Boolean()
    is_stale = fields.Boolean()


class KeyListSchema(WireSchema):
    """All keys of a user."""

    total_count = fields.Integer()
    user_id = fields.UUID()
    api_keys = fields.List(fields.Nested(KeySchema))


class KeyQuerySchema(WireSchema):
    """Which keys."""

    stale = fields.Boolean(load_default=False)


class RotationSchema(WireSchema):
    """How a key is rotated."""

    grace_seconds = fields.Integer(load_default=0, strict=True, metadata={"minimum": 0})

    @post_load
    def build(self, data: dict[str, int], **_: Any) -> timedelta:
        """Give the grace as a duration."""
        # Far more than any operator allows, and few enough for a duration.
        return timedelta(seconds=max(-1, min(data["grace_seconds"], 10**10)))


class UsageQuerySchema(WireSchema):
    """How many days, today included."""

    days = fields.Integer(load_default=30, validate=between(1, MOST_DAYS))


class UsageDaySchema(WireSchema):
    """The answers of one day (UTC)."""

    date = fields.Date()
    total = fields.Integer()
    statuses = fields.Dict(keys=fields.String(), values=fields.Integer())


class UsageSchema(WireSchema):
    """The uses of a key; ``days`` has no entry for a day without a request."""

    api_key_id = fields.UUID()
    total_uses = fields.Integer()
    last_used_at = Instant(allow_none=True)
    days = fields.List(fields.Nested(UsageDaySchema))


class StoreKeySchema(WireSchema):
    """The key of Langflow's former store; taken, and not kept."""

    api_key = Text(required=True, longest=1024)


class DetailSchema(WireSchema):
    """A sentence."""

    detail = fields.String()


def key_body(row: ApiKey, now: datetime, rules: KeyRules, key: str | None = None) -> dict[str, Any]:
    """Dump a key; what ``KeySchema`` describes, written out, for lists are long and keys are made all day.

    ``key`` is its text, at the one moment when it can be read. A test compares the two.
    """
    former = row.former_until
    return {
        "name": row.name,
        "last_used_at": instant_text(row.last_used_at),
        "total_uses": row.total_uses,
        "is_active": row.is_active,
        "expires_at": instant_text(row.expires_at),
        "id": str(row.id),
        "api_key": key or masked(row),
        "user_id": str(row.user_id),
        "created_at": instant_text(row.created_at),
        "scopes": row.scopes,
        "flows": row.flows,
        "networks": row.networks,
        "rate_limit": row.rate_requests and {"requests": row.rate_requests, "window_seconds": row.rate_seconds or 1},
        "max_parallel_runs": row.max_parallel,
        "rotated_at": instant_text(row.rotated_at),
        "former_valid_until": instant_text(former) if former is not None and former > now else None,
        "is_expired": row.expires_at is not None and row.expires_at <= now,
        "is_stale": is_stale(row, now, rules),
    }
