"""The playground: a chat with a flow, as its owner, without a key."""

from __future__ import annotations

import json
import uuid
from typing import Any

from flask import Response, request, url_for

from service.domain import flows, messages, runs
from service.domain.errors import DomainError, FlowInvalid, UnknownComponents, VariableMissing
from service.domain.runs import Prepared, RunRequest
from service.http.db import abandon, catch_up, reads_only, release, services, session
from service.http.errors import status_of
from service.http.pages.shell import blueprint, page, problems_of
from service.http.policy import caller
from service.http.streaming import Pump
from service.json_text import spaced

_MOST_SESSION = 200


@blueprint.get("/flow/<uuid:flow_id>/playground", endpoint="playground")
def show(flow_id: uuid.UUID) -> Response:
    """Show a conversation and the others to choose from."""
    return _chat(flow_id, _session_id(request.args.get("session", "")))


@blueprint.post("/flow/<uuid:flow_id>/playground", endpoint="say")
def say(flow_id: uuid.UUID) -> Response:
    """Say something and show the answer, for browsers without a script."""
    name, text = _session_id(request.form.get("session", "")), request.form.get("text", "")
    try:
        prepared, asked = _prepared(flow_id, name, text, stream=False)
        runs.result(prepared, asked)
    except DomainError as error:
        abandon()
        return _chat(flow_id, name, fault=_fault(error), text=text, status=status_of(error))
    return _chat(flow_id, name, ran=prepared.trace)


@blueprint.post("/flow/<uuid:flow_id>/playground/stream", endpoint="stream")
def stream(flow_id: uuid.UUID) -> Response:
    """Say something, and answer a line of JSON for each event; ``ran`` comes before the last one."""
    name, text = _session_id(request.form.get("session", "")), request.form.get("text", "")
    try:
        prepared, asked = _prepared(flow_id, name, text, stream=True)
        running = runs.events(prepared, asked)
    except DomainError as error:
        body = json.dumps({"event": "error", "data": _fault(error)})
        return Response(body + "\n", status_of(error), mimetype="application/x-ndjson")

    def encode(event: str, data: Any) -> bytes:
        if event == "error":
            data = {"text": _reason(str(data.get("error", "")))}
        if event != "end":
            return _line(event, data)
        # What ran is known now, and the flow's whole result is not needed on the page.
        ran = [{"name": one.name, "seconds": round(one.seconds, 3)} for one in prepared.trace]
        return _line("ran", ran) + _line("end", {"session_id": prepared.session_id})

    pump = Pump(running, prepared.session_id, services().settings.heartbeat_seconds, encode, b"\n")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = Response(iter(pump), mimetype="application/x-ndjson", headers=headers)
    response.call_on_close(pump.close)
    return response


def _prepared(flow_id: uuid.UUID, name: str, text: str, *, stream: bool) -> tuple[Prepared, RunRequest]:
    asked = RunRequest(input_value=text, session_id=name, stream=stream)
    reads_only()
    prepared = services().runner.prepare(session, caller().user_id, str(flow_id), {}, {}, name, traced=True)
    release()
    return prepared, asked


def _chat(flow_id: uuid.UUID, name: str, *, status: int = 200, **context: Any) -> Response:
    catch_up(services().messages)
    own, user_id = session(), caller().user_id
    flow = flows.get(own, user_id, flow_id)
    said = messages.list_of(own, user_id, flow_id=flow_id, session_id=name)
    others = messages.sessions_of(own, user_id, flow_id)
    missing = [] if "fault" in context else _missing(flow_id)
    return page("playground.html", f"Playground: {flow.name}", status=status, flow=flow, said=said, others=others,
                chosen=name, missing=missing, **context)  # fmt: skip


def _missing(flow_id: uuid.UUID) -> list[str]:
    """The variables without which a run would fail; none where it could not run anyhow, which it says itself."""
    try:
        needs = services().runner.explain(session(), caller().user_id, str(flow_id))
    except (FlowInvalid, UnknownComponents):
        return []
    return sorted({need.variable for need in needs if need.required and need.source is None})


def _fault(error: DomainError) -> dict[str, str]:
    """What went wrong as ``text``; ``variables`` is where to add one that is missing."""
    if isinstance(error, VariableMissing):
        return {"text": error.fault, "variables": url_for("pages.variables")}
    return {"text": "; ".join(problems_of(error).values())}


def _session_id(wanted: str) -> str:
    """The conversation that is meant, or a new one."""
    wanted = wanted.strip().replace("\x00", "")[:_MOST_SESSION]
    return wanted or f"playground-{uuid.uuid4().hex[:8]}"


def _line(event: str, data: Any) -> bytes:
    return (spaced({"event": event, "data": data}) + "\n").encode("utf-8", "replace")


def _reason(text: str) -> str:
    """The words of an error event: a status, a colon, and a text or JSON with one."""
    words = text.partition(": ")[2] or text
    try:
        detail = json.loads(words)
    except ValueError:
        return words
    return str(detail.get("message", "The run failed")) if isinstance(detail, dict) else words
