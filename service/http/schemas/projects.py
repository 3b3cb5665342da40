"""Projects on the wire (contract 1.7)."""

from __future__ import annotations

from marshmallow import fields, validate

from service.domain.flows import MOST_AT_ONCE
from service.domain.names import NAME_LENGTH
from service.http.schemas.fields import Text, WireSchema
from service.http.schemas.flows import FlowSchema

#: Every project's MCP endpoints take an API key.
AUTH_SETTINGS = {"auth_type": "apikey"}
#: With a letter or a digit.
_NAME = {"format": "project-name"}
#: All of them are named in one statement.
_FEW = validate.Length(max=MOST_AT_ONCE, error="List should have at most {max} items")


class ProjectSchema(WireSchema):
    """A project, in 1.13's order."""

    name = fields.String()
    description = fields.String(allow_none=True)
    auth_settings = fields.Constant(AUTH_SETTINGS)
    id = fields.UUID()
    parent_id = fields.UUID(allow_none=True)


class ListedProjectSchema(ProjectSchema):
    """A project in a list: one sees one's own only."""

    owner_username = fields.String()
    is_owner = fields.Constant(True)


class ProjectWithFlowsSchema(ProjectSchema):
    """A project with all of its flows."""

    flows = fields.List(fields.Nested(FlowSchema))


class NewProjectSchema(WireSchema):
    """A new project; ``flows_list`` and ``components_list`` move into it."""

    name = Text(required=True, longest=NAME_LENGTH, metadata=_NAME)
    description = Text(allow_none=True, longest=100_000)
    flows_list = fields.List(fields.UUID(), allow_none=True, validate=_FEW)
    components_list = fields.List(fields.UUID(), allow_none=True, validate=_FEW)


class ProjectChangesSchema(WireSchema):
    """Part of a project; what is absent stays."""

    name = Text(allow_none=True, longest=NAME_LENGTH, metadata=_NAME)
    description = Text(allow_none=True, longest=100_000)
    parent_id = fields.UUID(allow_none=True)
