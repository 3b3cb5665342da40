"""The list of MCP servers that a user has set up (contract 1.9)."""

from __future__ import annotations

from typing import Any

from service.domain import mcp_servers
from service.domain.errors import Invalid
from service.http.db import services, session
from service.http.parsing import Blueprint
from service.http.policy import caller, visitor
from service.http.schemas.mcp_servers import McpServerSchema

blueprint = Blueprint(
    "mcp_servers", __name__, url_prefix="/api/v2/mcp", description="MCP servers that a user has set up"
)


@blueprint.get("/servers", endpoint="list")
@blueprint.response(200)
def list_servers() -> list[dict[str, Any]]:
    """List one's servers by name; nobody in particular has none."""
    identity = visitor()
    names = mcp_servers.names_of(session(), identity.user_id) if identity is not None else []
    # Keyturn never calls these servers, so it cannot say how they are reached or how many tools they have.
    return [{"name": name, "mode": None, "toolsCount": None} for name in names]


@blueprint.get("/servers/<server_name>", endpoint="get")
@blueprint.response(200)
def get(server_name: str) -> dict[str, Any]:
    """Show a server's configuration, masked."""
    return mcp_servers.get(session(), services().vault, caller().user_id, server_name)


@blueprint.post("/servers/<server_name>", endpoint="create")
@blueprint.arguments(McpServerSchema)
@blueprint.response(200)
def create(body: dict[str, Any], server_name: str) -> dict[str, Any]:
    """Keep a server."""
    _check_unlocked()
    own, config = services(), _without_name(body, server_name)
    return mcp_servers.create(session(), own.vault, caller().user_id, server_name, config, own.now())


@blueprint.patch("/servers/<server_name>", endpoint="update")
@blueprint.arguments(McpServerSchema)
@blueprint.response(200)
def update(body: dict[str, Any], server_name: str) -> dict[str, Any]:
    """Change the parts of a server that the body names; a mask leaves the stored value."""
    _check_unlocked()
    own, config = services(), _without_name(body, server_name)
    return mcp_servers.change(session(), own.vault, caller().user_id, server_name, config, own.now())


@blueprint.delete("/servers/<server_name>", endpoint="delete")
@blueprint.response(200)
def delete(server_name: str) -> None:
    """Forget a server."""
    _check_unlocked()
    mcp_servers.remove(session(), caller().user_id, server_name)


def _check_unlocked() -> None:
    mcp_servers.check_unlocked(locked=services().settings.mcp_servers_locked, is_superuser=caller().is_superuser)


def _without_name(body: dict[str, Any], server_name: str) -> dict[str, Any]:
    if body.get("name", server_name) != server_name:
        raise Invalid.field("Value error, the name of a server is that of the path", "body", "name")
    return {part: value for part, value in body.items() if part != "name"}
