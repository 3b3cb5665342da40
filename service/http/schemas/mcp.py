"""The MCP settings of a project on the wire (contract 1.9)."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, pre_load, validate

from service.http.schemas.fields import Flag, Text, WireSchema
from service.http.schemas.projects import AUTH_SETTINGS

#: Every project takes an API key; it has no authentication of its own.
_AUTH = {"properties": {"auth_type": {"const": "apikey"}}, "required": ["auth_type"]}


class McpToolSchema(WireSchema):
    """A flow as a tool."""

    id = fields.UUID()
    mcp_enabled = fields.Boolean()
    action_name = fields.String()
    action_description = fields.String()
    name = fields.String()
    description = fields.String(allow_none=True)


class McpToolsSchema(WireSchema):
    """The flows of a project; there are no settings for who may come in beside those of the flows and of the keys."""

    tools = fields.List(fields.Nested(McpToolSchema))
    auth_settings = fields.Constant(AUTH_SETTINGS)
    server_name = fields.String()


class McpToolChangesSchema(WireSchema):
    """Changes to one flow; what is absent stays."""

    id = fields.UUID(required=True)
    mcp_enabled = Flag(allow_none=True)
    action_name = Text(allow_none=True, longest=255)
    action_description = Text(allow_none=True, longest=100_000)

    @pre_load
    def keep_the_switch(self, data: Any, **kwargs: Any) -> Any:
        """A switch that is null stays as it is."""
        if isinstance(data, dict) and data.get("mcp_enabled", ...) is None:
            return {name: value for name, value in data.items() if name != "mcp_enabled"}
        return data


class McpChangesSchema(WireSchema):
    """Changes to the flows of a project; a bare list is 1.5's form of it."""

    settings = fields.List(fields.Nested(McpToolChangesSchema), required=True, validate=validate.Length(max=500))
    auth_settings = fields.Dict(allow_none=True, load_default=None, metadata=_AUTH)

    @pre_load
    def unwrap(self, data: Any, **kwargs: Any) -> Any:
        """Take 1.5's list too."""
        return {"settings": data} if isinstance(data, list) else data
