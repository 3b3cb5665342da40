"""Which flows of a project MCP clients see, and under which names (contract 1.9)."""

from __future__ import annotations

from typing import Any

from flask.blueprints import BlueprintSetupState

from service.domain import mcp_projects
from service.domain.errors import Rejected
from service.http.db import services, session
from service.http.parsing import Blueprint, flag, path_id
from service.http.policy import actor, caller
from service.http.schemas.mcp import McpChangesSchema, McpToolsSchema

blueprint = Blueprint("mcp_projects", __name__, url_prefix="/api/v1", description="Flows as tools of MCP")

_NO_AUTH = (
    "A project has no authentication of its own here: flows with access_type PUBLIC are open to everybody, and the "
    "others need an API key of their owner."
)


@blueprint.get("/mcp/project/<project_id>", endpoint="get")
@blueprint.response(200, McpToolsSchema)
def get(project_id: str) -> dict[str, Any]:
    """List the tools of a project; ``?mcp_enabled=false`` lists all of its flows."""
    row_id, user_id, own = path_id(project_id, "project_id"), caller().user_id, session()
    tools = mcp_projects.settings_of(own, user_id, row_id, enabled_only=flag("mcp_enabled", default=True))
    return {"tools": tools, "server_name": mcp_projects.server_name(own, user_id, row_id)}


@blueprint.patch("/mcp/project/<project_id>", endpoint="update")
@blueprint.arguments(McpChangesSchema)
@blueprint.response(200)
def update(body: dict[str, Any], project_id: str) -> dict[str, str]:
    """Change which flows of a project are tools, and what they are called."""
    if body["auth_settings"] is not None and body["auth_settings"].get("auth_type") != "apikey":
        raise Rejected(_NO_AUTH)
    row_id = path_id(project_id, "project_id")
    count = mcp_projects.change(session(), actor(), caller().user_id, row_id, body["settings"], services().now())
    return {"message": f"Updated MCP settings for {count} flows and project auth settings"}


@blueprint.record
def _serve_alias(state: BlueprintSetupState) -> None:
    """The documents name this path as well; flask-smorest would make endpoints of their own of it."""
    for method, endpoint in (("GET", "get"), ("PATCH", "update")):
        state.app.add_url_rule("/api/v1/mcp-projects/<project_id>", f"mcp_projects.{endpoint}", methods=[method])
