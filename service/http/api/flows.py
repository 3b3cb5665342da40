"""Flows (contract 1.7)."""

from __future__ import annotations

import io
import json
import math
import re
import uuid
import zipfile
from typing import Any

from flask import Response, jsonify, request
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from service.domain import flows
from service.domain.errors import Invalid, NotFound, Problem, Rejected
from service.http.db import services, session
from service.http.parsing import Blueprint, flag, loads, path_id, problems_of, read_json
from service.http.policy import caller
from service.http.schemas.flows import (
    FlowChangesSchema,
    FlowDownloadSchema,
    FlowHeaderSchema,
    FlowSchema,
    NewFlowSchema,
    NewFlowsSchema,
)

blueprint = Blueprint("flows", __name__, url_prefix="/api/v1/flows", description="Flows")

_MOST_FILES = 500


@blueprint.post("/", endpoint="create")
@blueprint.arguments(NewFlowSchema)
@blueprint.response(201, FlowSchema)
def create(body: dict[str, Any]) -> Any:
    """Store a flow."""
    return flows.create(session(), caller().user_id, _given(body), services().now())


@blueprint.get("/", endpoint="list")
@blueprint.response(200)
def list_flows() -> Response:
    """List one's flows: all, only their headers, or a page."""
    user_id, rights = caller().user_id, caller().rights
    only = rights.flows if rights is not None else None
    folder = request.args.get("folder_id")
    folder_id = _query_id(folder) if folder else None
    components = flag("components_only")
    if not flag("get_all", default=True):
        page, size = _count("page", 1, 2**31), _count("size", 50, 100)
        total, items = flows.page_of(session(), user_id, page, size, folder_id=folder_id, components_only=components,
                                     only=only)  # fmt: skip
        body = {"items": FlowSchema(many=True).dump(items), "total": total, "page": page, "size": size}
        return jsonify(body | {"pages": math.ceil(total / size)})
    headers = flag("header_flows")
    found = flows.list_of(session(), user_id, folder_id=folder_id, components_only=components, with_data=not headers,
                          only=only)  # fmt: skip
    schema: Schema = FlowHeaderSchema(many=True) if headers else FlowSchema(many=True)
    return jsonify(schema.dump(found))


@blueprint.delete("/", endpoint="delete_many")
@blueprint.response(200)
def delete_many() -> dict[str, int]:
    """Delete several flows."""
    return {"deleted": flows.remove(session(), caller().user_id, _ids_of_body())}


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
    return flows.update(session(), caller().user_id, row_id, _without_circles(body), services().now(), if_match)


@blueprint.put("/<flow_id>", endpoint="put")
@blueprint.arguments(NewFlowSchema)
@blueprint.response(200, FlowSchema)
def put(body: dict[str, Any], flow_id: str) -> Any:
    """Make the flow of that id be what the body says."""
    row_id = path_id(flow_id, "flow_id")
    flow, new = flows.put(session(), caller().user_id, row_id, _given(body), services().now())
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
    given = [_given(one) for one in body["flows"]]
    return flows.create_many(session(), caller().user_id, given, services().now())


@blueprint.post("/upload/", endpoint="upload")
@blueprint.response(201, FlowSchema(many=True))
def upload() -> Any:
    """Store the flows of a file: one flow, ``{"flows": [...]}``, or a zip of such files."""
    file = request.files.get("file")
    if file is None:
        raise Rejected("No file provided")
    folder = request.args.get("folder_id")
    bodies = read_upload(file.stream.read())
    folder_id = _query_id(folder) if folder else None
    return flows.create_many(session(), caller().user_id, bodies, services().now(), folder_id)


@blueprint.post("/download/", endpoint="download")
@blueprint.response(200)
def download() -> Response:
    """Give one flow as JSON, several as a zip of JSON files."""
    found = flows.several(session(), caller().user_id, _ids_of_body())
    bodies = FlowDownloadSchema(many=True).dump(found)
    if len(bodies) == 1:
        return jsonify(bodies[0])
    name = services().now().strftime("%Y%m%d_%H%M%S_langflow_flows.zip")
    response = Response(_zipped(bodies), mimetype="application/x-zip-compressed")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def read_upload(raw: bytes) -> list[dict[str, Any]]:
    """Read the flows of an uploaded file: one flow, ``{"flows": [...]}``, or a zip of such files.

    Raises:
        Invalid: it is no JSON, or a flow has the wrong shape.
        Rejected: the zip cannot be read.
    """
    return [_loaded(one) for one in _documents(raw)]


def _given(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the export wrote as null for "nothing chosen"."""
    return _without_circles({name: value for name, value in body.items() if value is not None})


def _without_circles(body: dict[str, Any]) -> dict[str, Any]:
    """Refuse what could never run here or elsewhere; everything else is stored as it comes."""
    if body.get("data"):
        services().runner.check(body["data"])
    return body


def _count(name: str, default: int, most: int) -> int:
    text = request.args.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) <= most:
        raise Invalid.field(f"Input should be a whole number from 1 to {most}", "query", name, kind="int_parsing")
    return int(text)


def _query_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Invalid.field("Input should be a valid UUID", "query", "folder_id", kind="uuid_parsing") from None


def _ids_of_body() -> list[uuid.UUID]:
    body = read_json(request)
    if not isinstance(body, list):
        raise Invalid.field("Input should be a valid list", "body", kind="list_type")
    if len(body) > _MOST_FILES:
        raise Invalid.field(f"List should have at most {_MOST_FILES} items", "body", kind="too_long")
    try:
        return [uuid.UUID(one) for one in body]
    except (ValueError, AttributeError, TypeError):
        raise Invalid.field("Input should be a list of UUIDs", "body", kind="uuid_parsing") from None


def _documents(raw: bytes) -> list[Any]:
    if not raw.startswith(b"PK\x03\x04"):
        return _flows_in(raw)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = [one for one in archive.infolist() if one.filename.lower().endswith(".json")]
            # Judged by what the archive says it unpacks to: a zip bomb is small only while packed.
            if (
                len(members) > _MOST_FILES
                or sum(one.file_size for one in members) > services().settings.max_body_bytes
            ):
                raise RequestEntityTooLarge
            return [flow for one in members for flow in _flows_in(archive.read(one))]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        raise Rejected("The file is not a zip that can be read") from None


def _flows_in(raw: bytes) -> list[Any]:
    try:
        content = loads(raw)
    except (ValueError, RecursionError):
        problem = Problem(("body", "file"), "json_invalid", "The file is not JSON")
        raise Invalid([problem]) from None
    if isinstance(content, dict) and isinstance(content.get("flows"), list):
        return list(content["flows"])
    return [content]


def _loaded(document: Any) -> dict[str, Any]:
    try:
        loaded = NewFlowSchema().load(document)
    except ValidationError as error:
        raise Invalid(problems_of({"json": error.messages_dict})) from None
    # The folder named in a file is one of the server that wrote it.
    return {name: value for name, value in _given(dict(loaded)).items() if name != "folder_id"}


def _zipped(bodies: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    names: set[str] = set()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for body in bodies:
            stem = re.sub(r"[^\w .()-]", "_", body["name"]).strip(". ") or "flow"
            name = stem if stem not in names else f"{stem} {body['id']}"
            names.add(name)
            archive.writestr(f"{name}.json", json.dumps(body, indent=2, ensure_ascii=False))
    return buffer.getvalue()
