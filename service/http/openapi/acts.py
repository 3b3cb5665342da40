"""Operations that do something: sign in, run a flow, look after a job, say how the server is."""

from __future__ import annotations

from service.http.openapi.shapes import ANYTHING, NUMBER, TEXT, UUID, const, exactly, listed, ref
from service.http.openapi.table import NAME, Operation, to

#: What stops a run, whatever shape it is asked in: 400 a missing variable, 404 no such flow, 422 a flow or a body
#: that cannot be used, 429 and 503 too many runs, 500 a component's failure, 502 a provider's, 504 a timeout.
_RUN = (400, 404, 413, 415, 422, 500, 502, 503, 504)
_STREAMED = ("application/json", "text/event-stream", "application/x-ndjson")
_READY = exactly(status=TEXT, database=TEXT, migrations=TEXT, secret=TEXT)
_HEALTH = exactly(status=TEXT, chat=TEXT, db=TEXT)
_JOB = {"job_id": "$response.body#/id"}
_MODEL = exactly(id=TEXT, object=const("model"), created=NUMBER, owned_by=TEXT)

OPERATIONS: dict[str, Operation] = {
    "monitor.health": Operation(answers={200: exactly(status=const("ok"))}),
    "monitor.health_check": Operation(answers={200: _HEALTH, 503: exactly(detail=_HEALTH)}),
    "monitor.ready": Operation(answers={200: _READY, 503: exactly(detail=_READY)}),
    "monitor.version": Operation(answers={200: exactly(version=TEXT, main_version=TEXT, package=TEXT)}),
    "monitor.config": Operation(
        answers={200: {"type": "object", "required": ["type", "feature_flags", "max_file_size_upload"]}}
    ),
    "metrics.read": Operation((404,), answers={200: TEXT}, kinds=("text/plain",)),
    "auth.login": Operation((400, 401, 403, 413, 422, 429)),
    # 400 where a version before 1.6 is served.
    "auth.auto_login": Operation(
        answers={status: exactly(detail=exactly(message=TEXT, auto_login=const(False))) for status in (400, 403)}
    ),
    "auth.refresh": Operation((401, 403), cookies={"refresh_token_lf": TEXT}),
    "auth.logout": Operation((403,), answers={200: exactly(message=TEXT)}),
    "auth.session": Operation((429,)),
    "runs.run": Operation(
        _RUN,
        answers={200: ref("RunResult"), 202: ref("StartedJob")},
        kinds=_STREAMED,
        query={
            "stream": {"type": "boolean"},
            "background": {"type": "boolean"},
            "format": {"enum": ["sse", "ndjson"]},
        },
        path={"flow_id": NAME},
        shape="NotRunnable",
        location=True,
        links={"showJob": to("jobs.get", **_JOB), "cancelJob": to("jobs.cancel", **_JOB)},
    ),
    "runs.advanced": Operation(_RUN, answers={200: ref("RunResult")}, path={"flow_id": NAME}, shape="NotRunnable"),
    "runs.webhook": Operation(
        _RUN,
        answers={202: exactly(message=TEXT, status=const("in progress"))},
        path={"flow_id": NAME},
        body={"*/*": {"schema": ANYTHING}},
        body_required=True,
        shape="NotRunnable",
    ),
    "runs.process": Operation(answers={400: ref("Refusal")}, path={"flow_id": NAME}),
    "runs.predict": Operation(answers={400: ref("Refusal")}, path={"flow_id": NAME}),
    "jobs.list": Operation((422,)),
    "jobs.get": Operation((404, 422)),
    "jobs.cancel": Operation((404, 422)),
    "workflows.start": Operation(
        (*_RUN, 408),
        answers={200: {"type": "object", "required": ["flow_id", "object", "status", "errors"]}},
        kinds=("application/json", "text/event-stream"),
        shape="WorkflowRefusal",
    ),
    "workflows.status": Operation(
        (400, 404, 408, 422, 500),
        answers={200: {"type": "object", "required": ["flow_id", "object", "status", "errors"]}},
        query={"job_id": UUID},
        required_query=("job_id",),
        shape="WorkflowRefusal",
    ),
    "workflows.stop": Operation((404,), answers={200: exactly(job_id=UUID, message=TEXT)}, shape="WorkflowRefusal"),
    "openai.responses": Operation(
        _RUN,
        answers={200: {"type": "object", "required": ["id", "object", "created_at", "status", "model", "output"]}},
        kinds=("application/json", "text/event-stream"),
        shape="OpenAIError",
    ),
    "openai.chat_completions": Operation(
        _RUN,
        answers={200: {"type": "object", "required": ["id", "object", "created", "model", "choices", "usage"]}},
        kinds=("application/json", "text/event-stream"),
        shape="OpenAIError",
    ),
    "openai.models": Operation(
        answers={200: exactly(object=const("list"), data=listed(_MODEL))}, shape="OpenAIError"
    ),
    "openai.model": Operation((404,), answers={200: _MODEL}, path={"model_id": NAME}, shape="OpenAIError"),
}
