"""Numbers for Prometheus: what is counted, who reads it, and that no label holds what a caller sent."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import URL

from service.metrics import OTHER, Board, Meter
from tests.http.api.conftest import provider  # noqa: F401 - a fixture
from tests.http.api.test_runs import model_flow, store, with_credential
from tests.support import flows
from tests.support.client import Api
from tests.support.prometheus import samples, value
from tests.support.provider import Provider
from tests.support.waiting import until

CANARY = "sk-" + "canary7" * 7


@pytest.fixture
def api(lite: Flask) -> Api:
    return Api.of_superuser(lite)


def read(api: Api) -> str:
    answer = api.app.test_client().get("/metrics", headers={"x-api-key": str(api.key)})
    assert answer.status_code == 200, answer.text
    return answer.text


def status(api: Api) -> int:
    return api.app.test_client().get("/metrics", headers={"x-api-key": str(api.key)}).status_code


def counted(api: Api, **labels: str) -> float:
    return value(read(api), "keyturn_requests_total", **labels)


def test_it_is_prometheuss_text_format(api: Api) -> None:
    answer = api.app.test_client().get("/metrics", headers={"x-api-key": str(api.key)})
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(answer.text)


def test_answers_are_counted_by_endpoint_method_and_class_of_status(api: Api) -> None:
    for path in ("/users/whoami", "/users/whoami", f"/flows/{api.user_id}"):
        api.get(path)
    Api(api.app, None, "").get("/users/whoami")
    assert counted(api, endpoint="users.whoami", method="GET", status="2xx") == 2
    assert counted(api, endpoint="users.whoami", method="GET", status="4xx") == 1
    assert counted(api, endpoint="flows.get", method="GET", status="4xx") == 1


def test_a_failure_of_the_server_is_counted(api: Api) -> None:
    def break_down() -> None:
        raise RuntimeError("provoked")

    api.app.view_functions["monitor.version"] = break_down
    api.get("/version")
    assert counted(api, endpoint="monitor.version", status="5xx") == 1


def test_durations_are_counted_in_classes_that_contain_the_smaller_ones(api: Api) -> None:
    for _ in range(3):
        api.get("/users/whoami")
    text = read(api)
    classes = [number for (name, labels), number in samples(text).items()
               if name == "keyturn_request_seconds_bucket" and ("endpoint", "users.whoami") in labels]  # fmt: skip
    assert classes == sorted(classes)
    assert classes[-1] == value(text, "keyturn_request_seconds_count", endpoint="users.whoami") == 3
    assert value(text, "keyturn_request_seconds_sum", endpoint="users.whoami") > 0


def test_nothing_that_a_caller_sends_makes_a_new_series(api: Api) -> None:
    read(api)  # the second reading shows the first
    before = set(samples(read(api)))
    client = api.app.test_client()
    for number in range(50):
        client.get(f"/{CANARY}/{number}", headers={"X-Forwarded-Host": CANARY, "User-Agent": CANARY})
        client.open(f"/{number}", method=f"CANARY{number}")
    after = read(api)
    new = set(samples(after)) - before
    assert {dict(labels)["endpoint"] for _, labels in new} == {OTHER}
    assert {dict(labels)["method"] for _, labels in new} == {"GET", OTHER}
    assert "canary" not in after.lower()


def test_runs_are_counted_by_their_outcome(api: Api) -> None:
    api.post("/flows/", json={"name": "echo", "endpoint_name": "echo", "data": flows.echo()})
    assert api.post("/run/echo", json={"input_value": "hi"}).status_code == 200
    assert value(read(api), "keyturn_runs_total", outcome="done") == 1
    assert value(read(api), "keyturn_runs_total", outcome="failed") == 0


@pytest.fixture
def streaming(make_app: Callable[..., Flask], sqlite_url: URL, provider: Provider) -> Iterator[Api]:  # noqa: F811
    api = Api.of_superuser(make_app(sqlite_url, openai_base_url=provider.url, heartbeat_seconds=0.05))
    with_credential(api)
    store(api, model_flow())
    yield api
    provider.go_on.set()


def test_a_stream_is_open_until_it_ends(streaming: Api) -> None:
    answer = streaming.post("/run/flow?stream=true", json={"input_value": "hi"}, buffered=False)
    assert value(read(streaming), "keyturn_streams_open") == 1
    assert answer.get_data()
    answer.close()
    until(lambda: value(read(streaming), "keyturn_streams_open"), lambda number: number == 0)


def test_jobs_that_wait_or_run_are_counted(api: Api) -> None:
    text = read(api)
    assert [value(text, "keyturn_jobs", status=status) for status in ("queued", "running")] == [0, 0]
    assert "keyturn_jobs" in text


def test_a_connection_is_in_use_while_it_is_taken(app: Flask) -> None:
    api, engine = Api.of_superuser(app), app.extensions["keyturn"].engine
    before = value(read(api), "keyturn_database_connections_in_use")
    with engine.connect():
        during = value(read(api), "keyturn_database_connections_in_use")
    assert during - before == 1
    assert value(read(api), "keyturn_database_connections_in_use") == before


def test_refusals_for_too_many_requests_are_counted(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    app = make_app(sqlite_url, rate_limit_enabled=True, bad_keys_per_minute=1)
    api = Api.of_superuser(app)
    for _ in range(3):
        Api(app, CANARY, "").get("/users/whoami")
    assert value(read(api), "keyturn_rate_limited_total") == 2


@pytest.mark.parametrize(
    "name", ["keyturn_process_resident_memory_bytes", "keyturn_process_cpu_seconds_total", "keyturn_process_open_fds",
             "keyturn_workers", "keyturn_build_info"],
)  # fmt: skip
def test_what_the_process_uses_is_told(api: Api, name: str) -> None:
    assert value(read(api), name) > 0


def test_they_are_for_superusers(api: Api) -> None:
    assert status(api.new_user("somebody")) == 403
    assert status(Api(api.app, None, "")) == 403


@pytest.mark.parametrize(("scopes", "expected"), [(["metrics"], 200), (["admin"], 200), (["read", "manage"], 403)])
def test_a_superusers_key_needs_the_scope(api: Api, scopes: list[str], expected: int) -> None:
    made = api.post("/api_key/", json={"name": "prometheus", "scopes": scopes}).json
    assert status(Api(api.app, made["api_key"], api.user_id)) == expected


def test_a_key_for_metrics_opens_nothing_else(api: Api) -> None:
    key = Api(api.app, api.post("/api_key/", json={"name": "p", "scopes": ["metrics"]}).json["api_key"], api.user_id)
    assert [key.get(path).status_code for path in ("/users/", "/flows/", "/api_key/", "/audit")] == [403] * 4


@pytest.mark.parametrize("metrics", ["off", "127.0.0.1:9090"])
def test_elsewhere_they_are_not_there(make_app: Callable[..., Flask], sqlite_url: URL, metrics: str) -> None:
    assert status(Api.of_superuser(make_app(sqlite_url, metrics=metrics))) == 404


@pytest.fixture
def own_socket() -> Iterator[socket.socket]:
    """Stands for a connection that came on the address of the metrics."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield made


@pytest.fixture
def apart(make_app: Callable[..., Flask], sqlite_url: URL, own_socket: socket.socket) -> FlaskClient:
    port = own_socket.getsockname()[1]
    return make_app(sqlite_url, metrics=f"127.0.0.1:{port}", trusted_proxies=1).test_client()


def on(connection: socket.socket, port: int) -> dict[str, object]:
    return {"environ_overrides": {"SERVER_PORT": str(port), "gunicorn.socket": connection}}


def test_an_address_of_their_own_serves_them_without_a_key_and_nothing_else(
    apart: FlaskClient, own_socket: socket.socket
) -> None:
    here = on(own_socket, own_socket.getsockname()[1])
    assert samples(apart.get("/metrics", **here).text)
    others = [apart.get(path, **here).status_code for path in ("/health", "/", "/api/v1/version", "/login")]
    assert others == [404] * 4
    assert apart.post("/metrics", **here).status_code == 404


def test_no_header_leads_to_that_address(apart: FlaskClient, own_socket: socket.socket) -> None:
    port = own_socket.getsockname()[1]
    for headers in ({"Host": f"127.0.0.1:{port}"}, {"X-Forwarded-Port": str(port)}):
        assert apart.get("/metrics", headers=headers).status_code == 403


def test_a_proxy_on_a_unix_socket_does_not_lead_there_either(apart: FlaskClient, own_socket: socket.socket) -> None:
    port = own_socket.getsockname()[1]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert apart.get("/metrics", **on(ours, port)).status_code == 403


def test_a_slot_that_is_given_back_keeps_what_was_counted_and_nothing_that_was_open() -> None:
    board = Board(1)
    slot = board.take()
    assert slot is not None
    assert board.take() is None
    board.of(slot)[0], board.of(slot)[1], board.of(slot)[5] = 4711, 3, 42
    board.give_back(slot)
    assert (board.pids(), board.total(1), board.total(5)) == ([], 0, 42)
    assert board.take() == slot


def test_more_routes_than_there_is_room_for_are_told_at_start() -> None:
    with pytest.raises(ValueError, match="_SLOT"):
        Meter().know((f"endpoint{number}", "GET") for number in range(5000))
