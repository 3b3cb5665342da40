"""`keyturn worker` as its operators start it, with a real RabbitMQ and a real Redis: nothing lost, nothing twice."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from amqp.exceptions import ChannelError
from celery import Celery
from flask import Flask
from kombu import Connection
from sqlalchemy import URL

from service.adapters.job_celery import application
from tests.conftest import SECRET
from tests.http.api.test_jobs import begin, ended, hold, text_in
from tests.http.api.test_runs import model_flow, store, with_credential
from tests.support.client import Api
from tests.support.gate import Gate
from tests.support.provider import Provider, serving
from tests.support.server import Process, run, running
from tests.support.waiting import until


@dataclass
class Place:
    """A server whose jobs go over a broker, and the workers of it."""

    url: URL
    broker: str
    queue: str
    folder: Path
    make_app: Callable[..., Flask]
    provider: Provider
    stack: ExitStack
    api: Api = field(init=False)

    def open(self, **changes: Any) -> Api:
        """Start the server's side; a flow with a model is there."""
        fields = {"broker_url": self.broker, "broker_queue": self.queue, "openai_base_url": self.provider.url}
        self.api = Api.of_superuser(self.make_app(self.url, **fields | changes))
        with_credential(self.api)
        store(self.api, model_flow())
        return self.api

    def worker(self, *options: str, **environment: str) -> Process:
        """Start a worker, and wait until it takes jobs."""
        made = self.stack.enter_context(
            running(["keyturn", "worker", *options], self.folder, **self.env(environment))
        )
        made.wait_for("ready")
        return made

    def env(self, more: dict[str, str]) -> dict[str, str]:
        return {
            "LANGFLOW_DATABASE_URL": self.url.render_as_string(hide_password=False),
            "LANGFLOW_CONFIG_DIR": str(self.folder),
            "LANGFLOW_SECRET_KEY": SECRET,
            "KEYTURN_BROKER_URL": self.broker,
            "KEYTURN_BROKER_QUEUE": self.queue,
            "KEYTURN_OPENAI_BASE_URL": self.provider.url,
        } | more

    def told(self) -> int:
        """How many messages the workers have not heard."""
        with Connection(self.broker) as connection:
            try:
                return int(connection.default_channel.queue_declare(self.queue, passive=True).message_count)
            except ChannelError:  # Redis has no empty lists
                return 0

    def celery(self) -> Celery:
        """Another publisher on the same queue."""
        return application(self.broker, self.queue)


@pytest.fixture(
    params=[pytest.param("rabbitmq on postgresql", marks=pytest.mark.postgresql), "redis on sqlite"],
)
def place(request: pytest.FixtureRequest, tmp_path: Path, make_app: Callable[..., Flask]) -> Iterator[Place]:
    on_rabbitmq = request.param.startswith("rabbitmq")
    broker = request.getfixturevalue("rabbitmq_url" if on_rabbitmq else "redis_broker_url")
    url = request.getfixturevalue("postgresql_url" if on_rabbitmq else "sqlite_url")
    queue = f"keyturn-test-{uuid.uuid4().hex}"
    with ExitStack() as stack:
        provider = stack.enter_context(serving())
        yield Place(url, broker, queue, tmp_path, make_app, provider, stack)
        provider.go_on.set()
    remove(broker, queue)


def remove(broker: str, queue: str) -> None:
    """Leave nothing behind."""
    with Connection(broker) as connection:
        connection.default_channel.queue_delete(queue)
        if broker.startswith("amqp"):
            connection.default_channel.exchange_delete(queue)


def test_a_worker_runs_what_the_server_was_asked_for(place: Place) -> None:
    api = place.open()
    place.worker()
    job = ended(api, begin(api))
    assert (job["status"], text_in(job), job["attempts"]) == ("done", "You said: hi", 1)
    place.provider.failures.append(400)
    failed = ended(api, begin(api))
    assert (failed["status"], failed["error"]["status"]) == ("failed", 502)
    assert [one["status"] for one in api.get("/jobs/").json["jobs"]] == ["failed", "done"]
    until(place.told, lambda count: count == 0)


def test_v2_workflows_go_to_the_worker_too(place: Place) -> None:
    api = place.open()
    place.worker()
    flow_id = api.get("/flows/").json[0]["id"]
    started = api.post("/api/v2/workflows", json={"flow_id": flow_id, "input_value": "hi", "mode": "background"}).json
    done = until(lambda: api.get(started["links"]["status"]).json, lambda body: body["status"] == "completed")
    assert done["output"]["text"] == "You said: hi"


def test_cancelling_on_the_server_stops_the_call_of_the_worker(place: Place) -> None:
    api = place.open()
    place.worker()
    hold(place.provider)
    job_id = begin(api)
    assert place.provider.arrived.wait(30)
    api.post(f"/jobs/{job_id}/cancel")
    assert place.provider.abandoned.wait(10)
    assert api.get(f"/jobs/{job_id}").json["status"] == "cancelled"


def test_a_job_of_a_killed_worker_fails_with_the_reason(place: Place) -> None:
    api = place.open(job_lost_seconds=3)
    worker = place.worker(KEYTURN_JOB_LOST_SECONDS="3")
    hold(place.provider)
    job_id = begin(api)
    assert place.provider.arrived.wait(30)
    worker.kill()
    job = ended(api, job_id)
    assert (job["status"], job["attempts"]) == ("failed", 1)
    assert "no sign of life" in job["error"]["message"]


def test_a_job_of_a_killed_worker_is_tried_again_where_the_operator_allows_it(place: Place) -> None:
    api = place.open(job_lost_seconds=3, job_attempts=2)
    environment = {"KEYTURN_JOB_LOST_SECONDS": "3", "KEYTURN_JOB_ATTEMPTS": "2"}
    first = place.worker(**environment)
    hold(place.provider)
    job_id = begin(api)
    assert place.provider.arrived.wait(30)
    first.kill()
    place.provider.go_on.set()
    place.worker(**environment)
    job = ended(api, job_id)
    assert (job["status"], job["attempts"], text_in(job)) == ("done", 2, "You said: hi")


def test_a_message_that_comes_twice_runs_once(place: Place) -> None:
    api = place.open()
    place.worker()
    hold(place.provider)
    job_id = begin(api)
    assert place.provider.arrived.wait(30)
    with place.celery() as other:
        for _ in range(5):
            other.send_task("keyturn.run", args=[job_id])
        other.send_task("keyturn.run", args=["no id"])
        other.send_task("keyturn.run", args=[str(uuid.uuid4())])
    until(place.told, lambda count: count == 0)
    assert ended(api, begin(api))["status"] == "done"
    place.provider.go_on.set()
    assert ended(api, job_id)["attempts"] == 1
    assert len(place.provider.requests) == 2


def test_a_stopped_worker_finishes_what_runs_and_leaves_the_rest(place: Place) -> None:
    api = place.open()
    worker = place.worker("--concurrency", "1")
    hold(place.provider)
    running_job = begin(api)
    assert place.provider.arrived.wait(30)
    waiting_job = begin(api)
    worker.ask_to_stop()
    worker.wait_for("stopping")
    place.provider.go_on.set()
    assert worker.stop() == 0
    assert ended(api, running_job)["status"] == "done"
    assert api.get(f"/jobs/{waiting_job}").json["status"] == "queued"
    place.worker()
    assert ended(api, waiting_job)["status"] == "done"


def test_a_stopped_worker_gives_back_what_takes_too_long(place: Place) -> None:
    api = place.open(job_attempts=2)
    worker = place.worker("--grace", "0", KEYTURN_JOB_ATTEMPTS="2")
    hold(place.provider)
    job_id = begin(api)
    assert place.provider.arrived.wait(30)
    assert worker.stop() == 0
    assert place.provider.abandoned.wait(10)
    assert api.get(f"/jobs/{job_id}").json["status"] == "queued"


@contextmanager
def gate(broker: str) -> Iterator[tuple[Gate, str]]:
    with Connection(broker) as connection:
        target = (connection.hostname, connection.port or (5672 if broker.startswith("amqp") else 6379))
    made = Gate(target)
    try:
        yield made, broker.replace(f"{target[0]}:{target[1]}", f"127.0.0.1:{made.port}")
    finally:
        made.close()


def test_while_the_broker_is_away_jobs_are_accepted_and_run_and_afterwards_too(place: Place) -> None:
    with gate(place.broker) as (door, through):
        api = place.open(broker_url=through)
        worker = place.worker(KEYTURN_BROKER_URL=through)
        hold(place.provider)
        held = begin(api)
        assert place.provider.arrived.wait(30)
        door.shut()
        meanwhile = begin(api)
        assert ended(api, meanwhile)["status"] == "done"
        place.provider.go_on.set()
        assert ended(api, held)["attempts"] == 1
        door.open()
        assert ended(api, begin(api))["status"] == "done"
        until(place.told, lambda count: count == 0, seconds=60)
        assert worker.stop() == 0
        close(api)


def test_a_worker_that_starts_while_the_broker_is_away_finds_jobs_by_itself(place: Place) -> None:
    with gate(place.broker) as (door, through):
        door.shut()
        api = place.open(broker_url=through)
        job_id = begin(api)
        command, own = ["keyturn", "worker"], place.env({"KEYTURN_BROKER_URL": through})
        with running(command, place.folder, **own):
            job = until(lambda: api.get(f"/jobs/{job_id}").json, lambda one: one["status"] != "queued", seconds=60)
            assert job["status"] in {"running", "done"}
        close(api)


def test_a_worker_stops_while_the_broker_is_away(place: Place) -> None:
    with gate(place.broker) as (door, through):
        place.open()
        worker = place.worker(KEYTURN_BROKER_URL=through)
        door.shut()
        worker.stop()


def close(api: Api) -> None:
    """Close the server's side before the way to the broker is gone."""
    api.app.extensions["keyturn"].jobs.close()


def test_no_secret_is_in_what_the_broker_is_told(place: Place, redis_broker_url: str) -> None:
    if place.broker != redis_broker_url:
        pytest.skip("RabbitMQ's messages are the same, and cannot be looked at without taking them")
    import redis

    api = place.open()
    headers = {"X-LANGFLOW-GLOBAL-VAR-OPENAI_API_KEY": "sk-secret-of-a-header"}
    job_id = api.post("/run/flow?background=true", json={"input_value": "a-question"}, headers=headers).json["id"]
    client = redis.Redis.from_url(place.broker)
    told = until(lambda: client.lrange(place.queue, 0, -1))
    client.close()
    assert len(told) == 1
    assert b"secret" not in told[0]
    assert job_id.encode() in told[0]


def test_a_job_that_nobody_was_told_of_is_found_all_the_same(place: Place) -> None:
    elsewhere = f"{place.queue}-elsewhere"
    api = place.open(broker_queue=elsewhere)
    place.worker()
    assert ended(api, begin(api))["status"] == "done"
    close(api)
    remove(place.broker, elsewhere)


def test_without_a_broker_a_worker_says_in_one_line_what_to_set(tmp_path: Path) -> None:
    ended_at_once = run(["keyturn", "worker"], tmp_path, LANGFLOW_CONFIG_DIR=str(tmp_path))
    assert ended_at_once.returncode == 3
    assert ended_at_once.stderr.count("\n") == 1
    assert "KEYTURN_BROKER_URL" in ended_at_once.stderr


@pytest.mark.parametrize("command", ["worker", "run"])
def test_a_broker_of_another_kind_stops_the_start_in_one_line(tmp_path: Path, command: str) -> None:
    url = "kafka://user:a-password@127.0.0.1"
    stopped = run(["keyturn", command], tmp_path, LANGFLOW_CONFIG_DIR=str(tmp_path), KEYTURN_BROKER_URL=url)
    assert (stopped.returncode, stopped.stderr.count("\n")) == (3, 1)
    assert "KEYTURN_BROKER_URL is not a URL such as amqp://" in stopped.stderr
    assert "a-password" not in stopped.stderr


def test_a_worker_refuses_an_old_schema_like_the_server(tmp_path: Path, redis_broker_url: str) -> None:
    stopped = run(
        ["keyturn", "worker"], tmp_path, LANGFLOW_CONFIG_DIR=str(tmp_path), KEYTURN_BROKER_URL=redis_broker_url,
        KEYTURN_AUTO_MIGRATE="false",
    )  # fmt: skip
    assert stopped.returncode == 3
    assert "keyturn db upgrade" in stopped.stderr
