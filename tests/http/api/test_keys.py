"""API keys: made, carried, listed, revoked, expired."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL
from werkzeug.test import TestResponse

from tests.conftest import Clock
from tests.support.client import Api

CARRIERS = ("header", "query", "bearer")
BAD = (403, {"detail": "Invalid API key"})


def carried(app: Flask, carrier: str, key: str) -> TestResponse:
    """Ask who the key belongs to, with the key on one carrier."""
    headers = {"header": {"x-api-key": key}, "bearer": {"Authorization": f"Bearer {key}"}}.get(carrier, {})
    query = {"x-api-key": key} if carrier == "query" else {}
    return app.test_client(use_cookies=False).get("/api/v1/users/whoami", headers=headers, query_string=query)


def judged(app: Flask, carrier: str, key: str) -> tuple[int, object]:
    answer = carried(app, carrier, key)
    return answer.status_code, answer.json


def make(api: Api, **body: object) -> dict[str, Any]:
    made = api.post("/api_key/", json=body)
    assert made.status_code == 200, made.json
    return made.json


def test_a_new_key_is_shown_whole_and_once(mine: Api) -> None:
    made = make(mine, name="once")
    documented = ["name", "last_used_at", "total_uses", "is_active", "expires_at", "id", "api_key", "user_id"]
    assert list(made)[:8] == documented
    assert made["api_key"] not in mine.get("/api_key/").text


def test_an_answer_with_a_key_is_not_to_be_kept_by_caches(mine: Api) -> None:
    assert mine.post("/api_key/", json={}).headers["Cache-Control"] == "no-store"


def test_a_list_shows_the_first_characters_and_stars(mine: Api) -> None:
    key = str(mine.key)
    assert mine.get("/api_key/").json["api_keys"][0]["api_key"] == key[:8] + "*" * (len(key) - 8)


def test_a_list_holds_ones_own_keys_only(mine: Api, theirs: Api) -> None:
    listed = theirs.get("/api_key/").json
    assert (listed["total_count"], listed["user_id"]) == (1, theirs.user_id)
    assert {key["user_id"] for key in listed["api_keys"]} == {theirs.user_id}


def test_uses_are_counted(mine: Api) -> None:
    for _ in range(3):
        mine.get("/users/whoami")
    # The request that lists is a use as well.
    assert mine.get("/api_key/").json["api_keys"][0]["total_uses"] == 4


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_key_is_welcome_on_every_carrier(shared: Flask, mine: Api, carrier: str) -> None:
    assert carried(shared, carrier, str(mine.key)).json["id"] == mine.user_id


def test_a_deactivated_users_key_is_refused_on_every_carrier(shared: Flask, chief: Api, mine: Api) -> None:
    chief.patch(f"/users/{mine.user_id}", json={"is_active": False})
    assert [judged(shared, carrier, str(mine.key)) for carrier in CARRIERS] == [BAD] * 3


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_revoked_key_is_refused_at_the_next_request_on_every_carrier(
    shared: Flask, mine: Api, carrier: str
) -> None:
    made = make(mine)
    assert carried(shared, carrier, made["api_key"]).status_code == 200
    assert mine.delete(f"/api_key/{made['id']}").json == {"detail": "API Key deleted"}
    assert judged(shared, carrier, made["api_key"]) == BAD


def test_a_key_that_expired_is_refused_on_every_carrier(app: Flask, api: Api, clock: Clock) -> None:
    made = make(api, expires_at=(clock() + timedelta(hours=1)).isoformat())
    clock.forward(minutes=59)
    assert [carried(app, carrier, made["api_key"]).status_code for carrier in CARRIERS] == [200] * 3
    clock.forward(minutes=1, seconds=1)
    assert [judged(app, carrier, made["api_key"]) for carrier in CARRIERS] == [BAD] * 3


def test_a_revoked_key_is_refused_at_the_next_request_by_another_server_too(
    make_app: Callable[..., Flask], database_url: URL
) -> None:
    api = Api.of_superuser(make_app(database_url))
    made = make(api)
    elsewhere = make_app(database_url)
    assert carried(elsewhere, "header", made["api_key"]).status_code == 200
    api.delete(f"/api_key/{made['id']}")
    assert judged(elsewhere, "header", made["api_key"]) == BAD


def test_a_user_deactivated_here_is_refused_at_the_next_request_by_another_server_too(
    make_app: Callable[..., Flask], database_url: URL
) -> None:
    api = Api.of_superuser(make_app(database_url))
    user = api.new_user("somebody")
    elsewhere = make_app(database_url)
    assert carried(elsewhere, "header", str(user.key)).status_code == 200
    api.patch(f"/users/{user.user_id}", json={"is_active": False})
    assert judged(elsewhere, "header", str(user.key)) == BAD


@pytest.mark.parametrize("second", CARRIERS)
@pytest.mark.parametrize("first", CARRIERS)
def test_credentials_of_two_users_in_one_request_are_refused(shared: Flask, mine: Api, theirs: Api, first: str,
                                                             second: str) -> None:  # fmt: skip
    headers: dict[str, str] = {}
    query: list[tuple[str, str]] = []
    for carrier, key in ((first, str(mine.key)), (second, str(theirs.key))):
        if carrier == "query":
            query.append(("x-api-key", key))
        else:
            headers |= {"x-api-key": key} if carrier == "header" else {"Authorization": f"Bearer {key}"}
    one_carrier_holds_one = first == second and first != "query"
    client = shared.test_client(use_cookies=False)
    answer = client.get("/api/v1/users/whoami", headers=headers, query_string=query)
    assert answer.status_code == (200 if one_carrier_holds_one else 403)


def test_a_session_and_a_key_of_two_users_are_refused(api: Api, other: Api) -> None:
    answer = api.get("/users/whoami", headers={"Authorization": f"Bearer {other.token}"})
    assert answer.json == {"detail": "The credentials of this request belong to different users"}


def test_two_credentials_of_one_user_are_welcome(api: Api) -> None:
    answer = api.get("/users/whoami", headers={"Authorization": f"Bearer {api.token}"})
    assert answer.status_code == 200


def test_anothers_key_cannot_be_revoked_and_looks_like_a_missing_one(mine: Api, theirs: Api) -> None:
    key_id = theirs.get("/api_key/").json["api_keys"][0]["id"]
    answer = mine.delete(f"/api_key/{key_id}")
    missing = mine.delete("/api_key/00000000-0000-4000-8000-000000000000")
    assert (answer.status_code, answer.json) == (missing.status_code, missing.json)
    assert theirs.get("/users/whoami").status_code == 200


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("2099-01-01T12:00:00+02:00", "2099-01-01T10:00:00+00:00"),
        ("2099-01-01T00:30:00-05:00", "2099-01-01T05:30:00+00:00"),
        ("2099-01-01T00:00:00Z", "2099-01-01T00:00:00+00:00"),
        ("2099-01-01T00:00:00", "2099-01-01T00:00:00+00:00"),
    ],
)
def test_an_instant_comes_back_as_the_same_instant(mine: Api, sent: str, meant: str) -> None:
    made = make(mine, expires_at=sent)
    assert datetime.fromisoformat(made["expires_at"]) == datetime.fromisoformat(meant)
    listed = {key["id"]: key["expires_at"] for key in mine.get("/api_key/").json["api_keys"]}
    assert listed[made["id"]] == made["expires_at"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": 5}, "expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({"name": 5}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": "a" * 256}, "name"),
    ],
    ids=lambda value: repr(value)[:45] if isinstance(value, dict) else "",
)
def test_a_bad_field_is_named_and_no_key_is_made(mine: Api, body: dict[str, Any], field: str) -> None:
    answer = mine.post("/api_key/", json=body)
    assert answer.status_code == 422
    assert answer.json["detail"][0]["loc"] == ["body", field]
    assert mine.get("/api_key/").json["total_count"] == 1


@pytest.mark.parametrize("field", ["api_key", "is_active", "total_uses", "user_id", "id", "digest"])
def test_the_body_of_a_new_key_cannot_set(mine: Api, field: str) -> None:
    made = make(mine, **{field: "chosen"})
    assert "chosen" not in made.values()
    assert made["user_id"] == mine.user_id
