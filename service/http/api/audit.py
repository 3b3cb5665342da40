"""The audit trail, for superusers."""

from __future__ import annotations

from typing import Any

from service.domain import audit
from service.http.db import session
from service.http.parsing import Blueprint
from service.http.schemas.audit import AuditQuerySchema, EventPageSchema

blueprint = Blueprint("audit", __name__, url_prefix="/api/v1/audit", description="Audit trail")


@blueprint.get("/", endpoint="list")
@blueprint.arguments(AuditQuerySchema, location="query")
@blueprint.response(200, EventPageSchema)
def list_events(query: dict[str, Any]) -> dict[str, Any]:
    """List events, the newest first; ``cursor`` continues where the last page ended."""
    rows, following = audit.page(session(), query["filter"], query["before"], query["limit"])
    return {
        "events": [audit.body_of(row) for row in rows],
        "next_cursor": None if following is None else str(following),
    }
