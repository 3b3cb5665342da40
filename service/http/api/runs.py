"""Running flows (contract 1.8)."""

from __future__ import annotations

from typing import Any

from flask import Request, Response, jsonify, request

from service.domain import runs
from service.domain.errors import Invalid, NotFound, Problem, Rejected, RunFailed
from service.domain.ports import RunInput
from service.http.answers import json_answer
from service.http.api.jobs import accepted
from service.http.db import services
from service.http.errors import Worded, status_of
from service.http.identity import has_key_in_header
from service.http.parsing import Blueprint, flag, global_variables, load, read_form, read_json, says_json
from service.http.running import in_background, prepared_run
from service.http.schemas.runs import AdvancedBodySchema, RunBodySchema
from service.http.streaming import streamed, wanted_format

blueprint = Blueprint("runs", __name__, url_prefix="/api/v1", description="Run flows")

_DEPRECATED = "The /process endpoint is deprecated and will be removed in a future version. Please use /run instead."
#: What a body leaves out is as ``RunRequest`` has it, and need not be read by the schema's seven other fields.
_run_body, _advanced_body = RunBodySchema(partial=True), AdvancedBodySchema()


@blueprint.post("/run/<flow_id>", endpoint="run")
@blueprint.takes(RunBodySchema)
@blueprint.describes(200)
def run(flow_id: str) -> Response:
    """Run a flow by id or endpoint name.

    ``?stream=true`` answers with events as they happen, ``?background=true`` at once with the address of a job.
    With an API key in a header, the JSON may have any content type, and its fields may come as those of a form
    (``multipart/form-data``), ``tweaks`` as JSON.
    """
    asked = _asked(request)
    form = wanted_format(request)
    if asked.background:
        return accepted(in_background(flow_id, asked))
    prepared = prepared_run(flow_id, asked)
    if asked.stream:
        heartbeat = services().settings.heartbeat_seconds
        return streamed(runs.events(prepared, asked), prepared.session_id, form, heartbeat)
    return json_answer(runs.result(prepared, asked))


@blueprint.post("/run/advanced/<flow_id>", endpoint="advanced")
@blueprint.takes(AdvancedBodySchema)
@blueprint.describes(200)
def advanced(flow_id: str) -> Response:
    """Run a flow once for each input, and pick the outputs by id or name."""
    body = read_json(request)
    if isinstance(body, list):
        names = ("inputs", "outputs", "tweaks", "stream", "session_id")
        raise Invalid([Problem(("body", name), "missing", "Field required") for name in names])
    loaded = load(_advanced_body, body)
    if loaded["session_id"] is not None:
        # Langflow's cache of built sessions, which this endpoint alone could continue, does not exist here.
        raise NotFound(f"Session {loaded['session_id']} not found")
    prepared = prepared_run(flow_id, runs.RunRequest(tweaks=loaded["tweaks"]))
    inputs = [RunInput(one["input_value"], one["type"], tuple(one["components"])) for one in loaded["inputs"]]
    try:
        found = runs.advanced(prepared, inputs or [RunInput("", "any")], loaded["outputs"])
    except RunFailed as error:
        raise Worded(status_of(error), error.message) from None
    return json_answer(found)


@blueprint.post("/webhook/<flow_id>", endpoint="webhook")
@blueprint.response(202)
def webhook(flow_id: str) -> Response:
    """Start a run that nobody waits for, in the flow's own session; what comes of it is in the list of jobs."""
    if not request.get_data(cache=True):
        raise Rejected("Request body is empty. You should provide a JSON payload containing the flow ID.")
    payload = request.get_data(cache=True).decode("utf-8", "replace")
    in_background(flow_id, runs.RunRequest(output_type="any", payload=payload))
    started = jsonify({"message": "Task started in the background", "status": "in progress"})
    started.status_code = 202
    return started


@blueprint.post("/process/<path:flow_id>", endpoint="process")
@blueprint.response(400)
def process(flow_id: str) -> None:
    """Say that this endpoint is gone."""
    del flow_id
    raise Rejected(_DEPRECATED)


@blueprint.post("/predict/<path:flow_id>", endpoint="predict")
@blueprint.response(400)
def predict(flow_id: str) -> None:
    """Say that this endpoint is gone."""
    del flow_id
    raise Rejected(_DEPRECATED)


def _sent(request: Request) -> Any:
    # Another site's form could send any of this but JSON, and with it the right that a request has without a header.
    if says_json(request) or not has_key_in_header(request):
        return read_json(request)
    if request.mimetype == "multipart/form-data":
        return read_form(request, as_json=("tweaks",))
    return read_json(request, any_type=True)


def _asked(request: Request) -> runs.RunRequest:
    body = load(_run_body, _sent(request))
    # The query decides; Langflow's SDK for Python says it in the body alone.
    stream = flag("stream", default=body.pop("stream", False))
    background = body.pop("background", False) or flag("background")
    if stream and background:
        raise Invalid.field("Value error, a run is streamed or in the background", "query", "background")
    return runs.RunRequest(**body, stream=stream, background=background, variables=global_variables(request))
