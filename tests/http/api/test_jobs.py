"""Runs in the background, in threads of the server, on either database."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL, select
from sqlalchemy.orm import Session

from service.storage import Job
from tests.http.api.test_runs import CREDENTIAL, model_flow, store, text_of, with_credential
from tests.support import flows
from tests.support.client import Api
from tests.support.provider import Provider
from tests.support.waiting import until

SECRET_OF_A_HEADER = "sk-secret-of-a-header"


def begin(api: Api, name: str = "flow", **body: Any) -> str:
    answer = api.post(f"/run/{name}", json={"input_value": "hi", "background": True, **body})
    assert answer.status_code == 202, answer.json
    return answer.json["id"]


def ended(api: Api, job_id: str) -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        return api.get(f"/jobs/{job_id}").json

    return until(ask, lambda job: job["status"] not in {"queued", "running"})


def hold(provider: Provider, times: int = 1) -> None:
    provider.go_on.clear()
    provider.failures.extend(["hold"] * times)


def text_in(job: dict[str, Any]) -> str:
    return job["result"]["outputs"][0]["outputs"][0]["results"]["message"]["text"]


@pytest.fixture
def ready(caller: Api) -> Api:
    with_credential(caller)
    store(caller, model_flow())
    return caller


@pytest.fixture
def lite_ready(lite_caller: Api) -> Api:
    with_credential(lite_caller)
    store(lite_caller, model_flow())
    return lite_caller


def row_of(api: Api, job_id: str) -> Job:
    with Session(api.app.extensions["keyturn"].engine) as session:
        job = session.scalars(select(Job).where(Job.id == uuid.UUID(job_id))).one()
        _ = job.request, job.result
        return job


def test_a_run_in_the_background_is_answered_with_its_address_and_leaves_what_run_would_answer(ready: Api) -> None:
    answer = ready.post("/run/flow?background=true", json={"input_value": "hi"})
    assert answer.status_code == 202
    assert answer.headers["Location"] == answer.json["links"]["job"] == f"/api/v1/jobs/{answer.json['id']}"
    job = ended(ready, answer.json["id"])
    assert (job["status"], text_in(job), job["attempts"]) == ("done", "You said: hi", 1)
    assert job["result"].keys() == ready.post("/run/flow", json={"input_value": "hi"}).json.keys()


def test_a_failure_is_told_in_the_words_of_run(ready: Api, provider: Provider) -> None:
    provider.failures.extend([400, 400])
    waited = ready.post("/run/flow", json={"input_value": "hi"})
    job = ended(ready, begin(ready))
    assert (job["status"], job["result"]) == ("failed", None)
    assert job["error"]["status"] == waited.status_code == 502
    assert job["error"]["message"] in waited.json["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("nothing", {}, 404), ("flow", {"session_id": 7}, 422), ("flow", {"background": "yes"}, 422)],
)
def test_what_can_be_told_before_a_run_is_told_at_once(
    lite_ready: Api, path: str, body: dict[str, Any], status: int
) -> None:
    answer = lite_ready.post(f"/run/{path}?background=true", json=body)
    assert answer.status_code == status
    assert lite_ready.get("/jobs/").json["jobs"] == []


@pytest.mark.parametrize("depth", [250, 800])
def test_tweaks_that_are_nested_deeper_than_a_flow_may_be_are_not_kept_for_later(lite_ready: Api, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    body = f'{{"background": true, "tweaks": {{"x": {nested}}}}}'
    answer = lite_ready.post("/run/flow", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["detail"][0]["loc"]) == (422, ["body", "tweaks"])


def test_a_refused_tweak_is_told_at_once(lite_ready: Api) -> None:
    body = {"background": True, "tweaks": {"LanguageModelComponent-a": {"code": "print()"}}}
    assert lite_ready.post("/run/flow", json=body).json["detail"]["code"] == "TWEAKS_REFUSED"


def test_a_run_is_either_streamed_or_in_the_background(lite_ready: Api) -> None:
    assert lite_ready.post("/run/flow?stream=true&background=true", json={}).status_code == 422


def test_secrets_of_a_request_are_encrypted_while_it_runs_and_gone_when_it_has_ended(
    ready: Api, provider: Provider
) -> None:
    hold(provider)
    body = {"input_value": "a-private-question", "tweaks": {"LanguageModelComponent-a": {"max_tokens": 7}}}
    headers = {"X-LANGFLOW-GLOBAL-VAR-OPENAI_API_KEY": SECRET_OF_A_HEADER}
    job_id = ready.post("/run/flow?background=true", json=body, headers=headers).json["id"]
    assert provider.arrived.wait(20)
    stored = row_of(ready, job_id).request
    assert stored.startswith("kt1:")
    assert [text for text in (SECRET_OF_A_HEADER, "a-private-question", "max_tokens") if text in stored] == []
    provider.go_on.set()
    assert ended(ready, job_id)["status"] == "done"
    assert row_of(ready, job_id).request is None
    assert provider.last.headers["authorization"] == f"Bearer {SECRET_OF_A_HEADER}"


def test_cancelling_stops_the_providers_call(ready: Api, provider: Provider) -> None:
    hold(provider)
    job_id = begin(ready)
    assert provider.arrived.wait(20)
    cancelled = ready.post(f"/jobs/{job_id}/cancel")
    assert (cancelled.status_code, cancelled.json["status"]) == (200, "cancelled")
    assert provider.abandoned.wait(10), "the provider's call goes on"
    provider.go_on.set()
    assert ready.get(f"/jobs/{job_id}").json["status"] == "cancelled"


def test_cancelling_on_one_server_stops_a_run_on_another(
    make_app: Callable[..., Flask], database_url: URL, provider: Provider
) -> None:
    here = Api.of_superuser(make_app(database_url, openai_base_url=provider.url))
    there = Api(make_app(database_url, openai_base_url=provider.url), here.key, here.user_id)
    with_credential(here)
    store(here, model_flow())
    hold(provider)
    job_id = begin(here)
    assert provider.arrived.wait(20)
    assert there.post(f"/jobs/{job_id}/cancel").json["status"] == "cancelled"
    assert provider.abandoned.wait(10)


def test_a_job_that_has_ended_is_not_cancelled_any_more(lite_ready: Api) -> None:
    job_id = begin(lite_ready)
    assert ended(lite_ready, job_id)["status"] == "done"
    assert lite_ready.post(f"/jobs/{job_id}/cancel").json["status"] == "done"


def test_what_finds_no_thread_waits_and_runs_later(
    make_app: Callable[..., Flask], database_url: URL, provider: Provider
) -> None:
    api = Api.of_superuser(make_app(database_url, openai_base_url=provider.url, job_concurrency=1))
    with_credential(api)
    store(api, model_flow())
    hold(provider)
    made = [begin(api) for _ in range(3)]
    assert provider.arrived.wait(20)
    assert sorted(job["status"] for job in api.get("/jobs/").json["jobs"]) == ["queued", "queued", "running"]
    provider.go_on.set()
    assert [ended(api, job_id)["status"] for job_id in made] == ["done"] * 3


def test_jobs_are_listed_the_newest_first_in_pages(ready: Api) -> None:
    made = [begin(ready, session_id=str(number)) for number in range(3)]
    first = ready.get("/jobs/?limit=2").json
    second = ready.get(f"/jobs/?limit=2&cursor={first['next_cursor']}").json
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == made[::-1]
    assert second["next_cursor"] is None
    assert "result" not in first["jobs"][0]


def test_another_users_job_is_answered_like_one_that_never_existed(lite_ready: Api) -> None:
    job_id, other = begin(lite_ready), lite_ready.new_user("somebody")
    for method, path in (("GET", "/jobs/{}"), ("POST", "/jobs/{}/cancel")):
        theirs, missing = (other.open(method, path.format(one)) for one in (job_id, uuid.uuid4()))
        assert theirs.status_code == missing.status_code == 404
        assert theirs.json == missing.json
    assert other.get("/jobs/").json["jobs"] == []


def limited(api: Api, **rights: Any) -> Api:
    made = api.post("/api_key/", json={"name": "limited", **rights})
    return Api(api.app, made.json["api_key"], api.user_id)


def test_a_key_for_some_flows_starts_and_sees_jobs_of_those_alone(lite_ready: Api) -> None:
    other_flow = store(lite_ready, flows.echo(), "other")
    job_id, key = begin(lite_ready), limited(lite_ready, flows=[other_flow])
    assert key.post("/run/flow?background=true", json={}).status_code == 404
    assert key.get(f"/jobs/{job_id}").status_code == 404
    own = begin(key, "other")
    assert [job["id"] for job in key.get("/jobs/").json["jobs"]] == [own]


def test_a_key_that_may_run_and_not_read_sees_what_it_has_started_alone(lite_ready: Api) -> None:
    foreign, key = begin(lite_ready), limited(lite_ready, scopes=["run"])
    own = begin(key)
    assert key.get(f"/jobs/{foreign}").status_code == 404
    assert key.post(f"/jobs/{foreign}/cancel").status_code == 404
    assert ended(key, own)["status"] == "done"


def test_a_key_with_a_limit_on_runs_is_told_so_at_once(ready: Api, provider: Provider) -> None:
    key = limited(ready, max_parallel_runs=1)
    hold(provider)
    job_id = begin(key)
    assert provider.arrived.wait(20)
    refused = [key.post("/run/flow", json={"input_value": "x"}), key.post("/run/flow?background=true", json={})]
    assert [answer.status_code for answer in refused] == [429, 429]
    provider.go_on.set()
    assert ended(key, job_id)["status"] == "done"
    assert until(lambda: key.post("/run/flow", json={"input_value": "x"}), lambda answer: answer.status_code == 200)


ENDS: dict[str, dict[str, Any]] = {
    "revoked": {}, "deactivated": {}, "no scopes": {"scopes": []}, "another scope": {"scopes": ["manage"]},
    "no networks": {"networks": []},
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_a_job_does_not_begin_once_its_key_or_owner_may_not_run_it_any_more(
    make_app: Callable[..., Flask], database_url: URL, provider: Provider, end: str
) -> None:
    chief = Api.of_superuser(make_app(database_url, openai_base_url=provider.url, job_concurrency=1))
    user = chief.new_user("somebody")
    with_credential(user)
    store(user, model_flow())
    key = limited(user)
    hold(provider)
    begin(user)
    assert provider.arrived.wait(20)
    waiting = begin(key)
    own = next(one for one in user.get("/api_key/").json["api_keys"] if one["name"] == "limited")
    changed = {
        "revoked": lambda: user.delete(f"/api_key/{own['id']}"),
        "deactivated": lambda: chief.patch(f"/users/{user.user_id}", json={"is_active": False}),
    }.get(end, lambda: user.patch(f"/api_key/{own['id']}", json=ENDS[end]))()
    assert changed.status_code == 200, changed.json
    provider.go_on.set()
    job = until(lambda: row_of(chief, waiting), lambda row: row.status not in {"queued", "running"})
    assert (job.status, job.error["kind"]) == ("failed", "Forbidden")
    assert len(provider.requests) == 1


def test_more_jobs_than_may_wait_are_refused_with_a_time_to_try_again(
    make_app: Callable[..., Flask], database_url: URL, provider: Provider
) -> None:
    api = Api.of_superuser(make_app(database_url, openai_base_url=provider.url, job_max_waiting=1))
    with_credential(api)
    store(api, model_flow())
    hold(provider)
    begin(api)
    refused = api.post("/run/flow?background=true", json={})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    provider.go_on.set()


def test_a_result_that_is_too_large_is_not_kept(
    make_app: Callable[..., Flask], database_url: URL, provider: Provider
) -> None:
    api = Api.of_superuser(make_app(database_url, openai_base_url=provider.url, job_max_result_bytes=100))
    store(api, flows.echo())
    job = ended(api, begin(api))
    assert (job["status"], job["error"]["status"]) == ("failed", 422)
    assert "100 bytes" in job["error"]["message"]


def test_a_deleted_flow_ends_its_run(ready: Api, provider: Provider) -> None:
    hold(provider)
    job_id = begin(ready)
    assert provider.arrived.wait(20)
    flow_id = ready.get(f"/jobs/{job_id}").json["flow_id"]
    assert ready.delete(f"/flows/{flow_id}").status_code == 200
    assert provider.abandoned.wait(10)
    assert ready.get(f"/jobs/{job_id}").status_code == 404


def test_a_webhook_is_a_job_too(ready: Api) -> None:
    assert ready.post("/webhook/flow", json={"a": 1}).json["message"] == "Task started in the background"
    listed = until(lambda: ready.get("/jobs/").json["jobs"], lambda jobs: jobs[0]["status"] == "done")
    assert len(listed) == 1


def test_webhooks_of_a_flow_share_the_flows_session_as_runs_without_one_do(ready: Api) -> None:
    flow_id = store(ready, flows.echo(), "hook")
    for _ in range(2):
        assert ready.post("/webhook/hook", json={"a": 1}).status_code == 202
    until(lambda: ready.get("/jobs/?status=done").json["jobs"], lambda jobs: len(jobs) == 2)
    ready.post("/run/hook", json={"input_value": "hi"})
    until(lambda: ready.get("/monitor/messages").json, lambda messages: len(messages) == 6)
    assert ready.get("/monitor/messages/sessions").json == [flow_id]


def test_a_stopped_server_gives_back_what_runs(
    make_app: Callable[..., Flask], database_url: URL, provider: Provider
) -> None:
    app = make_app(database_url, openai_base_url=provider.url, job_attempts=2)
    api = Api.of_superuser(app)
    with_credential(api)
    store(api, model_flow())
    hold(provider)
    job_id = begin(api)
    assert provider.arrived.wait(20)
    carrier = app.extensions["keyturn"].jobs.carrier
    carrier._grace = 0.0  # the operator's patience is at its end
    carrier.close()
    assert provider.abandoned.wait(10)
    assert row_of(api, job_id).status == "queued"
    provider.go_on.set()
    again = Api(make_app(database_url, openai_base_url=provider.url, job_attempts=2), api.key, api.user_id)
    job = ended(again, job_id)
    assert (job["status"], job["attempts"], text_in(job)) == ("done", 2, "You said: hi")


def test_run_without_background_leaves_no_job(lite_ready: Api) -> None:
    assert text_of(lite_ready.post("/run/flow", json={"input_value": "hi"})) == "You said: hi"
    assert lite_ready.get("/jobs/").json["jobs"] == []
    assert CREDENTIAL not in lite_ready.get("/jobs/").text
