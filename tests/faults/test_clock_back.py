"""The clock is set back by an hour, or by a day: nobody is locked out for it, and nothing is good twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL, update
from sqlalchemy.orm import Session

from service import boot
from service.settings import Settings
from service.storage.audit import AuditEvent
from service.storage.engine import create_engine
from tests.conftest import Clock
from tests.support.client import PASSWORD, SUPERUSER, Api


def sign_in(app: Flask, password: str = PASSWORD) -> Any:
    client = app.test_client(use_cookies=False)
    return client.post("/api/v1/login", data={"username": SUPERUSER, "password": password})


def test_who_is_signed_in_stays_so(lite: Flask, clock: Clock) -> None:
    token = sign_in(lite).json["access_token"]
    clock.forward(hours=-1)
    answer = Api(lite, None, "").get("/users/whoami", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


def test_signing_in_works_and_what_it_gives_too(lite: Flask, clock: Clock) -> None:
    Api.of_superuser(lite)
    clock.forward(hours=-1)
    assert Api.of_superuser(lite).get("/users/whoami").status_code == 200


def test_a_refresh_token_is_good_once_whatever_the_time_is(lite: Flask, clock: Clock) -> None:
    refresh = sign_in(lite).json["refresh_token"]

    def exchange() -> int:
        client = lite.test_client()
        client.set_cookie("refresh_token_lf", refresh)
        return client.post("/api/v1/refresh").status_code

    assert exchange() == 200
    clock.forward(hours=-1)
    assert exchange() == 401


def test_whoever_has_tried_too_many_passwords_is_not_shut_out_for_the_hour(
    make_app: Callable[..., Flask], sqlite_url: URL, clock: Clock
) -> None:
    app = make_app(sqlite_url, rate_limit_enabled=True)
    assert [sign_in(app, "wrong").status_code for _ in range(6)][-1] == 429
    clock.forward(hours=-1)
    assert sign_in(app).status_code == 200


def test_a_key_that_has_used_up_its_requests_is_not_shut_out_for_the_hour(lite: Flask, clock: Clock) -> None:
    api = Api.of_superuser(lite)
    limit = {"rate_limit": {"requests": 1, "window_seconds": 60}}
    key = Api(lite, api.post("/api_key/", json={"name": "limited", **limit}).json["api_key"], api.user_id)
    assert [key.get("/users/whoami").status_code for _ in range(2)] == [200, 429]
    clock.forward(hours=-1)
    answers = [key.get("/users/whoami") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert 1 <= int(answers[1].headers["Retry-After"]) <= 60


def test_both_secrets_of_a_rotated_key_go_on_and_the_former_one_ends(lite: Flask, clock: Clock) -> None:
    api = Api.of_superuser(lite)
    made = api.post("/api_key/", json={"name": "rotated"}).json
    fresh = api.post(f"/api_key/{made['id']}/rotate", json={"grace_seconds": 600}).json["api_key"]
    clock.forward(hours=-1)
    both = [Api(lite, key, api.user_id) for key in (made["api_key"], fresh)]
    assert [key.get("/users/whoami").status_code for key in both] == [200, 200]
    clock.forward(hours=1, seconds=601)
    assert [key.get("/users/whoami").status_code for key in both] == [403, 200]


def test_uses_are_counted_on_and_the_last_one_is_the_latest(lite: Flask, clock: Clock) -> None:
    api = Api.of_superuser(lite)
    made = api.post("/api_key/", json={"name": "used"}).json
    key = Api(lite, made["api_key"], api.user_id)
    usage = lite.extensions["keyturn"].usage
    for days in (0, -1):
        clock.forward(days=days)
        key.get("/users/whoami")
        usage.flush()
    shown = next(one for one in api.get("/api_key/").json["api_keys"] if one["id"] == made["id"])
    assert shown["total_uses"] == 2
    assert datetime.fromisoformat(shown["last_used_at"]).replace(tzinfo=UTC) > clock() + timedelta(hours=23)
    days = api.get(f"/api_key/{made['id']}/usage").json["days"]
    assert [day["total"] for day in days] == [1, 1]


def test_the_audit_trail_is_read_in_the_order_of_the_acts(lite: Flask, clock: Clock) -> None:
    api = Api.of_superuser(lite)
    for name in ("first", "second"):
        api.post("/api_key/", json={"name": name})
        clock.forward(hours=-1)
    events = api.get("/audit/?action=key.created&limit=2").json["events"]
    assert [event["subject_name"] for event in events] == ["second", "first"]


def test_a_start_after_it_tells_the_policy_although_the_last_one_lies_ahead(
    make_settings: Callable[..., Settings], sqlite_url: URL
) -> None:
    settings, engine = make_settings(sqlite_url), create_engine(sqlite_url)
    boot.prepare(settings, started=True)
    with Session(engine) as session:
        session.connection().exec_driver_sql("DROP TRIGGER audit_event_no_update")
        session.execute(update(AuditEvent).values(at=datetime.now(UTC) + timedelta(hours=1)))
        session.commit()
    boot.prepare(settings, started=True)
    with Session(engine) as session:
        told = session.query(AuditEvent).filter_by(action="server.started").count()
    engine.dispose()
    assert told == 2


@pytest.mark.parametrize("hours", [-1, -24])
def test_health_and_readiness_do_not_depend_on_it(lite: Flask, clock: Clock, hours: int) -> None:
    clock.forward(hours=hours)
    client = lite.test_client()
    assert [client.get(path).status_code for path in ("/health", "/ready")] == [200, 200]
