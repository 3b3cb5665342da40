"""Global variables on the wire (contract 1.6)."""

from __future__ import annotations

from marshmallow import fields

from service.http.schemas.fields import Text, WireSchema


class VariableSchema(WireSchema):
    """A variable; the value of a Credential is null."""

    id = fields.UUID()
    name = fields.String()
    type = fields.String()
    value = fields.String(allow_none=True)
    has_value = fields.Boolean()
    default_fields = fields.List(fields.String())
    is_owner = fields.Constant(True)
    can_manage_shares = fields.Constant(True)
    validation_error = fields.Constant(None)
    is_valid = fields.Constant(None)


class NewVariableSchema(WireSchema):
    """A new variable; ``default_fields`` is required, as in Langflow."""

    name = Text(required=True)
    value = Text(required=True)
    type = Text(load_default=None, allow_none=True)
    default_fields = fields.List(Text(longest=255), required=True)


class VariableUpdateSchema(WireSchema):
    """Part of a variable; ``id`` must be there and moves nothing."""

    id = fields.UUID(required=True)
    name = Text()
    value = Text()
    type = Text()
    default_fields = fields.List(Text(longest=255))


class ExplanationSchema(WireSchema):
    """Where the value of one field of a flow would come from."""

    node_id = fields.String()
    component = fields.String()
    field = fields.String()
    variable = fields.String()
    type = fields.String(allow_none=True)
    source = fields.String(allow_none=True, metadata={"enum": ["user", "env", "environment", None]})
    header = fields.String()
    required = fields.Boolean()
    problem = fields.String(allow_none=True)
