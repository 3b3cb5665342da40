"""Global variables on the wire (contract 1.6)."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from service.domain.variables import TYPE_LENGTH, VALUE_LENGTH, VariableView
from service.http.schemas.fields import Text, WireSchema

_NAME = {"format": "name", "minLength": 1}
_VALUE = {"minLength": 1, "maxLength": VALUE_LENGTH}
_TYPE = {"maxLength": TYPE_LENGTH}


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


def variable_body(view: VariableView) -> dict[str, Any]:
    """Dump a variable; what ``VariableSchema`` describes, written out, for lists are asked for all day.

    A test compares the two.
    """
    return {
        "id": view.id,
        "name": view.name,
        "type": view.type,
        "value": view.value,
        "has_value": view.has_value,
        "default_fields": view.default_fields,
        "is_owner": True,
        "can_manage_shares": True,
        "validation_error": None,
        "is_valid": None,
    }


class NewVariableSchema(WireSchema):
    """A new variable; ``default_fields`` is required, as in Langflow."""

    name = Text(required=True, metadata=_NAME)
    value = Text(required=True, metadata=_VALUE)
    type = Text(load_default=None, allow_none=True, metadata=_TYPE)
    default_fields = fields.List(Text(longest=255), required=True)


class VariableUpdateSchema(WireSchema):
    """Part of a variable; ``id`` must be there and moves nothing."""

    id = fields.UUID(required=True)
    name = Text(metadata=_NAME)
    value = Text(metadata=_VALUE)
    type = Text(metadata=_TYPE)
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
