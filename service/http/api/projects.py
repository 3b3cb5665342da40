"""Projects and the flows in them (contract 1.7); ``/folders`` is their older name."""

from __future__ import annotations

import math
from typing import Any

from flask import Response, jsonify, request

from service.domain import flows, projects
from service.domain.errors import Invalid, NotFound
from service.http.db import own_transaction, services, session
from service.http.flow_files import archive, project_upload, uploaded
from service.http.parsing import Blueprint, count, flag, path_id
from service.http.policy import actor, caller, only_flows
from service.http.schemas.flows import FlowDownloadSchema, FlowSchema
from service.http.schemas.projects import (
    ListedProjectSchema,
    NewProjectSchema,
    ProjectChangesSchema,
    ProjectSchema,
    ProjectWithFlowsSchema,
)

blueprint = Blueprint("projects", __name__, url_prefix="/api/v1/projects", description="Projects")
_MOST_SEARCH = 255
_project, _with_flows = ProjectSchema(), ProjectWithFlowsSchema()
_flow, _download = FlowSchema(), FlowDownloadSchema()


@blueprint.get("/", endpoint="list")
@blueprint.response(200, ListedProjectSchema(many=True))
def list_projects() -> list[dict[str, Any]]:
    """List one's projects; there is always one, the default project."""
    identity, only = caller(), only_flows()
    found = projects.list_of(session(), identity.user_id, only)
    if not found and only is None:
        with own_transaction() as own:
            projects.default_of(own, identity.user_id)
        found = projects.list_of(session(), identity.user_id)
    return [_project.dump(one) | {"owner_username": identity.account.username} for one in found]


@blueprint.post("/", endpoint="create")
@blueprint.arguments(NewProjectSchema)
@blueprint.response(201, ProjectSchema)
def create(body: dict[str, Any]) -> Any:
    """Make a project; a taken name gets a number."""
    return projects.create(session(), caller().user_id, body)


@blueprint.get("/<project_id>", endpoint="get")
@blueprint.response(200)
def get(project_id: str) -> Response:
    """Show a project with its flows: all, or a page of them."""
    user_id, only = caller().user_id, only_flows()
    project = projects.get(session(), user_id, path_id(project_id, "project_id"), only)
    # Read whether they count or not: what is wrong is told.
    page, size, search = count("page", 1, 2**31), count("size", 50, 100), _search()
    components_only, flows_only = flag("is_component"), flag("is_flow")
    if "page" not in request.args or "size" not in request.args:
        found = flows.list_of(session(), user_id, folder_id=project.id, only=only)
        return jsonify(_with_flows.dump(_project.dump(project) | {"flows": found}))
    total, items = flows.page_of(
        session(), user_id, page, size, folder_id=project.id, components_only=components_only,
        flows_only=flows_only, search=search, only=only,
    )  # fmt: skip
    shown = {"items": _flow.dump(items, many=True), "total": total, "page": page, "size": size}
    return jsonify({"folder": _project.dump(project), "flows": shown | {"pages": math.ceil(total / size)}})


@blueprint.patch("/<project_id>", endpoint="update")
@blueprint.arguments(ProjectChangesSchema)
@blueprint.response(200, ProjectSchema)
def update(body: dict[str, Any], project_id: str) -> Any:
    """Change what the body names; which flows lie in it is said of each flow."""
    return projects.change(session(), caller().user_id, path_id(project_id, "project_id"), body)


@blueprint.put("/<project_id>", endpoint="put")
@blueprint.arguments(NewProjectSchema)
@blueprint.response(200, ProjectSchema)
def put(body: dict[str, Any], project_id: str) -> Any:
    """Make the project of that id be what the body says."""
    project, new = projects.put(session(), caller().user_id, path_id(project_id, "project_id"), body)
    return project, 201 if new else 200


@blueprint.delete("/<project_id>", endpoint="delete")
@blueprint.response(204)
def delete(project_id: str) -> None:
    """Delete a project with the flows in it."""
    projects.remove(session(), caller().user_id, path_id(project_id, "project_id"))


@blueprint.get("/download/<project_id>", endpoint="download")
@blueprint.response(200)
def download(project_id: str) -> Response:
    """Give the flows of a project as a zip."""
    user_id, only = caller().user_id, only_flows()
    project = projects.get(session(), user_id, path_id(project_id, "project_id"), only)
    found = flows.list_of(session(), user_id, folder_id=project.id, only=only)
    if not found:
        raise NotFound("No flows found in project")
    return archive(_download.dump(found, many=True), project.name)


@blueprint.post("/upload/", endpoint="upload")
@blueprint.response(201, FlowSchema(many=True))
def upload() -> Any:
    """Make a project of a file: a zip of flows, or JSON with ``folder_name`` and ``flows``."""
    new, bodies = project_upload(*uploaded())
    project = projects.create(session(), caller().user_id, new)
    return flows.create_many(session(), actor(), caller().user_id, bodies, services().now(), project.id)


def _search() -> str:
    text = request.args.get("search", "")
    if len(text) > _MOST_SEARCH or "\x00" in text:
        raise Invalid.field(f"String should have at most {_MOST_SEARCH} characters", "query", "search")
    return text
