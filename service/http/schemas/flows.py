"""Flows on the wire (contract 1.7)."""

from __future__ import annotations

from marshmallow import fields

from service.domain.flows import MOST_CHARACTERS, PRIVATE, PUBLIC
from service.domain.names import NAME_LENGTH
from service.http.schemas.fields import Flag, Instant, Text, WireSchema

#: With more than blanks in it.
_NAME = {"format": "name", "minLength": 1}
_ACCESS = {"enum": [PRIVATE, PUBLIC]}
_LIST = {"type": "array"}
_GRAPH = {"properties": {"nodes": _LIST, "edges": _LIST}, "required": ["nodes", "edges"]}


class FlowSchema(WireSchema):
    """A flow, in 1.13's order."""

    name = fields.String()
    description = fields.String(allow_none=True)
    icon = fields.String(allow_none=True)
    icon_bg_color = fields.String(allow_none=True)
    gradient = fields.String(allow_none=True)
    data = fields.Raw(allow_none=True)
    is_component = fields.Boolean()
    updated_at = Instant()
    webhook = fields.Boolean()
    endpoint_name = fields.String(allow_none=True)
    tags = fields.Raw(allow_none=True)
    locked = fields.Boolean()
    mcp_enabled = fields.Boolean()
    action_name = fields.String(allow_none=True)
    action_description = fields.String(allow_none=True)
    access_type = fields.String()
    flow_type = fields.String()
    a2a_enabled = fields.Constant(False)
    a2a_card_overrides = fields.Constant(None)
    id = fields.UUID()
    user_id = fields.UUID()
    folder_id = fields.UUID(allow_none=True)
    workspace_id = fields.Constant(None)
    name_key = fields.Constant(None)
    version_token = fields.UUID(allow_none=True)


class FlowHeaderSchema(WireSchema):
    """A flow in a list of headers: without its graph, unless it is a component."""

    id = fields.UUID()
    name = fields.String()
    folder_id = fields.UUID(allow_none=True)
    is_component = fields.Boolean()
    endpoint_name = fields.String(allow_none=True)
    description = fields.String(allow_none=True)
    data = fields.Function(lambda flow: flow.data if flow.is_component else None)
    access_type = fields.String()
    tags = fields.Raw(allow_none=True)
    mcp_enabled = fields.Boolean()
    flow_type = fields.String()
    a2a_enabled = fields.Constant(False)
    a2a_card_overrides = fields.Constant(None)
    action_name = fields.String(allow_none=True)
    action_description = fields.String(allow_none=True)
    updated_at = Instant()


class FlowDownloadSchema(WireSchema):
    """A flow as a file, for Langflow or Keyturn to read."""

    description = fields.String(allow_none=True)
    data = fields.Raw(allow_none=True)
    version_token = fields.UUID(allow_none=True)
    flow_type = fields.String()
    tags = fields.Raw(allow_none=True)
    workspace_id = fields.Constant(None)
    last_modified_by = fields.UUID(attribute="user_id")
    action_name = fields.String(allow_none=True)
    is_component = fields.Boolean()
    action_description = fields.String(allow_none=True)
    a2a_enabled = fields.Constant(False)
    a2a_card_overrides = fields.Constant(None)
    webhook = fields.Boolean()
    id = fields.UUID()
    icon = fields.String(allow_none=True)
    endpoint_name = fields.String(allow_none=True)
    mcp_enabled = fields.Boolean()
    icon_bg_color = fields.String(allow_none=True)
    name = fields.String()
    locked = fields.Boolean()
    fs_path = fields.Constant(None)


class FlowChangesSchema(WireSchema):
    """Part of a flow; what is absent stays. Owner, id and times are not among the fields on purpose."""

    name = Text(longest=NAME_LENGTH, metadata=_NAME)
    description = Text(allow_none=True, longest=MOST_CHARACTERS)
    data = fields.Dict(allow_none=True, metadata=_GRAPH)
    endpoint_name = Text(allow_none=True, longest=NAME_LENGTH, metadata={"pattern": "^[A-Za-z0-9_-]*$"})
    folder_id = fields.UUID(allow_none=True)
    icon = Text(allow_none=True, longest=NAME_LENGTH)
    icon_bg_color = Text(allow_none=True, longest=64)
    gradient = Text(allow_none=True, longest=NAME_LENGTH)
    tags = fields.List(Text(longest=NAME_LENGTH), allow_none=True)
    is_component = Flag()
    webhook = Flag()
    locked = Flag()
    mcp_enabled = Flag()
    action_name = Text(allow_none=True, longest=NAME_LENGTH)
    action_description = Text(allow_none=True, longest=MOST_CHARACTERS)
    access_type = Text(metadata=_ACCESS)


class NewFlowSchema(FlowChangesSchema):
    """A new flow."""

    name = Text(required=True, longest=NAME_LENGTH, metadata=_NAME)
    # Langflow's exports write null where nothing was chosen.
    is_component = Flag(allow_none=True)
    webhook = Flag(allow_none=True)
    locked = Flag(allow_none=True)
    mcp_enabled = Flag(allow_none=True)
    access_type = Text(allow_none=True, metadata={"enum": [*_ACCESS["enum"], None]})


class NewFlowsSchema(WireSchema):
    """Several new flows."""

    flows = fields.List(fields.Nested(NewFlowSchema), required=True)
