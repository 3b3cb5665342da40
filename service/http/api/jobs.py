"""Runs in the background: Keyturn's own routes."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from service.domain import jobs
from service.domain.jobs import Ticket, Viewer
from service.http.db import session
from service.http.parsing import Blueprint, path_id
from service.http.policy import caller
from service.http.schemas.jobs import JobPageSchema, JobQuerySchema, JobSchema, ListedJobSchema, StartedJobSchema
from service.storage.jobs import Job

blueprint = Blueprint("jobs", __name__, url_prefix="/api/v1/jobs", description="Runs in the background")
_started = StartedJobSchema()


def accepted(ticket: Ticket) -> Response:
    """The answer to a run that was started in the background."""
    body = _started.dump(ticket)
    response = jsonify(body)
    response.status_code = 202
    response.headers["Location"] = body["links"]["job"]
    return response


@blueprint.get("/", endpoint="list")
@blueprint.arguments(JobQuerySchema, location="query")
@blueprint.response(200, JobPageSchema)
def list_jobs(query: dict[str, Any]) -> dict[str, Any]:
    """List jobs, the newest first; ``cursor`` continues where the last page ended."""
    found, following = jobs.list_of(
        session(), Viewer.of(caller()), status=query["status"], flow_id=query["flow_id"], before=query["cursor"],
        limit=query["limit"],
    )  # fmt: skip
    return {"jobs": found, "next_cursor": following}


@blueprint.get("/<job_id>", endpoint="get")
@blueprint.response(200, JobSchema)
def get(job_id: str) -> Job:
    """Show a job, and its result when it is done."""
    return jobs.get(session(), Viewer.of(caller()), path_id(job_id, "job_id"))


@blueprint.post("/<job_id>/cancel", endpoint="cancel")
@blueprint.response(200, ListedJobSchema)
def cancel(job_id: str) -> Job:
    """Cancel a job; one that has ended stays as it is."""
    return jobs.cancel(session(), Viewer.of(caller()), path_id(job_id, "job_id"))[0]
