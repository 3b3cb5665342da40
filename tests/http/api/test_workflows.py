"""Langflow's v2 workflow calls, in the shapes of 1.13."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.http.api.test_jobs import hold
from tests.http.api.test_runs import model_flow, store, with_credential
from tests.support import flows
from tests.support.client import Api
from tests.support.provider import Provider
from tests.support.waiting import until

PATH = "/api/v2/workflows"
#: The fields of lfx 1.13's WorkflowExecutionResponse and WorkflowJobResponse.
RESPONSE = {
    "flow_id", "session_id", "job_id", "object", "created_timestamp", "status", "output", "errors", "warnings",
    "inputs", "globals", "outputs", "human_request", "has_errors",
}  # fmt: skip
JOB = {"job_id", "flow_id", "object", "created_timestamp", "status", "links", "errors", "globals"}


@pytest.fixture
def flow_id(lite_caller: Api) -> str:
    with_credential(lite_caller)
    return store(lite_caller, model_flow())


def start(api: Api, flow_id: str, **body: Any) -> Any:
    return api.post(PATH, json={"flow_id": flow_id, "input_value": "hi", **body})


def status(api: Api, job_id: str) -> Any:
    return api.get(f"{PATH}?job_id={job_id}")


def test_a_run_while_one_waits_has_one_answer_and_its_outputs(lite_caller: Api, flow_id: str) -> None:
    answer = start(lite_caller, flow_id, session_id="s")
    assert (answer.status_code, set(answer.json)) == (200, RESPONSE)
    assert answer.json["output"] == {"reason": "single", "text": "You said: hi", "source": "ChatOutput-probe"}
    assert answer.json["outputs"] == {
        "ChatOutput-probe": {
            "type": "message", "status": "completed", "display_name": "Chat Output", "content": "You said: hi",
            "metadata": {"component_type": "ChatOutput"},
        }
    }  # fmt: skip
    assert (answer.json["status"], answer.json["session_id"], answer.json["object"]) == ("completed", "s", "response")


def test_a_run_that_fails_while_one_waits_says_so_in_its_answer(
    lite_caller: Api, flow_id: str, provider: Provider
) -> None:
    provider.failures.append(400)
    answer = start(lite_caller, flow_id)
    assert (answer.status_code, answer.json["status"], answer.json["has_errors"]) == (200, "failed", True)
    assert answer.json["errors"][0]["code"] == "EXECUTION_ERROR"
    assert answer.json["output"]["reason"] == "failed"


def test_two_outputs_are_no_single_answer_unless_one_is_chosen(lite_caller: Api) -> None:
    begin, one, two = flows.chat_input(), flows.chat_output("ChatOutput-1"), flows.chat_output("ChatOutput-2")
    edges = [flows.edge(begin, "message", end, "input_value") for end in (one, two)]
    flow_id = store(lite_caller, flows.flow([begin, one, two], edges))
    assert start(lite_caller, flow_id).json["output"]["reason"] == "multiple"
    chosen = start(lite_caller, flow_id, output_ids=["ChatOutput-2"]).json
    assert chosen["output"] == {"reason": "single", "text": "hi", "source": "ChatOutput-2"}
    assert set(chosen["outputs"]) == {"ChatOutput-1", "ChatOutput-2"}


def test_a_stream_is_sse_with_an_output_for_each_component_and_an_end(lite_caller: Api, flow_id: str) -> None:
    answer = start(lite_caller, flow_id, mode="stream")
    assert answer.mimetype == "text/event-stream"
    frames = [frame for frame in answer.text.split("\n\n") if frame]
    assert all(frame.startswith("data: ") for frame in frames)
    events = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    assert events[-1] == {"event": "end", "data": {}}
    assert events[-2]["event"] == "output"
    assert (events[-2]["data"]["component_id"], events[-2]["data"]["content"]) == ("ChatOutput-probe", "You said: hi")
    assert {"add_message", "token"} <= {event["event"] for event in events}


def test_a_run_in_the_background_is_a_job_until_it_is_done(
    lite_caller: Api, flow_id: str, provider: Provider
) -> None:
    hold(provider)
    started = start(lite_caller, flow_id, mode="background")
    assert (started.status_code, set(started.json), started.json["status"]) == (200, JOB, "queued")
    job_id = started.json["job_id"]
    assert provider.arrived.wait(20)
    running = status(lite_caller, job_id)
    assert (set(running.json), running.json["status"], running.json["object"]) == (JOB, "in_progress", "job")
    provider.go_on.set()
    done = until(lambda: status(lite_caller, job_id).json, lambda body: body["status"] == "completed")
    assert set(done) == RESPONSE
    assert (done["job_id"], done["output"]["text"]) == (job_id, "You said: hi")


def test_a_job_that_failed_is_500_with_the_reason(lite_caller: Api, flow_id: str, provider: Provider) -> None:
    provider.failures.append(400)
    job_id = start(lite_caller, flow_id, mode="background").json["job_id"]
    failed = until(lambda: status(lite_caller, job_id), lambda answer: answer.status_code != 200)
    assert (failed.status_code, failed.json["detail"]["code"]) == (500, "JOB_FAILED")
    assert failed.json["detail"]["error_detail"]["status"] == 502


def test_a_stop_ends_a_job_once(lite_caller: Api, flow_id: str, provider: Provider) -> None:
    hold(provider)
    job_id = start(lite_caller, flow_id, mode="background").json["job_id"]
    assert provider.arrived.wait(20)
    answers = [lite_caller.post(f"{PATH}/stop", json={"job_id": job_id}).json for _ in range(2)]
    assert [answer["message"] for answer in answers] == [
        f"Job {job_id} cancelled successfully.", f"Job {job_id} is already cancelled.",
    ]  # fmt: skip
    assert status(lite_caller, job_id).json["status"] == "cancelled"
    assert provider.abandoned.wait(10)


def test_a_stop_leaves_what_is_done(lite_caller: Api, flow_id: str) -> None:
    job_id = start(lite_caller, flow_id, mode="background").json["job_id"]
    until(lambda: status(lite_caller, job_id).json["status"], lambda word: word == "completed")
    answer = lite_caller.post(f"{PATH}/stop", json={"job_id": job_id})
    assert answer.json["message"] == f"Job {job_id} already finished (completed)."


def test_one_idempotency_key_starts_one_job(lite_caller: Api, flow_id: str, provider: Provider) -> None:
    body = {"mode": "background", "idempotency_key": "once"}
    made = {start(lite_caller, flow_id, **body).json["job_id"] for _ in range(3)}
    assert len(made) == 1
    until(lambda: status(lite_caller, *made).json["status"], lambda word: word == "completed")
    assert len(provider.requests) == 1
    assert start(lite_caller, store(lite_caller, flows.echo(), "other"), **body).status_code == 409


def test_variables_of_the_body_win_over_headers_and_are_not_sent_back(
    lite_caller: Api, flow_id: str, provider: Provider
) -> None:
    headers = {"X-LANGFLOW-GLOBAL-VAR-OPENAI_API_KEY": "sk-of-the-header"}
    body = {"flow_id": flow_id, "globals": {"OPENAI_API_KEY": "sk-of-the-body"}}
    answer = lite_caller.post(PATH, json=body, headers=headers)
    assert provider.last.headers["authorization"] == "Bearer sk-of-the-body"
    assert "sk-of-the-body" not in answer.text


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"stream_protocol": "agui", "mode": "stream"}, "UNKNOWN_STREAM_PROTOCOL"),
        ({"data": {"nodes": [], "edges": []}}, "SYNC_MODE_UNSUPPORTED_FIELDS"),
        ({"mode": "background", "data": {"nodes": [], "edges": []}}, "MODE_UNSUPPORTED_FIELDS"),
        ({"mode": "stream", "output_ids": ["x"]}, "MODE_UNSUPPORTED_FIELDS"),
    ],
)
def test_what_is_not_served_is_refused_by_name(
    lite_caller: Api, flow_id: str, more: dict[str, Any], code: str
) -> None:
    answer = start(lite_caller, flow_id, **more)
    assert (answer.status_code, answer.json["detail"]["code"]) == (422, code)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"flow_id": "x"}, "flow_id"),
        ({"mode": "later"}, "mode"),
        ({"unknown": 1}, "unknown"),
        ({"tweaks": 1}, "tweaks"),
    ],
)
def test_a_wrong_body_names_the_field(lite_caller: Api, flow_id: str, body: dict[str, Any], place: str) -> None:
    answer = lite_caller.post(PATH, json={"flow_id": flow_id} | body)
    assert (answer.status_code, answer.json["detail"][0]["loc"]) == (422, ["body", place])


def test_a_missing_flow_and_a_missing_job_are_told_in_1_13s_words(lite_caller: Api) -> None:
    missing = str(uuid.uuid4())
    assert start(lite_caller, missing).json["detail"] == {
        "error": "Flow not found", "code": "FLOW_NOT_FOUND", "flow_id": missing,
        "message": f"Flow '{missing}' does not exist. Verify the flow_id and try again.",
    }  # fmt: skip
    assert status(lite_caller, missing).json["detail"] == {
        "error": "Workflow job not found", "code": "JOB_NOT_FOUND", "job_id": missing,
        "message": f"Workflow job {missing} not found",
    }  # fmt: skip
    assert lite_caller.get(PATH).json["detail"]["code"] == "MISSING_PARAMETER"


def test_a_job_of_run_is_seen_here_too(lite_caller: Api, flow_id: str) -> None:
    job_id = lite_caller.post("/run/flow?background=true", json={"input_value": "hi"}).json["id"]
    done = until(lambda: status(lite_caller, job_id).json, lambda body: body["status"] == "completed")
    assert done["output"]["text"] == "You said: hi"
