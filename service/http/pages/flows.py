"""Flows: the list, and a page for each."""

from __future__ import annotations

import uuid
from collections import Counter
from functools import partial
from typing import Any

from flask import Response, jsonify, request

from service.domain import flows
from service.domain.errors import DomainError, FlowInvalid, Invalid, NotFound, Rejected, UnknownComponents
from service.http.db import abandon, services, session
from service.http.errors import status_of
from service.http.flow_files import read_chosen
from service.http.pages import forms
from service.http.pages.drawing import graph_of
from service.http.pages.shell import back as lead_back
from service.http.pages.shell import blueprint, failed, page
from service.http.policy import actor, caller
from service.http.schemas.flows import FlowChangesSchema, FlowDownloadSchema
from service.storage.flows import Flow


@blueprint.get("/flows", endpoint="flows")
def show() -> Response:
    """List the flows."""
    return _list()


@blueprint.post("/flows", endpoint="upload_flow")
def upload() -> Response:
    """Store the flows of the uploaded files, all or none."""
    try:
        files = [file for file in request.files.getlist("file") if file]
        if not files:
            raise Rejected("Choose a file first")
        bodies = [body for file in files for body in read_chosen(file)]
        if not bodies:
            raise Rejected("The files hold no flows")
        flows.create_many(session(), actor(), caller().user_id, bodies, services().now())
    except DomainError as error:
        # Its fields are those of the file: the page has one place for all of them.
        abandon()
        return _list(
            status=status_of(error),
            problems={"file": error.in_words() if isinstance(error, Invalid) else error.message},
        )
    return lead_back("flows", "flow-uploaded")


@blueprint.get("/flow/<uuid:flow_id>", endpoint="flow")
def one(flow_id: uuid.UUID) -> Response:
    """Show a flow: its picture, what it needs, its settings."""
    return _show_flow(flow_id)


@blueprint.post("/flow/<uuid:flow_id>", endpoint="change_flow")
def change(flow_id: uuid.UUID) -> Response:
    """Change a flow's names and switches."""
    try:
        body = {
            "name": forms.text("name"),
            "description": forms.text("description"),
            "endpoint_name": forms.text("endpoint_name"),
            "mcp_enabled": forms.text("mcp_enabled") == "yes",
            "access_type": "PUBLIC" if forms.text("public") == "yes" else "PRIVATE",
        }
        changes = forms.load(FlowChangesSchema(), body)
        flows.update(session(), actor(), caller().user_id, flow_id, changes, services().now())
    except DomainError as error:
        return failed(error, partial(_show_flow, flow_id))
    return lead_back("flow", "flow-changed", "settings", flow_id=flow_id)


@blueprint.get("/flow/<uuid:flow_id>/api", endpoint="flow_api")
def api_access(flow_id: uuid.UUID) -> Response:
    """Show how programs run the flow."""
    flow = flows.get(session(), caller().user_id, flow_id)
    url = f"{request.host_url.rstrip('/')}/api/v1/run/{flow.endpoint_name or flow.id}"
    return page("flow_api.html", f"API access: {flow.name}", flow=flow, url=url)


@blueprint.get("/flow/<uuid:flow_id>/download", endpoint="download_flow")
def download(flow_id: uuid.UUID) -> Response:
    """Give a flow as the file that Langflow exports."""
    flow = flows.get(session(), caller().user_id, flow_id)
    response = jsonify(FlowDownloadSchema().dump(flow))
    response.headers.set("Content-Disposition", "attachment", filename=f"{flow.endpoint_name or flow.id}.json")
    return response


@blueprint.get("/flow/<uuid:flow_id>/delete", endpoint="doomed_flow")
def ask_deletion(flow_id: uuid.UUID) -> Response:
    """Name the flow, and ask once."""
    flow = flows.get(session(), caller().user_id, flow_id)
    return page("flow_delete.html", f"Delete {flow.name}?", flow=flow)


@blueprint.post("/flow/<uuid:flow_id>/delete", endpoint="delete_flow")
def delete(flow_id: uuid.UUID) -> Response:
    """Delete a flow."""
    if not flows.remove(session(), caller().user_id, [flow_id]):
        raise NotFound("Flow not found")
    return lead_back("flows", "flow-deleted")


def _list(**context: Any) -> Response:
    return page("flows.html", "Flows", rows=flows.list_of(session(), caller().user_id, with_data=False), **context)


def _show_flow(flow_id: uuid.UUID, **context: Any) -> Response:
    flow = flows.get(session(), caller().user_id, flow_id)
    return page("flow.html", flow.name, **_about(flow), entered=request.form or _stored(flow), **context)


def _about(flow: Flow) -> dict[str, Any]:
    """The picture of a flow, and what it needs."""
    picture = graph_of(flow.data or {})
    unknown: tuple[str, ...] = ()
    needs, fault = [], None
    try:
        needs = services().runner.explain(session(), caller().user_id, str(flow.id))
    except UnknownComponents as error:
        unknown = error.names
    except FlowInvalid as error:
        fault = error.message
    kinds = Counter(box.kind for box in picture.boxes)
    return {"flow": flow, "picture": picture, "kinds": sorted(kinds.items()), "unknown": unknown, "needs": needs,
            "fault": fault}  # fmt: skip


def _stored(flow: Flow) -> dict[str, str]:
    return {
        "name": flow.name,
        "description": flow.description or "",
        "endpoint_name": flow.endpoint_name or "",
        "mcp_enabled": "yes" if flow.mcp_enabled else "",
        "public": "yes" if flow.access_type == "PUBLIC" else "",
    }
