"""Global variables (contract 1.6)."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from service.domain import variables
from service.domain.errors import Invalid
from service.domain.variables import VariableView
from service.http.answers import json_answer
from service.http.db import services, session
from service.http.parsing import Blueprint, path_id
from service.http.policy import actor, caller
from service.http.schemas.variables import (
    ExplanationSchema,
    NewVariableSchema,
    VariableSchema,
    VariableUpdateSchema,
    variable_body,
)

blueprint = Blueprint("variables", __name__, url_prefix="/api/v1/variables", description="Global variables")


@blueprint.get("/", endpoint="list")
@blueprint.describes(200, VariableSchema(many=True))
def list_variables() -> Response:
    """List one's variables by name."""
    own = services()
    found = variables.list_of(own.lookups, own.vault, caller().user_id)
    return json_answer([variable_body(one) for one in found])


@blueprint.get("/explain", endpoint="explain")
@blueprint.response(200, ExplanationSchema(many=True))
def explain() -> list[variables.Explanation]:
    """List each field of ``?flow=ID`` that wants a variable, and where its value would come from; never the value."""
    flow = request.args.get("flow", "")
    if not flow:
        raise Invalid.field("Field required", "query", "flow", kind="missing")
    return services().runner.explain(session(), caller().user_id, flow)


@blueprint.post("/", endpoint="create")
@blueprint.arguments(NewVariableSchema)
@blueprint.response(201, VariableSchema)
def create(body: dict[str, Any]) -> VariableView:
    """Make a variable."""
    own = services()
    return variables.create(session(), own.vault, actor(), caller().user_id, body, own.now())


@blueprint.patch("/<variable_id>", endpoint="update")
@blueprint.arguments(VariableUpdateSchema)
@blueprint.response(200, VariableSchema)
def update(body: dict[str, Any], variable_id: str) -> VariableView:
    """Change what the body names; the row is the one of the path."""
    own = services()
    row_id = path_id(variable_id, "variable_id")
    return variables.update(session(), own.vault, actor(), caller().user_id, row_id, body, own.now())


@blueprint.delete("/<variable_id>", endpoint="delete")
@blueprint.response(204)
def delete(variable_id: str) -> None:
    """Delete a variable."""
    variables.remove(session(), actor(), caller().user_id, path_id(variable_id, "variable_id"), services().now())
