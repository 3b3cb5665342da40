"""API keys (contract 1.4), and what Keyturn adds: rights, change, rotation, usage."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Response, request

from service.domain import keys, rotation, usage
from service.domain.keys import NewKey
from service.http.answers import json_answer
from service.http.db import addition, catch_up, services, session
from service.http.parsing import Blueprint, path_id
from service.http.policy import actor, caller
from service.http.schemas.keys import (
    DetailSchema,
    KeyChangesSchema,
    KeyListSchema,
    KeyQuerySchema,
    KeySchema,
    NewKeySchema,
    RotationSchema,
    StoreKeySchema,
    UsageQuerySchema,
    UsageSchema,
    key_body,
)
from service.storage.keys import ApiKey

blueprint = Blueprint("keys", __name__, url_prefix="/api/v1/api_key", description="API keys")

_SHOWN_ONCE = {"Cache-Control": {"description": "no-store"}}


@blueprint.get("/", endpoint="list")
@blueprint.arguments(KeyQuerySchema, location="query")
@blueprint.describes(200, KeyListSchema)
def list_keys(query: dict[str, bool]) -> Response:
    """List one's keys, masked; ``?stale=true`` lists those that nobody has used for long."""
    own, owner_id = services(), caller().user_id
    catch_up(own.usage)
    before = own.now() - own.key_rules.stale_after if query["stale"] else None
    total, page = keys.list_of(session(), owner_id, stale_before=before)
    return json_answer({"total_count": total, "user_id": str(owner_id), "api_keys": [_body(row) for row in page]})


@blueprint.post("/", endpoint="create")
@blueprint.arguments(NewKeySchema, required=False)
@blueprint.describes(200, KeySchema, headers=_SHOWN_ONCE)
def create(body: NewKey) -> Response:
    """Make a key; this answer is the only one that shows it."""
    own = services()
    with addition() as connection:
        row, key = keys.create(connection, actor(), caller().user_id, body, own.now(), own.key_rules)
    return _shown(row, key)


@blueprint.get("/<api_key_id>", endpoint="get")
@blueprint.describes(200, KeySchema)
def get(api_key_id: str) -> Response:
    """Show a key, masked."""
    catch_up(services().usage)
    return _shown(keys.get(session(), caller().user_id, path_id(api_key_id, "api_key_id")))


@blueprint.patch("/<api_key_id>", endpoint="update")
@blueprint.arguments(KeyChangesSchema)
@blueprint.describes(200, KeySchema)
def update(body: dict[str, Any], api_key_id: str) -> Response:
    """Rename, disable, enable or limit a key; what the body does not name stays."""
    own, key_id = services(), path_id(api_key_id, "api_key_id")
    return _shown(keys.change(session(), actor(), caller().user_id, key_id, body, own.now(), own.key_rules))


@blueprint.post("/<api_key_id>/rotate", endpoint="rotate")
@blueprint.arguments(RotationSchema, required=False)
@blueprint.describes(200, KeySchema, headers=_SHOWN_ONCE)
def rotate(grace: timedelta, api_key_id: str) -> Response:
    """Give a key a new secret under the same id; a retry with the same ``Idempotency-Key`` gives the same one."""
    own, key_id = services(), path_id(api_key_id, "api_key_id")
    row, key = rotation.rotate(
        session(), actor(), caller().user_id, key_id, grace, own.now(), own.key_rules,
        request.headers.get("Idempotency-Key"),
    )  # fmt: skip
    return _shown(row, key)


@blueprint.get("/<api_key_id>/usage", endpoint="usage")
@blueprint.arguments(UsageQuerySchema, location="query")
@blueprint.response(200, UsageSchema)
def show_usage(query: dict[str, int], api_key_id: str) -> dict[str, Any]:
    """Count the requests of a key by day and status."""
    own = services()
    catch_up(own.usage)
    row, days = usage.report(session(), caller().user_id, path_id(api_key_id, "api_key_id"), query["days"], own.now())
    return {"api_key_id": row.id, "total_uses": row.total_uses, "last_used_at": row.last_used_at, "days": days}


@blueprint.delete("/<api_key_id>", endpoint="delete")
@blueprint.response(200, DetailSchema)
def delete(api_key_id: str) -> dict[str, str]:
    """Revoke a key: refused from the next request on, on every worker."""
    keys.revoke(session(), actor(), caller().user_id, path_id(api_key_id, "api_key_id"), services().now())
    return {"detail": "API Key deleted"}


@blueprint.post("/store", endpoint="store")
@blueprint.arguments(StoreKeySchema)
@blueprint.response(200, DetailSchema)
def store(body: dict[str, str]) -> dict[str, str]:
    """Accept the key of Langflow's former store, which is no more; nothing is kept."""
    del body
    return {"detail": "API Key saved"}


def _shown(row: ApiKey, key: str | None = None) -> Response:
    return json_answer(_body(row, key))


def _body(row: ApiKey, key: str | None = None) -> dict[str, Any]:
    own = services()
    return key_body(row, own.now(), own.key_rules, key)
