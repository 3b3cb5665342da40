"""Langflow 1.13's v2 workflow calls: run while one waits, as a stream or in the background; status; stop."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Response, jsonify, request

from service.domain import jobs, runs
from service.domain.errors import JobNotFound, NotFound, RunFailed, RunTimedOut
from service.domain.jobs import Status, Viewer
from service.domain.runs import RunRequest
from service.http.answers import json_answer
from service.http.db import services, session
from service.http.errors import Worded, status_of_kind
from service.http.parsing import Blueprint, global_variables, path_id
from service.http.policy import caller
from service.http.running import in_background, prepared_run
from service.http.schemas import workflows as wire
from service.http.schemas.workflows import WorkflowRunSchema, WorkflowStopSchema
from service.http.streaming import workflow_stream
from service.storage.jobs import Job

blueprint = Blueprint("workflows", __name__, url_prefix="/api/v2/workflows", description="Langflow's v2 workflows")


@blueprint.post("/", endpoint="start")
@blueprint.arguments(WorkflowRunSchema)
@blueprint.response(200)
def start(body: dict[str, Any]) -> Response:
    """Run a flow: ``mode`` is ``sync``, ``stream`` or ``background``."""
    _refuse_unsupported(body)
    flow_id, asked = str(body["flow_id"]), _asked(body)
    if body["mode"] == "background":
        with _in_words_of_v2(flow_id):
            ticket = in_background(flow_id, asked, body["idempotency_key"])
        return json_answer(wire.job_body(ticket.id, ticket.flow_id, ticket.status, ticket.created_at))
    with _in_words_of_v2(flow_id):
        prepared = prepared_run(flow_id, asked)
    if body["mode"] == "stream":
        events, heartbeat = runs.events(prepared, asked), services().settings.heartbeat_seconds
        return workflow_stream(events, prepared.session_id, heartbeat)
    return json_answer(_waited_for(prepared, asked, body["output_ids"]))


@blueprint.get("/", endpoint="status")
@blueprint.response(200)
def status() -> Response:
    """Say how the job of ``?job_id=`` stands, and what came of it."""
    text = request.args.get("job_id", "")
    if not text:
        words = {"error": "Missing required parameter", "code": "MISSING_PARAMETER"}
        raise Worded(400, words | {"message": "Job ID must be provided"})
    with _in_words_of_v2():
        job = jobs.get(session(), Viewer.of(caller()), path_id(text, "job_id"))
    return json_answer(_body_of(job))


@blueprint.post("/stop", endpoint="stop")
@blueprint.arguments(WorkflowStopSchema)
@blueprint.response(200)
def stop(body: dict[str, Any]) -> Response:
    """Cancel a job; one that has ended stays as it is."""
    job_id: uuid.UUID = body["job_id"]
    with _in_words_of_v2():
        job, ended = jobs.cancel(session(), Viewer.of(caller()), job_id)
    if ended:
        message = f"Job {job_id} cancelled successfully."
    elif job.status == Status.CANCELLED:
        message = f"Job {job_id} is already cancelled."
    else:
        message = f"Job {job_id} already finished ({wire.STATUS[Status(job.status)]})."
    return jsonify({"job_id": str(job_id), "message": message})


def _refuse_unsupported(body: dict[str, Any]) -> None:
    if body["stream_protocol"] != wire.PROTOCOL:
        raise Worded(422, {
            "error": "Unknown stream_protocol", "code": "UNKNOWN_STREAM_PROTOCOL",
            "message": f"Unknown stream_protocol {body['stream_protocol']!r}.", "available": [wire.PROTOCOL],
        })  # fmt: skip
    mode = body["mode"]
    names = [name for name in wire.UNSUPPORTED if body[name] is not None]
    if mode != "sync" and body["output_ids"]:
        names.append("output_ids")
    if names:
        code = "SYNC_MODE_UNSUPPORTED_FIELDS" if mode == "sync" else "MODE_UNSUPPORTED_FIELDS"
        raise Worded(422, {
            "error": "Unsupported request fields for mode", "code": code, "fields": names,
            "message": f"mode='{mode}' does not support request fields: {', '.join(names)}.",
        })  # fmt: skip


def _asked(body: dict[str, Any]) -> RunRequest:
    return RunRequest(
        # An empty text leaves what is stored in the flow, as in 1.13.
        input_value=body["input_value"] or None,
        output_type="any",
        tweaks=body["tweaks"],
        session_id=body["session_id"],
        stream=body["mode"] == "stream",
        # What the body says wins over the older way, as in 1.13.
        variables=global_variables(request) | body["globals"],
    )


def _waited_for(prepared: runs.Prepared, asked: RunRequest, chosen: list[str]) -> dict[str, Any]:
    try:
        return wire.done_body(prepared.flow_id, runs.result(prepared, asked), chosen)
    except RunTimedOut as error:
        words = {"error": "Execution timeout", "code": "EXECUTION_TIMEOUT", "message": error.message}
        raise Worded(408, words | {"flow_id": str(prepared.flow_id)}) from None
    except RunFailed as error:
        return wire.failed_body(prepared.flow_id, error)


def _body_of(job: Job) -> dict[str, Any]:
    if job.status == Status.DONE:
        result = job.result or {"session_id": None, "outputs": []}
        return wire.done_body(job.flow_id, result, job_id=job.id, created_at=job.created_at)
    if job.status != Status.FAILED:
        return wire.job_body(job.id, job.flow_id, job.status, job.created_at)
    error = job.error or {"kind": "Unexpected", "message": "Internal Server Error"}
    if wire.timed_out(error["kind"]):
        raise Worded(408, {
            "error": "Execution timeout", "code": "EXECUTION_TIMEOUT", "message": "Workflow execution timed out",
            "job_id": str(job.id), "flow_id": str(job.flow_id),
        })  # fmt: skip
    raise Worded(500, {
        "error": "Job failed", "code": "JOB_FAILED", "message": f"Job {job.id} has failed execution.",
        "job_id": str(job.id),
        "error_detail": {"error": error["message"], "type": error["kind"], "status": status_of_kind(error["kind"])},
    })  # fmt: skip


@contextmanager
def _in_words_of_v2(flow_id: str = "") -> Iterator[None]:
    """Say what is missing as 1.13's v2 does."""
    try:
        yield
    except JobNotFound as error:
        words = {"error": "Workflow job not found", "code": "JOB_NOT_FOUND", "job_id": str(error.job_id)}
        raise Worded(404, words | {"message": f"Workflow job {error.job_id} not found"}) from None
    except NotFound:
        message = f"Flow '{flow_id}' does not exist. Verify the flow_id and try again."
        words = {"error": "Flow not found", "code": "FLOW_NOT_FOUND", "message": message, "flow_id": flow_id}
        raise Worded(404, words) from None
