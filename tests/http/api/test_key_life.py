"""API keys: made, carried, ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from flask import Flask
from sqlalchemy import URL

from tests.conftest import Clock
from tests.support.client import Api


@pytest.mark.parametrize("carrier", ["header", "query", "bearer"])
def test_a_key_is_welcome_on_every_carrier(app: Flask, api: Api, carrier: str) -> None:
    headers = {"header": {"x-api-key": api.key}, "bearer": {"Authorization": f"Bearer {api.key}"}}.get(carrier, {})
    query = {"x-api-key": api.key} if carrier == "query" else {}
    client = app.test_client(use_cookies=False)
    assert client.get("/api/v1/users/whoami", headers=headers, query_string=query).status_code == 200


def test_credentials_of_two_users_in_one_request_are_refused(api: Api, other: Api) -> None:
    answer = api.get("/users/whoami", query_string={"x-api-key": other.key})
    assert (answer.status_code, answer.json["detail"]) == (
        403, "The credentials of this request belong to different users",
    )  # fmt: skip


def test_a_revoked_key_is_refused_at_the_next_request_by_another_process_too(
    make_app: Callable[..., Flask], database_url: URL
) -> None:
    api = Api.of_superuser(make_app(database_url))
    made = api.post("/api_key/", json={"name": "short-lived"}).json
    elsewhere = Api(make_app(database_url), made["api_key"], api.user_id)
    assert elsewhere.get("/users/whoami").status_code == 200
    api.delete(f"/api_key/{made['id']}")
    assert elsewhere.get("/users/whoami").status_code == 403


def test_another_users_key_cannot_be_deleted_and_goes_on_working(api: Api, other: Api) -> None:
    mine = api.get("/api_key/").json["api_keys"][0]["id"]
    answer = other.delete(f"/api_key/{mine}")
    assert (answer.status_code, answer.json) == (400, {"detail": "API Key not found"})
    assert api.get("/users/whoami").status_code == 200


def test_a_key_ends_with_its_time_whatever_the_offset(api: Api, clock: Clock) -> None:
    ends = (datetime.now(UTC) + timedelta(hours=1)).astimezone(timezone(timedelta(hours=2)))
    made = api.post("/api_key/", json={"expires_at": ends.isoformat()}).json
    assert datetime.fromisoformat(made["expires_at"]) == ends.replace(microsecond=0)
    key = Api(api.app, made["api_key"], api.user_id)
    clock.forward(minutes=59)
    assert key.get("/users/whoami").status_code == 200
    clock.forward(minutes=2)
    assert key.get("/users/whoami").status_code == 403


def test_a_list_shows_the_first_characters_only(api: Api) -> None:
    shown = api.get("/api_key/").json["api_keys"][0]["api_key"]
    assert shown == str(api.key)[:8] + "*" * (len(str(api.key)) - 8)


def test_uses_are_counted(api: Api) -> None:
    for _ in range(3):
        api.get("/users/whoami")
    # The request that lists is a use too.
    assert api.get("/api_key/").json["api_keys"][0]["total_uses"] == 4


@pytest.mark.parametrize("field", ["id", "is_superuser", "is_active", "password_hash", "create_at", "last_login_at"])
def test_a_new_users_rights_cannot_be_set_by_the_body(api: Api, field: str) -> None:
    body = {"username": "somebody", "password": "pw12345678", field: "00000000-0000-0000-0000-000000000001"}
    made = api.post("/users/", json=body | ({field: True} if field.startswith("is_") else {})).json
    assert (made["is_superuser"], made["is_active"], made["last_login_at"]) == (False, False, None)
    assert not made["id"].startswith("00000000")
