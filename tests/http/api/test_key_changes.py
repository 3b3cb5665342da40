"""The life of a key: renamed, switched off and on, rotated, ended; and what the operator allows."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL
from werkzeug.test import TestResponse

from tests.conftest import Clock
from tests.support.client import Api


def new_key(api: Api, **body: object) -> dict[str, Any]:
    made = api.post("/api_key/", json=body)
    assert made.status_code == 200, made.json
    return dict(made.json)


def works(api: Api, key: str) -> bool:
    return Api(api.app, key, api.user_id).get("/users/whoami").status_code == 200


def rotated(api: Api, key_id: str, grace: int = 0, token: str | None = None) -> dict[str, Any]:
    headers = {"Idempotency-Key": token} if token else {}
    answer = api.post(f"/api_key/{key_id}/rotate", json={"grace_seconds": grace}, headers=headers)
    assert answer.status_code == 200, answer.json
    return dict(answer.json)


def test_a_key_is_renamed(api: Api) -> None:
    made = new_key(api, name="old")
    assert api.patch(f"/api_key/{made['id']}", json={"name": "new"}).json["name"] == "new"


def test_what_a_change_does_not_name_stays(api: Api) -> None:
    made = new_key(api, name="kept", scopes=["read"], networks=["10.0.0.0/8"])
    changed = api.patch(f"/api_key/{made['id']}", json={"scopes": ["run"]}).json
    assert (changed["name"], changed["networks"], changed["scopes"]) == ("kept", ["10.0.0.0/8"], ["run"])


def test_null_takes_a_limit_away(api: Api) -> None:
    made = new_key(api, scopes=["read"], rate_limit={"requests": 1, "window_seconds": 60})
    changed = api.patch(f"/api_key/{made['id']}", json={"scopes": None, "rate_limit": None}).json
    assert (changed["scopes"], changed["rate_limit"]) == (None, None)


def test_a_disabled_key_is_refused_by_every_process_until_it_is_enabled(
    make_app: Callable[..., Flask], database_url: URL
) -> None:
    api = Api.of_superuser(make_app(database_url))
    made = new_key(api)
    elsewhere = Api(make_app(database_url), made["api_key"], api.user_id)
    assert elsewhere.get("/users/whoami").status_code == 200
    api.patch(f"/api_key/{made['id']}", json={"is_active": False})
    assert elsewhere.get("/users/whoami").status_code == 403
    api.patch(f"/api_key/{made['id']}", json={"is_active": True})
    assert elsewhere.get("/users/whoami").status_code == 200


@pytest.mark.parametrize("change", [{"expires_at": None}, {"expires_at": "2999-01-01"}, {"name": "back"}])
def test_an_edit_does_not_bring_an_expired_key_back(api: Api, clock: Clock, change: dict[str, object]) -> None:
    made = new_key(api, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    clock.forward(hours=2)
    answer = api.patch(f"/api_key/{made['id']}", json=change)
    assert (answer.status_code, answer.json["detail"]) == (400, "This API key has expired. Make a new one.")
    assert not works(api, made["api_key"])


def test_rotation_does_not_bring_an_expired_key_back(api: Api, clock: Clock) -> None:
    made = new_key(api, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    clock.forward(hours=2)
    assert api.post(f"/api_key/{made['id']}/rotate").status_code == 400


def test_a_rotated_key_keeps_its_id_name_and_rights(api: Api) -> None:
    made = new_key(api, name="ci", scopes=["read"])
    fresh = rotated(api, made["id"])
    assert (fresh["id"], fresh["name"], fresh["scopes"]) == (made["id"], "ci", ["read"])
    assert fresh["api_key"] != made["api_key"]


def test_without_grace_the_former_secret_ends_at_once(api: Api) -> None:
    made = new_key(api)
    fresh = rotated(api, made["id"])
    assert (works(api, made["api_key"]), works(api, fresh["api_key"])) == (False, True)


def test_the_former_secret_ends_with_its_grace(api: Api, clock: Clock) -> None:
    made = new_key(api)
    rotated(api, made["id"], 60)
    assert works(api, made["api_key"])
    clock.forward(seconds=61)
    assert not works(api, made["api_key"])


def test_the_former_secret_never_outlives_the_key(api: Api, clock: Clock) -> None:
    made = new_key(api, expires_at=(datetime.now(UTC) + timedelta(minutes=5)).isoformat())
    fresh = rotated(api, made["id"], 3600)
    assert datetime.fromisoformat(fresh["former_valid_until"]) <= datetime.fromisoformat(made["expires_at"])
    clock.forward(minutes=6)
    assert (works(api, made["api_key"]), works(api, fresh["api_key"])) == (False, False)


def test_the_former_secret_does_not_outlive_an_end_that_is_set_later(api: Api, clock: Clock) -> None:
    made = new_key(api)
    rotated(api, made["id"], 3600)
    api.patch(f"/api_key/{made['id']}", json={"expires_at": (datetime.now(UTC) + timedelta(minutes=5)).isoformat()})
    clock.forward(minutes=6)
    assert not works(api, made["api_key"])


def test_disabling_and_revoking_end_the_former_secret_too(api: Api) -> None:
    made = new_key(api)
    fresh = rotated(api, made["id"], 3600)
    api.patch(f"/api_key/{made['id']}", json={"is_active": False})
    assert not works(api, made["api_key"])
    api.patch(f"/api_key/{made['id']}", json={"is_active": True})
    assert works(api, made["api_key"])
    api.delete(f"/api_key/{made['id']}")
    assert (works(api, made["api_key"]), works(api, fresh["api_key"])) == (False, False)


def test_a_second_rotation_ends_the_first_secret(api: Api) -> None:
    made = new_key(api)
    second = rotated(api, made["id"], 3600)
    third = rotated(api, made["id"], 3600)
    assert [works(api, one["api_key"]) for one in (made, second, third)] == [False, True, True]


def test_whoever_has_the_former_secret_only_cannot_take_the_key_over(api: Api) -> None:
    made = new_key(api)
    fresh = rotated(api, made["id"], 3600)
    former = Api(api.app, made["api_key"], api.user_id)
    assert former.post(f"/api_key/{made['id']}/rotate", json={"grace_seconds": 0}).status_code == 403
    assert works(api, fresh["api_key"])


def test_a_former_secret_says_that_its_end_is_near(api: Api) -> None:
    made = new_key(api)
    rotated(api, made["id"], 3600)
    answer = Api(api.app, made["api_key"], api.user_id).get("/users/whoami")
    assert "Keyturn-Key-Expires" in answer.headers


def test_a_retry_with_the_same_idempotency_key_gives_the_same_secret_and_rotates_once(api: Api) -> None:
    made, token = new_key(api), str(uuid.uuid4())
    first, second = rotated(api, made["id"], 60, token), rotated(api, made["id"], 60, token)
    assert first["api_key"] == second["api_key"]
    assert works(api, made["api_key"])


def test_a_key_that_rotates_itself_may_ask_again_while_its_grace_lasts(api: Api) -> None:
    made, token = new_key(api), str(uuid.uuid4())
    own = Api(api.app, made["api_key"], api.user_id)
    first, second = rotated(own, made["id"], 60, token), rotated(own, made["id"], 60, token)
    assert first["api_key"] == second["api_key"]


def test_another_idempotency_key_rotates_again(api: Api) -> None:
    made = new_key(api)
    first = rotated(api, made["id"], 0, str(uuid.uuid4()))
    second = rotated(api, made["id"], 0, str(uuid.uuid4()))
    assert first["api_key"] != second["api_key"]


def test_the_same_idempotency_key_for_two_keys_gives_two_secrets(api: Api) -> None:
    token = str(uuid.uuid4())
    one, two = (rotated(api, new_key(api)["id"], 0, token)["api_key"] for _ in range(2))
    assert one != two


@pytest.mark.parametrize("token", ["short", "x" * 300])
def test_an_idempotency_key_that_could_be_guessed_or_is_huge_is_refused(api: Api, token: str) -> None:
    made = new_key(api)
    answer = api.post(f"/api_key/{made['id']}/rotate", headers={"Idempotency-Key": token})
    assert (answer.status_code, answer.json["detail"][0]["loc"]) == (422, ["header", "Idempotency-Key"])


@pytest.mark.parametrize("grace", [-1, 604_801, 10**30])
def test_a_grace_beyond_what_the_operator_allows_is_refused(api: Api, grace: int) -> None:
    made = new_key(api)
    assert api.post(f"/api_key/{made['id']}/rotate", json={"grace_seconds": grace}).status_code == 422
    assert works(api, made["api_key"])


def test_of_rotations_that_come_at_once_with_one_idempotency_key_all_give_the_same(api: Api) -> None:
    made, token, found = new_key(api), str(uuid.uuid4()), []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        found.append(rotated(api, made["id"], 60, token)["api_key"])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


class SignedIn(Api):
    """A caller with a session: a key that ends makes no key that ends later."""

    def open(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        return super().open(method, path, headers={"Authorization": f"Bearer {self.token}"}, **kwargs)


class TestTheOperator:
    """Settings for all keys."""

    @pytest.fixture
    def strict(self, make_app: Callable[..., Flask], sqlite_url: URL) -> Api:
        app = make_app(sqlite_url, key_max_days=30, key_rotation_grace_seconds=0, key_stale_days=5)
        return SignedIn(app, None, "", Api.of_superuser(app).token)

    def test_a_key_without_an_end_gets_the_longest_life(self, strict: Api) -> None:
        ends = datetime.fromisoformat(new_key(strict)["expires_at"])
        assert timedelta(days=29) < ends - datetime.now(UTC) <= timedelta(days=30)

    def test_a_longer_life_is_refused(self, strict: Api) -> None:
        wanted = (datetime.now(UTC) + timedelta(days=31)).isoformat()
        assert strict.post("/api_key/", json={"expires_at": wanted}).status_code == 422

    def test_an_edit_does_not_lengthen_it(self, strict: Api) -> None:
        made = new_key(strict)
        wanted = (datetime.now(UTC) + timedelta(days=31)).isoformat()
        assert strict.patch(f"/api_key/{made['id']}", json={"expires_at": wanted}).status_code == 422
        unset = strict.patch(f"/api_key/{made['id']}", json={"expires_at": None}).json
        assert unset["expires_at"] == made["expires_at"]

    def test_a_grace_of_none_means_none(self, strict: Api) -> None:
        made = new_key(strict)
        assert strict.post(f"/api_key/{made['id']}/rotate", json={"grace_seconds": 1}).status_code == 422

    def test_keys_that_nobody_uses_are_listed_as_stale(self, strict: Api, clock: Clock) -> None:
        forgotten, used = new_key(strict, name="forgotten"), new_key(strict, name="used")
        clock.forward(days=6)
        user = Api(strict.app, used["api_key"], "")
        user.get("/users/whoami")
        stale = user.get("/api_key/?stale=true").json
        assert {key["name"] for key in stale["api_keys"]} == {"forgotten", "test"}
        assert user.get(f"/api_key/{forgotten['id']}").json["is_stale"]


@pytest.mark.parametrize("act", ["get", "patch", "rotate", "usage"])
def test_somebody_elses_key_is_like_a_missing_one(api: Api, other: Api, act: str) -> None:
    method, path, body = {
        "get": ("GET", "", None), "patch": ("PATCH", "", {"name": "x"}), "rotate": ("POST", "/rotate", None),
        "usage": ("GET", "/usage", None),
    }[act]  # fmt: skip
    for key_id in (new_key(api)["id"], str(uuid.uuid4())):
        answer = other.open(method, f"/api_key/{key_id}{path}", **({"json": body} if body else {}))
        assert (answer.status_code, answer.json) == (404, {"detail": "API Key not found"})
