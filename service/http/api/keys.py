"""API keys (contract 1.4)."""

from __future__ import annotations

from typing import Any

from service.domain import keys
from service.http.db import services, session
from service.http.parsing import Blueprint, path_id
from service.http.policy import caller
from service.http.schemas.keys import DetailSchema, KeyListSchema, MadeKeySchema, NewKeySchema, StoreKeySchema

blueprint = Blueprint("keys", __name__, url_prefix="/api/v1/api_key", description="API keys")


@blueprint.get("/", endpoint="list")
@blueprint.response(200, KeyListSchema)
def list_keys() -> dict[str, Any]:
    """List one's keys, masked."""
    identity = caller()
    services().usage.flush()
    total, page = keys.list_of(session(), identity.user_id)
    return {"total_count": total, "user_id": identity.user_id, "api_keys": page}


@blueprint.post("/", endpoint="create")
@blueprint.arguments(NewKeySchema, required=False)
@blueprint.response(200, MadeKeySchema, headers={"Cache-Control": {"description": "no-store"}})
def create(body: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Make a key; this answer is the only one that shows it."""
    row, key = keys.create(session(), caller().user_id, body["name"], body["expires_at"], services().now())
    shown = {name: getattr(row, name) for name in ("name", "last_used_at", "total_uses", "is_active", "expires_at",
                                                   "id", "user_id")}  # fmt: skip
    return shown | {"api_key": key}, 200, {"Cache-Control": "no-store"}


@blueprint.delete("/<api_key_id>", endpoint="delete")
@blueprint.response(200, DetailSchema)
def delete(api_key_id: str) -> dict[str, str]:
    """Revoke a key: refused from the next request on, on every worker."""
    keys.revoke(session(), caller().user_id, path_id(api_key_id, "api_key_id"))
    return {"detail": "API Key deleted"}


@blueprint.post("/store", endpoint="store")
@blueprint.arguments(StoreKeySchema)
@blueprint.response(200, DetailSchema)
def store(body: dict[str, str]) -> dict[str, str]:
    """Accept the key of Langflow's former store, which is no more; nothing is kept."""
    del body
    return {"detail": "API Key saved"}
