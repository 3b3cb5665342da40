"""Flows (contract 1.7)."""

from __future__ import annotations

import math
import uuid
from typing import Any

from flask import Response, jsonify, request
from marshmallow import Schema

from service.domain import examples, flows
from service.domain.errors import Invalid, NotFound, Problem
from service.http.db import services, session
from service.http.flow_files import MOST_FILES, archive, given, read_upload, uploaded, without_circles
from service.http.parsing import Blueprint, count, flag, path_id, read_json
from service.http.policy import actor, caller, only_flows
from service.http.schemas.flows import (
    FlowChangesSchema,
    FlowDownloadSchema,
    FlowHeaderSchema,
    FlowSchema,
    NewFlowSchema,
    NewFlowsSchema,
)

blueprint = Blueprint("flows", __name__, url_prefix="/api/v1/flows", description="Flows")
_flow, _header, _download = FlowSchema(), FlowHeaderSchema(), FlowDownloadSchema()

#: What anybody may do to a public flow here: a run needs a key, but for tools of MCP.
_PUBLIC_ACCESS = {"can_read": True, "can_execute": False}


@blueprint.post("/", endpoint="create")
@blueprint.arguments(NewFlowSchema)
@blueprint.response(201, FlowSchema)
def create(body: dict[str, Any]) -> Any:
    """Store a flow."""
    return flows.create(session(), actor(), caller().user_id, given(body), services().now())


@blueprint.get("/", endpoint="list")
@blueprint.response(200)
def list_flows() -> Response:
    """List one's flows: all, only their headers, or a page."""
    user_id, only = caller().user_id, only_flows()
    folder = request.args.get("folder_id")
    folder_id = _query_id(folder) if folder else None
    components, flow_type, headers = flag("components_only"), _flow_type(), flag("header_flows")
    schema: Schema = _header if headers else _flow
    page, size = count("page", 1, 2**31), count("size", 50, 100)
    if not flag("get_all", default=True):
        total, items = flows.page_of(session(), user_id, page, size, folder_id=folder_id, components_only=components,
                                     flow_type=flow_type, only=only)  # fmt: skip
        body = {"items": schema.dump(items, many=True), "total": total, "page": page, "size": size}
        return jsonify(body | {"pages": math.ceil(total / size)})
    found = flows.list_of(session(), user_id, folder_id=folder_id, components_only=components, with_data=not headers,
                          flow_type=flow_type, only=only)  # fmt: skip
    return jsonify(schema.dump(found, many=True))


@blueprint.delete("/", endpoint="delete_many")
@blueprint.response(200)
def delete_many() -> dict[str, int]:
    """Delete several flows."""
    return {"deleted": flows.remove(session(), caller().user_id, _ids_of_body())}


@blueprint.get("/basic_examples/", endpoint="basic_examples")
@blueprint.response(200)
def basic_examples() -> Response:
    """List the flows that come with the server; anybody may see them."""
    shown = [_flow.dump(one) | {"user_id": None, "folder_id": None} for one in examples.flows()]
    return jsonify(shown)


@blueprint.get("/public_flow/<flow_id>", endpoint="public_flow")
@blueprint.response(200)
def public_flow(flow_id: str) -> Response:
    """Show a flow that its owner has made public, without the secrets that stand in its fields."""
    flow = flows.public(session(), path_id(flow_id, "flow_id"))
    shown: dict[str, Any] = _flow.dump(flow)
    shown |= {"data": flows.without_secrets(flow.data), "user_id": None, "folder_id": None}
    return jsonify(shown | {"public_access": _PUBLIC_ACCESS})


@blueprint.get("/<flow_id>", endpoint="get")
@blueprint.response(200, FlowSchema)
def get(flow_id: str) -> Any:
    """Show a flow."""
    return flows.get(session(), caller().user_id, path_id(flow_id, "flow_id"))


@blueprint.patch("/<flow_id>", endpoint="update")
@blueprint.arguments(FlowChangesSchema)
@blueprint.response(200, FlowSchema)
def update(body: dict[str, Any], flow_id: str) -> Any:
    """Change what the body names; ``If-Match`` guards against somebody else's change."""
    row_id = path_id(flow_id, "flow_id")
    if_match = request.headers.get("If-Match")
    return flows.update(
        session(), actor(), caller().user_id, row_id, without_circles(body), services().now(), if_match
    )


@blueprint.put("/<flow_id>", endpoint="put")
@blueprint.arguments(NewFlowSchema)
@blueprint.response(200, FlowSchema)
def put(body: dict[str, Any], flow_id: str) -> Any:
    """Make the flow of that id be what the body says."""
    row_id = path_id(flow_id, "flow_id")
    flow, new = flows.put(session(), actor(), caller().user_id, row_id, given(body), services().now())
    return flow, 201 if new else 200


@blueprint.delete("/<flow_id>", endpoint="delete")
@blueprint.response(200)
def delete(flow_id: str) -> dict[str, str]:
    """Delete a flow."""
    if not flows.remove(session(), caller().user_id, [path_id(flow_id, "flow_id")]):
        raise NotFound("Flow not found")
    return {"message": "Flow deleted successfully"}


@blueprint.post("/batch/", endpoint="batch")
@blueprint.arguments(NewFlowsSchema)
@blueprint.response(201, FlowSchema(many=True))
def batch(body: dict[str, Any]) -> Any:
    """Store several flows, all or none."""
    bodies = [given(one) for one in body["flows"]]
    return flows.create_many(session(), actor(), caller().user_id, bodies, services().now())


@blueprint.post("/upload/", endpoint="upload")
@blueprint.response(201, FlowSchema(many=True))
def upload() -> Any:
    """Store the flows of a file: one flow, ``{"flows": [...]}``, or a zip of such files."""
    folder = request.args.get("folder_id")
    bodies = read_upload(uploaded()[1])
    folder_id = _query_id(folder) if folder else None
    return flows.create_many(session(), actor(), caller().user_id, bodies, services().now(), folder_id)


@blueprint.post("/download/", endpoint="download")
@blueprint.response(200)
def download() -> Response:
    """Give one flow as JSON, several as a zip of JSON files."""
    found = flows.several(session(), caller().user_id, _ids_of_body())
    bodies = _download.dump(found, many=True)
    if len(bodies) == 1:
        return jsonify(bodies[0])
    return archive(bodies, "langflow")


def _flow_type() -> str | None:
    text = request.args.get("flow_type")
    if text not in (None, *flows.FLOW_TYPES):
        known = " or ".join(f"'{one}'" for one in flows.FLOW_TYPES)
        raise Invalid([Problem(("query", "flow_type"), "enum", f"Input should be {known}", {"expected": known})])
    return text


def _query_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Invalid.field("Input should be a valid UUID", "query", "folder_id", kind="uuid_parsing") from None


def _ids_of_body() -> list[uuid.UUID]:
    body = read_json(request)
    if not isinstance(body, list):
        raise Invalid.field("Input should be a valid list", "body", kind="list_type")
    if len(body) > MOST_FILES:
        raise Invalid.field(f"List should have at most {MOST_FILES} items", "body", kind="too_long")
    try:
        return [uuid.UUID(one) for one in body]
    except (ValueError, AttributeError, TypeError):
        raise Invalid.field("Input should be a list of UUIDs", "body", kind="uuid_parsing") from None
