"""The flows that come with the server."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

from service.storage.flows import Flow

#: Examples have no rows, and the same ids on every server.
_NAMESPACE = uuid.UUID("6a6f1c1e-6c1a-4b7e-9d0f-0d2f5b7c3e11")
_MADE = datetime(2026, 1, 1, tzinfo=UTC)


def bodies() -> list[dict[str, Any]]:
    """Return the files as they lie in the package, by name."""
    found = sorted(resources.files("service").joinpath("demo").iterdir(), key=lambda one: one.name)
    return [dict(json.loads(one.read_text("utf-8"))) for one in found if one.name.endswith(".json")]


@cache
def flows() -> tuple[Flow, ...]:
    """Return the examples as flows that nobody owns and no database holds."""
    return tuple(_flow(body) for body in bodies())


def _flow(body: dict[str, Any]) -> Flow:
    return Flow(
        id=uuid.uuid5(_NAMESPACE, body["name"]), name=body["name"], description=body["description"],
        data=body["data"], tags=body.get("tags") or [], is_component=False, webhook=False, locked=False,
        mcp_enabled=False, access_type="PRIVATE", flow_type="workflow", updated_at=_MADE,
    )  # fmt: skip
