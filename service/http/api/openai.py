"""Flows for OpenAI's clients: as models that answer responses and chat completions.

The routes are served under ``/v1`` too, where these clients look for them (``service/app.py``).
"""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response, request

from service.domain import models, runs
from service.domain.responses import Turn
from service.domain.runs import RunRequest
from service.http.answers import json_answer
from service.http.db import services, session
from service.http.openai import completions, errors, responses
from service.http.openai.stream import streamed
from service.http.parsing import Blueprint, global_variables, load, read_json
from service.http.policy import caller
from service.http.running import prepared_run
from service.http.schemas.openai import CompletionBodySchema, ResponseBodySchema

blueprint = Blueprint("openai", __name__, url_prefix="/api/v1", description="Run flows by OpenAI's API")
errors.install(blueprint)

_response_body, _completion_body = ResponseBodySchema(), CompletionBodySchema()


@blueprint.post("/responses", endpoint="responses")
@blueprint.doc(requestBody={"content": {"application/json": {"schema": ResponseBodySchema}}})
@blueprint.response(200)
def create_response() -> Response:
    """Run the flow that ``model`` names; ``stream`` answers with events as they happen."""
    body = load(_response_body, read_json(request))
    previous = body.get("previous_response_id")
    turn = Turn.after(previous)
    head = responses.Head(
        turn, body["model"], previous, body["metadata"], with_results=responses.WITH_RESULTS in body["include"]
    )
    asked = _asked(body["input"], turn.session_id, stream=body["stream"])
    prepared = prepared_run(body["model"], asked)
    if asked.stream:
        return streamed(runs.events(prepared, asked), responses.ResponseEvents(head), _heartbeat())
    return json_answer(responses.response(head, runs.ended(runs.events(prepared, asked))))


@blueprint.post("/chat/completions", endpoint="chat_completions")
@blueprint.doc(requestBody={"content": {"application/json": {"schema": CompletionBodySchema}}})
@blueprint.response(200)
def create_completion() -> Response:
    """Run the flow that ``model`` names with the last message of the user."""
    body = load(_completion_body, read_json(request))
    head = completions.Head(body["model"], with_usage=body["stream_options"].get("include_usage", False))
    asked = _asked(body["messages"], body.get("session_id") or str(uuid.uuid4()), stream=body["stream"])
    prepared = prepared_run(body["model"], asked)
    if asked.stream:
        chunks = completions.CompletionChunks(head)
        return streamed(runs.events(prepared, asked), chunks, _heartbeat(), end=b"data: [DONE]\n\n")
    return json_answer(completions.completion(head, runs.ended(runs.events(prepared, asked))))


@blueprint.get("/models", endpoint="models")
@blueprint.response(200)
def list_models() -> Response:
    """List the flows that the caller may run."""
    found = models.list_of(session(), caller().user_id, _only())
    return json_answer({"object": "list", "data": [_model(one) for one in found]})


@blueprint.get("/models/<model_id>", endpoint="model")
@blueprint.response(200)
def get_model(model_id: str) -> Response:
    """Return one of them by id or endpoint name."""
    return json_answer(_model(models.get(session(), caller().user_id, model_id, _only())))


def _asked(text: str, session_id: str, *, stream: bool) -> RunRequest:
    return RunRequest(input_value=text, session_id=session_id, stream=stream, variables=global_variables(request))


def _only() -> frozenset[uuid.UUID] | None:
    rights = caller().rights
    return rights.flows if rights is not None else None


def _heartbeat() -> float:
    return services().settings.heartbeat_seconds


def _model(one: models.Model) -> dict[str, Any]:
    created = int(one.created_at.timestamp())
    return {"id": one.name, "object": "model", "created": created, "owned_by": "keyturn"}
