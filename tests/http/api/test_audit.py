"""The audit trail: what is written, who reads it, and that nobody rewrites it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tests.conftest import PASSWORD, SUPERUSER, Clock
from tests.support.client import USER_PASSWORD, Api

Events = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def events(api: Api) -> Events:
    """What stands in the trail, the newest first."""

    def read(**wanted: str) -> list[dict[str, Any]]:
        answer = api.get("/audit/", query_string=wanted)
        assert answer.status_code == 200, answer.json
        return list(answer.json["events"])

    return read


def login(app: Flask, username: str, password: str, address: str = "127.0.0.1") -> int:
    form = {"username": username, "password": password}
    return (
        app.test_client(use_cookies=False)
        .post("/api/v1/login", data=form, environ_overrides={"REMOTE_ADDR": address})
        .status_code
    )


def test_the_life_of_a_key_is_written_down(api: Api, events: Events) -> None:
    made = api.post("/api_key/", json={"name": "audited", "scopes": ["manage"]}).json
    api.patch(f"/api_key/{made['id']}", json={"scopes": None})
    api.post(f"/api_key/{made['id']}/rotate", json={"grace_seconds": 60})
    api.delete(f"/api_key/{made['id']}")
    found = events(subject_id=made["id"])
    assert [event["action"] for event in found] == ["key.revoked", "key.rotated", "key.changed", "key.created"]
    assert found[2]["details"] == {"scopes": {"from": ["manage"], "to": None}}
    assert {(event["actor_name"], event["via"], event["subject_name"]) for event in found} == {
        (SUPERUSER, "key", "audited")
    }


def test_a_key_that_somebody_typed_as_a_name_is_cut_short(api: Api, events: Events) -> None:
    made = api.post("/api_key/", json={"name": "before"}).json
    api.patch(f"/api_key/{made['id']}", json={"name": f"it is {made['api_key']}"})
    login(api.app, made["api_key"], "wrong")
    text = json.dumps(events())
    assert ("it is sk-***" in text, made["api_key"] in text) == (True, False)


def test_an_event_tells_which_key_acted_and_from_where(api: Api, events: Events) -> None:
    api.post("/api_key/", json={"name": "x"}, environ_overrides={"REMOTE_ADDR": "203.0.113.9"})
    event = events(action="key.created")[0]
    assert event["address"] == "203.0.113.9"
    assert event["key_id"] == api.get("/api_key/").json["api_keys"][0]["id"]


def test_signing_in_and_out_is_written_down(app: Flask, api: Api, events: Events) -> None:
    client = app.test_client()
    client.post("/api/v1/login", data={"username": SUPERUSER, "password": PASSWORD})
    client.post("/api/v1/logout")
    assert [event["action"] for event in events(actor_id=api.user_id)][:2] == ["logout", "login"]


@pytest.mark.parametrize(
    ("username", "password", "reason", "subject"),
    [(SUPERUSER, "wrong", "wrong password", SUPERUSER), ("my-password-by-mistake", "x", "unknown user", None)],
)
def test_a_failed_login_is_written_down_with_its_reason_and_no_name_that_nobody_has(
    app: Flask, events: Events, username: str, password: str, reason: str, subject: str | None
) -> None:
    assert login(app, username, password) == 401
    event = events(action="login", outcome="refused")[0]
    assert (event["details"]["reason"], event["subject_name"], event["actor_name"]) == (reason, subject, None)
    assert username not in json.dumps(event) or subject == username


def test_failed_logins_at_one_account_are_counted_and_not_written_each(app: Flask, events: Events) -> None:
    for _ in range(5):
        login(app, SUPERUSER, "wrong")
    assert len(events(action="login", outcome="refused")) == 1


class TestRefusedKeys:
    """Why a key was refused."""

    @pytest.fixture
    def made(self, api: Api) -> dict[str, Any]:
        return dict(
            api.post("/api_key/", json={"name": "refused", "scopes": ["read"], "networks": ["127.0.0.1"]}).json
        )

    def reasons(self, events: Events, key_id: str) -> list[str]:
        return [event["details"]["reason"] for event in events(key_id=key_id, outcome="refused")]

    def ask(self, app: Flask, key: str, path: str = "/users/whoami", **kwargs: Any) -> int:
        return Api(app, key, "").get(path, **kwargs).status_code

    def test_a_disabled_one(self, app: Flask, api: Api, events: Events, made: dict[str, Any]) -> None:
        api.patch(f"/api_key/{made['id']}", json={"is_active": False})
        assert self.ask(app, made["api_key"]) == 403
        assert self.reasons(events, made["id"]) == ["disabled"]

    def test_one_from_elsewhere(self, app: Flask, events: Events, made: dict[str, Any]) -> None:
        assert self.ask(app, made["api_key"], environ_overrides={"REMOTE_ADDR": "203.0.113.9"}) == 403
        assert self.reasons(events, made["id"]) == ["network"]

    def test_one_without_the_scope(self, app: Flask, events: Events, made: dict[str, Any]) -> None:
        assert self.ask(app, made["api_key"], "/users/") == 403
        assert self.reasons(events, made["id"]) == ["scope"]

    def test_one_of_a_user_who_left(self, app: Flask, api: Api, other: Api, events: Events) -> None:
        key_id = other.get("/api_key/").json["api_keys"][0]["id"]
        api.patch(f"/users/{other.user_id}", json={"is_active": False})
        assert self.ask(app, str(other.key)) == 403
        assert self.reasons(events, key_id) == ["owner deactivated"]

    def test_an_expired_one(self, app: Flask, api: Api, events: Events, clock: Clock) -> None:
        made = api.post("/api_key/", json={"expires_at": "2999-01-01T00:00:00Z"}).json
        clock.forward(days=400_000)
        assert self.ask(app, made["api_key"]) == 403
        clock.forward(days=-400_000)
        assert self.reasons(events, made["id"]) == ["expired"]

    def test_an_attack_writes_few_rows_and_loses_no_count(
        self, app: Flask, events: Events, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seconds = [0.0]
        monkeypatch.setattr(app.extensions["keyturn"].refusals, "_clock", lambda: seconds[0])
        for _ in range(50):
            self.ask(app, "sk-wrong")
        seconds[0] = 61.0
        self.ask(app, "sk-wrong")
        found = events(action="key.used", outcome="refused")
        assert [event["details"].get("repeated") for event in found] == [49, None]


def test_changes_of_users_are_written_down(api: Api, events: Events) -> None:
    made = api.post("/users/", json={"username": "audited", "password": USER_PASSWORD}).json
    api.patch(f"/users/{made['id']}", json={"is_active": True, "password": "another-one-1"})
    api.delete(f"/users/{made['id']}")
    found = events(subject_id=made["id"])
    assert [event["action"] for event in found] == [
        "user.deleted", "password.changed", "user.changed", "user.created",
    ]  # fmt: skip
    assert found[2]["details"] == {"is_active": {"from": False, "to": True}}


def test_changes_of_variables_are_written_down_without_their_values(api: Api, events: Events) -> None:
    new = {"name": "A", "value": "canary-one", "type": "Credential", "default_fields": []}
    made = api.post("/variables/", json=new).json
    api.patch(f"/variables/{made['id']}", json={"id": made["id"], "value": "canary-two", "name": "B"})
    api.delete(f"/variables/{made['id']}")
    found = events(subject_id=made["id"])
    assert [event["action"] for event in found] == ["variable.deleted", "variable.changed", "variable.created"]
    assert found[1]["details"] == {"name": {"from": "A", "to": "B"}, "value": "changed"}
    assert "canary" not in json.dumps(found)


def test_what_is_refused_for_another_reason_leaves_no_trace_of_having_been_done(api: Api, events: Events) -> None:
    body = {"name": "twice", "value": "x", "type": "Generic", "default_fields": []}
    assert [api.post("/variables/", json=body).status_code for _ in range(2)] == [201, 400]
    assert len(events(action="variable.created")) == 1


def test_the_policy_in_force_at_the_start_is_written_down(events: Events) -> None:
    details = events(action="server.started")[0]["details"]
    assert (details["auto_login"], details["langflow_version"]) == (False, "1.13.0")


def test_workers_that_start_together_write_the_policy_once(make_app: Callable[..., Flask], database_url: URL) -> None:
    apps = [make_app(database_url) for _ in range(3)]
    api = Api.of_superuser(apps[0])
    assert len(api.get("/audit/?action=server.started").json["events"]) == 1


def test_another_policy_is_written_down_at_its_start(make_app: Callable[..., Flask], database_url: URL) -> None:
    make_app(database_url)
    api = Api.of_superuser(make_app(database_url, enable_signup=True))
    assert len(api.get("/audit/?action=server.started").json["events"]) == 2


class TestReading:
    """Pages and filters."""

    def test_an_ordinary_user_does_not_read_it(self, other: Api) -> None:
        assert other.get("/audit/").status_code == 403

    def test_pages_are_followed_by_the_cursor_without_a_gap_or_a_repeat(self, api: Api) -> None:
        for number in range(12):
            api.post("/api_key/", json={"name": str(number)})
        whole = [event["id"] for event in api.get("/audit/?limit=1000").json["events"]]
        assert list(self._paged(api, 5)) == whole

    def _paged(self, api: Api, size: int) -> Iterator[int]:
        cursor: str | None = ""
        while cursor is not None:
            page = api.get(f"/audit/?limit={size}" + (f"&cursor={cursor}" if cursor else "")).json
            assert len(page["events"]) <= size
            yield from (event["id"] for event in page["events"])
            cursor = page["next_cursor"]

    def test_events_are_found_by_when_they_happened(self, api: Api, clock: Clock) -> None:
        clock.forward(days=10)
        api.post("/api_key/", json={"name": "later"})
        since = clock().replace(hour=0, minute=0, second=0, microsecond=0).isoformat()
        later = api.get("/audit/", query_string={"since": since}).json["events"]
        earlier = api.get("/audit/", query_string={"until": since, "limit": 1000}).json["events"]
        assert [event["subject_name"] for event in later] == ["later"]
        assert "later" not in {event["subject_name"] for event in earlier}

    @pytest.mark.parametrize(
        "query",
        ["limit=0", "limit=1001", "cursor=x", "cursor=0", f"cursor={2**63}", "cursor=٣", "action=nothing",
         "outcome=maybe", "actor_id=x", "since=yesterday"],
    )  # fmt: skip
    def test_a_filter_that_cannot_be_meant_is_refused(self, api: Api, query: str) -> None:
        assert api.get(f"/audit/?{query}").status_code == 422


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_event SET action = 'nothing'", "DELETE FROM audit_event"],
)
def test_the_database_itself_refuses_to_rewrite_it(app: Flask, api: Api, statement: str) -> None:
    with Session(app.extensions["keyturn"].engine) as session, pytest.raises(DBAPIError, match="append-only"):
        session.execute(text(statement))


def test_an_event_outlives_the_user_it_speaks_of(api: Api, other: Api, events: Events) -> None:
    other.post("/api_key/", json={"name": "gone with its owner"})
    api.delete(f"/users/{other.user_id}")
    assert [event["subject_name"] for event in events(actor_id=other.user_id, action="key.created")]


class TestSignInLimits:
    """Guessing is slow, and locks nobody out."""

    ATTACKER = "203.0.113."

    @pytest.fixture
    def guarded(self, make_app: Callable[..., Flask], database_url: URL) -> Flask:
        return make_app(database_url, rate_limit_enabled=True, rate_limit_per_minute=3, account_failures=5)

    def test_an_address_is_slowed_down(self, guarded: Flask) -> None:
        assert [login(guarded, "x", "x") for _ in range(5)] == [401, 401, 401, 429, 429]

    def test_the_limit_is_exact_over_workers(
        self, guarded: Flask, make_app: Callable[..., Flask], database_url: URL
    ) -> None:
        elsewhere = make_app(database_url, rate_limit_enabled=True, rate_limit_per_minute=3)
        statuses = [login(app, "x", "x") for app in (guarded, elsewhere, guarded, elsewhere)]
        assert statuses == [401, 401, 401, 429]

    def test_many_addresses_at_one_account_are_slowed_down_together(self, guarded: Flask) -> None:
        statuses = [login(guarded, SUPERUSER, "wrong", f"{self.ATTACKER}{at}") for at in range(8)]
        assert statuses == [401] * 5 + [429] * 3

    def test_its_owner_still_signs_in_from_where_they_have_before(self, guarded: Flask) -> None:
        assert login(guarded, SUPERUSER, PASSWORD) == 200
        for at in range(8):
            login(guarded, SUPERUSER, "wrong", f"{self.ATTACKER}{at}")
        assert login(guarded, SUPERUSER, PASSWORD) == 200
        assert login(guarded, SUPERUSER, PASSWORD, f"{self.ATTACKER}99") == 429

    def test_another_account_is_not_slowed_down(self, guarded: Flask) -> None:
        for at in range(8):
            login(guarded, "somebody", "wrong", f"{self.ATTACKER}{at}")
        assert login(guarded, SUPERUSER, PASSWORD, f"{self.ATTACKER}99") == 200

    def test_right_passwords_are_not_counted_against_the_account(self, guarded: Flask) -> None:
        assert {login(guarded, SUPERUSER, PASSWORD, f"{self.ATTACKER}{at}") for at in range(9)} == {200}

    def test_spellings_of_a_name_share_its_limit(self, guarded: Flask) -> None:
        names = [SUPERUSER, SUPERUSER.upper(), SUPERUSER.title()] * 3
        statuses = [login(guarded, name, "wrong", f"{self.ATTACKER}{at}") for at, name in enumerate(names)]
        assert statuses.count(401) == 5

    def test_addresses_of_one_household_share_a_limit(self, guarded: Flask) -> None:
        statuses = [login(guarded, str(uuid.uuid4()), "x", f"2001:db8::{at:x}") for at in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
