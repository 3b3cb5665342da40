"""Limits of a key on the wire, and what its usage says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL

from service.adapters.limits import LocalLimits, SharedLimits
from service.domain.errors import LimitsAway
from tests.conftest import Clock
from tests.http.api.test_runs import model_flow, store, with_credential
from tests.support.client import Api
from tests.support.provider import Provider


def limited(api: Api, **limits: object) -> tuple[Api, str]:
    made = api.post("/api_key/", json={"name": "limited", **limits}).json
    return Api(api.app, made["api_key"], api.user_id), made["id"]


def rate(requests: int, seconds: int = 60) -> dict[str, object]:
    return {"rate_limit": {"requests": requests, "window_seconds": seconds}}


def test_more_requests_than_the_limit_are_refused(api: Api) -> None:
    key, _ = limited(api, **rate(2))
    assert [key.get("/users/whoami").status_code for _ in range(4)] == [200, 200, 429, 429]


def test_the_refusal_says_when_to_try_again(api: Api) -> None:
    key, _ = limited(api, **rate(1))
    key.get("/users/whoami")
    answer = key.get("/users/whoami")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.json["detail"] == "This API key has used up its requests. Please try again later."


def test_each_answer_tells_the_limit_and_what_is_left_as_the_ietf_has_it(api: Api) -> None:
    key, _ = limited(api, **rate(3))
    answers = [key.get("/users/whoami") for _ in range(4)]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"key";q=3;w=60'}
    found = [re.fullmatch(r'"key";r=(\d+);t=(\d+)', answer.headers["RateLimit"]) for answer in answers]
    assert [match and match[1] for match in found] == ["2", "1", "0", "0"]


def test_a_key_without_a_limit_tells_of_none(api: Api) -> None:
    assert "RateLimit" not in api.get("/users/whoami").headers


def test_a_new_window_opens(api: Api, clock: Clock) -> None:
    key, _ = limited(api, **rate(1))
    key.get("/users/whoami")
    clock.forward(seconds=61)
    assert key.get("/users/whoami").status_code == 200


def test_the_limit_is_exact_over_two_workers_that_are_asked_at_once(
    make_app: Callable[..., Flask], database_url: URL
) -> None:
    one = Api.of_superuser(make_app(database_url))
    key, _ = limited(one, **rate(20))
    callers = [key, Api(make_app(database_url), str(key.key), key.user_id)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda at: callers[at % 2].get("/users/whoami").status_code, range(50)))
    assert sorted(set(statuses)) == [200, 429]
    assert statuses.count(200) == 20


def test_a_rotated_key_has_the_same_window(api: Api) -> None:
    key, key_id = limited(api, **rate(1))
    key.get("/users/whoami")
    fresh = api.post(f"/api_key/{key_id}/rotate").json["api_key"]
    assert Api(api.app, fresh, api.user_id).get("/users/whoami").status_code == 429


class TestRuns:
    """Runs at once; a run lasts while the provider is silent."""

    @pytest.fixture
    def servers(
        self, make_app: Callable[..., Flask], database_url: URL, provider: Provider
    ) -> Iterator[tuple[Api, Api]]:
        """Two workers, each with a caller of one key that may have one run."""
        one = Api.of_superuser(make_app(database_url, openai_base_url=provider.url))
        with_credential(one)
        store(one, model_flow())
        key, _ = limited(one, max_parallel_runs=1)
        provider.go_on.clear()
        yield key, Api(make_app(database_url, openai_base_url=provider.url), str(key.key), key.user_id)
        provider.go_on.set()

    def test_a_second_run_is_refused_on_every_worker_until_the_first_one_ends(
        self, servers: tuple[Api, Api], provider: Provider
    ) -> None:
        with running(servers[0]):
            refused = [worker.post("/run/flow", json={"input_value": "x"}) for worker in servers]
            assert [answer.status_code for answer in refused] == [429, 429]
            assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
            provider.go_on.set()
        assert [worker.post("/run/flow", json={"input_value": "x"}).status_code for worker in servers] == [200, 200]

    def test_a_webhooks_caller_is_told(self, servers: tuple[Api, Api], provider: Provider) -> None:
        with running(servers[0]):
            assert servers[1].post("/webhook/flow", json={"a": 1}).status_code == 429
            provider.go_on.set()

    def test_a_run_that_fails_gives_its_place_back(self, servers: tuple[Api, Api], provider: Provider) -> None:
        provider.go_on.set()
        provider.failures = [400, 400, 400]
        statuses = [servers[0].post("/run/flow", json={"input_value": "x"}).status_code for _ in range(3)]
        assert statuses == [502, 502, 502]


@contextmanager
def running(api: Api) -> Iterator[None]:
    """A run that has begun and waits for its provider; it is read to its end."""
    answer = api.post("/run/flow?stream=true", json={"input_value": "hi"}, buffered=False)
    pieces = iter(answer.response)
    next(pieces)
    yield
    for _ in pieces:
        pass
    answer.close()


class Away:
    """A place for limits that does not answer."""

    def hit(self, *_: object) -> Any:
        raise LimitsAway

    forgive = enter = leave = hit

    def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(("choice", "status"), [("local", 200), ("refuse", 503)])
def test_what_happens_without_the_place_where_limits_are_counted_is_the_operators_choice(
    make_app: Callable[..., Flask], sqlite_url: URL, monkeypatch: pytest.MonkeyPatch, choice: str, status: int
) -> None:
    app = make_app(sqlite_url)
    api = Api.of_superuser(app)
    key, _ = limited(api, **rate(5))
    away = SharedLimits(Away(), LocalLimits()).of(choice)
    monkeypatch.setitem(app.extensions, "keyturn", replace(app.extensions["keyturn"], request_limits=away))
    answer = key.get("/users/whoami")
    assert answer.status_code == status
    assert (answer.headers.get("Retry-After") == "1") == (status == 503)


class TestUsage:
    """What a key was used for."""

    def test_answers_are_counted_by_day_and_status(self, api: Api) -> None:
        key, key_id = limited(api)
        for path in ("/users/whoami", "/users/whoami", "/flows/none"):
            key.get(path)
        usage = api.get(f"/api_key/{key_id}/usage").json
        today = str(datetime.now(UTC).date())
        assert usage["days"] == [{"date": today, "total": 3, "statuses": {"200": 2, "422": 1}}]
        assert usage["total_uses"] == 3

    def test_what_the_keys_rights_refuse_is_counted_too(self, api: Api) -> None:
        key, key_id = limited(api, scopes=[])
        key.get("/variables/")
        assert api.get(f"/api_key/{key_id}/usage").json["days"][0]["statuses"] == {"403": 1}

    def test_days_are_told_apart_and_old_ones_left_out(self, api: Api, clock: Clock) -> None:
        key, key_id = limited(api)
        key.get("/users/whoami")
        clock.forward(days=1)
        key.get("/users/whoami")
        assert [day["total"] for day in api.get(f"/api_key/{key_id}/usage").json["days"]] == [1, 1]
        assert len(api.get(f"/api_key/{key_id}/usage?days=1").json["days"]) == 1

    def test_a_bad_number_of_days_is_refused(self, api: Api) -> None:
        _, key_id = limited(api)
        assert {api.get(f"/api_key/{key_id}/usage?days={days}").status_code for days in (0, 367, "x")} == {422}

    def test_it_goes_with_its_key(self, api: Api) -> None:
        key, key_id = limited(api)
        key.get("/users/whoami")
        api.get(f"/api_key/{key_id}/usage")
        assert api.delete(f"/api_key/{key_id}").status_code == 200
        assert api.get(f"/api_key/{key_id}/usage").status_code == 404


class TestBadKeys:
    """Whoever tries many keys is slowed down, and nobody else."""

    @pytest.fixture
    def app(self, make_app: Callable[..., Flask], sqlite_url: URL) -> Flask:
        return make_app(sqlite_url, rate_limit_enabled=True, rate_limit_per_minute=100, bad_keys_per_minute=3)

    def test_too_many_bad_keys_from_one_address_are_answered_429(self, app: Flask) -> None:
        statuses = [Api(app, "sk-wrong", "").get("/users/whoami").status_code for _ in range(5)]
        assert statuses == [403, 403, 403, 429, 429]

    def test_a_good_key_from_the_same_address_still_passes(self, app: Flask) -> None:
        api = Api.of_superuser(app)
        for _ in range(5):
            Api(app, "sk-wrong", "").get("/users/whoami")
        assert api.get("/users/whoami").status_code == 200

    def test_another_address_is_not_slowed_down(self, app: Flask) -> None:
        for _ in range(5):
            Api(app, "sk-wrong", "").get("/users/whoami")
        answer = Api(app, "sk-wrong", "").get("/users/whoami", environ_overrides={"REMOTE_ADDR": "203.0.113.9"})
        assert answer.status_code == 403

    def test_asking_who_is_signed_in_tries_no_more_of_them(self, app: Flask) -> None:
        statuses = [Api(app, "sk-wrong", "").get("/session").status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]


class TestWhoIsSignedIn:
    """``GET /session`` is open to everybody, and a key that it is asked with is used like any other."""

    def test_a_use_is_counted(self, api: Api) -> None:
        key, key_id = limited(api)
        assert key.get("/session").json["authenticated"] is True
        assert api.get(f"/api_key/{key_id}/usage").json["days"][0]["statuses"] == {"200": 1}

    def test_the_keys_limit_holds(self, api: Api) -> None:
        key, _ = limited(api, **rate(1))
        answers = [key.get("/session") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert answers[0].headers["RateLimit-Policy"] == '"key";q=1;w=60'

    def test_a_key_without_any_scope_may_ask(self, api: Api) -> None:
        key, _ = limited(api, scopes=[])
        assert key.get("/session").json["user"]["id"] == api.user_id

    def test_a_key_that_is_switched_off_is_nobodys_and_in_the_audit_trail(self, api: Api) -> None:
        key, key_id = limited(api)
        api.patch(f"/api_key/{key_id}", json={"is_active": False})
        answer = key.get("/session")
        assert (answer.status_code, answer.json["authenticated"]) == (200, False)
        event = api.get("/audit?action=key.used").json["events"][0]
        assert (event["outcome"], event["key_id"], event["details"]["reason"]) == ("refused", key_id, "disabled")


def test_a_redis_can_count(make_app: Callable[..., Flask], sqlite_url: URL, redis_url: str) -> None:
    api = Api.of_superuser(make_app(sqlite_url, redis_url=redis_url))
    key, _ = limited(api, **rate(2), max_parallel_runs=1)
    assert [key.get("/users/whoami").status_code for _ in range(3)] == [200, 200, 429]


def test_a_window_in_redis_ends(make_app: Callable[..., Flask], sqlite_url: URL, redis_url: str) -> None:
    api = Api.of_superuser(make_app(sqlite_url, redis_url=redis_url))
    key, _ = limited(api, **rate(1, 1))
    key.get("/users/whoami")
    deadline = datetime.now(UTC) + timedelta(seconds=10)
    while (answer := key.get("/users/whoami")).status_code == 429 and datetime.now(UTC) < deadline:
        continue
    assert answer.status_code == 200
