"""Langflow 1.13's v2 workflow calls on the wire (``lfx.schema.workflow`` of lfx 1.13.0 has the shapes)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from service.domain.errors import DomainError, RunTimedOut
from service.domain.jobs import Status
from service.http.schemas.fields import Flag, NullIsAbsent, Text
from service.storage.base import utc_now

MODES = ("sync", "stream", "background")
PROTOCOL = "langflow"
#: What 1.13 takes and Keyturn does not: parts of a flow, another graph in its place, and paths of files.
UNSUPPORTED = ("data", "files", "start_component_id", "stop_component_id")
_NOTHING = {"enum": [None]}
#: Longest name and value of a variable in the body, as in 1.13.
_LONGEST_NAME, _LONGEST_VALUE = 256, 64 * 1024

#: Our word for where a job stands -> theirs.
STATUS = {
    Status.QUEUED: "queued", Status.RUNNING: "in_progress", Status.DONE: "completed", Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}  # fmt: skip
#: What an output brings -> Langflow's word for it.
_TYPES = {"text": "message", "object": "data", "array": "dataframe"}


class WorkflowRunSchema(NullIsAbsent):
    """The body of a start. Unknown fields are refused, as in 1.13; null counts as absent."""

    class Meta:
        unknown = RAISE

    flow_id = fields.UUID(required=True)
    input_value = Text(longest=1_000_000, load_default="")
    tweaks = fields.Dict(keys=fields.String(), load_default=dict)
    session_id = Text(longest=255, load_default=None)
    mode = Text(
        load_default="sync",
        validate=validate.OneOf(MODES, error="Input should be 'sync', 'stream' or 'background'"),
    )
    stream_protocol = Text(longest=64, load_default=PROTOCOL, metadata={"enum": [PROTOCOL]})
    expose_graph_state = Flag(load_default=True)
    data = fields.Raw(load_default=None, metadata=_NOTHING)
    files = fields.List(Text(), load_default=None, metadata=_NOTHING)
    start_component_id = Text(load_default=None, metadata=_NOTHING)
    stop_component_id = Text(load_default=None, metadata=_NOTHING)
    output_ids = fields.List(Text(longest=1000), load_default=list, validate=validate.Length(max=500))
    globals = fields.Dict(
        keys=Text(longest=_LONGEST_NAME, validate=validate.Length(min=1)),
        values=Text(longest=_LONGEST_VALUE), load_default=dict, validate=validate.Length(max=200),
    )  # fmt: skip
    idempotency_key = Text(longest=255, load_default=None)


class _JobId(fields.UUID):
    """The id of a job, which 1.13 takes as text."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if not isinstance(value, str):
            raise ValidationError("Invalid job_id, must be a UUID")
        return super()._deserialize(value, attr, data, **kwargs)


class WorkflowStopSchema(Schema):
    """The body of a stop."""

    class Meta:
        unknown = "exclude"

    job_id = _JobId(required=True)


def job_body(job_id: object, flow_id: object, status: str, created_at: datetime) -> dict[str, Any]:
    """A job that is not done (``WorkflowJobResponse``)."""
    return {
        "job_id": str(job_id),
        "flow_id": str(flow_id),
        "object": "job",
        "created_timestamp": created_at.isoformat(),
        "status": STATUS[Status(status)],
        "links": {"status": f"/api/v2/workflows?job_id={job_id}", "stop": "/api/v2/workflows/stop"},
        "errors": [],
        "globals": {},
    }


def done_body(flow_id: object, result: Mapping[str, Any], chosen: Iterable[str] = (), *, job_id: object = None,
              created_at: datetime | None = None) -> dict[str, Any]:  # fmt: skip
    """A run that is done (``WorkflowExecutionResponse``).

    Args:
        flow_id: the flow.
        result: what ``/run`` answers.
        chosen: the outputs among which the one text is looked for; none: all.
        job_id: of the job, where there is one.
        created_at: of the job; now, where there is none.
    """
    outputs = {output.pop("component_id"): output for output in outputs_of(result["outputs"])}
    body = _body(flow_id, "completed", job_id, created_at)
    return body | {"session_id": result["session_id"], "outputs": outputs, "output": _answer(outputs, set(chosen))}


def failed_body(flow_id: object, error: DomainError) -> dict[str, Any]:
    """A run that failed while somebody waited."""
    details = {"flow_id": str(flow_id), "error_type": type(error).__name__}
    body = _body(flow_id, "failed", None, None)
    return body | {
        "errors": [{"error": error.message, "code": "EXECUTION_ERROR", "details": details}],
        "output": {"reason": "failed", "text": None, "source": None},
        "has_errors": True,
    }


def outputs_of(runs: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The outputs of a run, each with its ``component_id`` (``OutputEvent``)."""
    for one in runs:
        for output in one["outputs"]:
            for shown in list(output["outputs"].values())[:1]:
                yield {
                    "type": _TYPES.get(shown["type"], shown["type"]),
                    "status": "completed",
                    "display_name": output["component_display_name"],
                    "content": shown["message"],
                    # The ids that Langflow gives are the component's type, a dash and a few characters.
                    "metadata": {"component_type": output["component_id"].rpartition("-")[0] or None},
                    "component_id": output["component_id"],
                }


def timed_out(kind: str) -> bool:
    """Say whether a job failed for its time; 1.13 has a status of its own for that."""
    return kind == RunTimedOut.__name__


def _body(flow_id: object, status: str, job_id: object, created_at: datetime | None) -> dict[str, Any]:
    return {
        "flow_id": str(flow_id),
        "session_id": None,
        "job_id": None if job_id is None else str(job_id),
        "object": "response",
        "created_timestamp": (created_at or utc_now()).isoformat(),
        "status": status,
        "output": {"reason": "none", "text": None, "source": None},
        "errors": [],
        "warnings": [],
        "inputs": {},
        "globals": {},
        "outputs": {},
        "human_request": None,
        "has_errors": False,
    }


def _answer(outputs: Mapping[str, Mapping[str, Any]], chosen: set[str]) -> dict[str, Any]:
    """The one text of a run, or why there is none."""
    texts = {name: one["content"] for name, one in outputs.items()
             if one["type"] == "message" and (not chosen or name in chosen)}  # fmt: skip
    if len(texts) == 1:
        source, text = next(iter(texts.items()))
        return {"reason": "single", "text": text, "source": source}
    return {"reason": "multiple" if texts else "none", "text": None, "source": None}
