"""Revocation, deactivation, change of role x workers: what one worker commits, the next request on another obeys."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL, make_url
from werkzeug.test import TestResponse

from service.adapters.key_cache import CommitCache
from service.domain import key_records
from tests.conftest import MakeApp
from tests.families.routes import NEW_PASSWORD, PASSWORD, Owner


@dataclass(frozen=True)
class Workers:
    """Two applications on one database: ``here`` is where things are changed, ``there`` where they are asked for."""

    here: Flask
    there: Flask


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def workers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, make_lasting: MakeApp
) -> Iterator[Workers]:
    url: URL = make_url(f"sqlite:///{tmp_path_factory.mktemp('workers') / 'keyturn.db'}")
    if request.param == "postgresql":
        url = request.getfixturevalue("lasting_postgresql_url")
    made = Workers(make_lasting(url), make_lasting(url))
    yield made
    for app in (made.here, made.there):
        app.extensions["keyturn"].close()


@pytest.fixture
def chief(workers: Workers) -> Owner:
    return Owner(workers.here, is_superuser=True)


@pytest.fixture
def user(workers: Workers) -> Owner:
    return Owner(workers.here)


def ask(app: Flask, path: str, headers: dict[str, str], method: str = "GET", **kwargs: Any) -> TestResponse:
    return app.test_client(use_cookies=False).open(path, method=method, headers=headers, **kwargs)


def whoami(app: Flask, headers: dict[str, str], **kwargs: Any) -> int:
    return ask(app, "/api/v1/users/whoami", headers, **kwargs).status_code


def by_key(user: Owner) -> dict[str, dict[str, Any]]:
    """The key on each of its carriers."""
    return {
        "header": {"headers": {"x-api-key": user.key}},
        "bearer": {"headers": {"Authorization": f"Bearer {user.key}"}},
        "query": {"headers": {}, "query_string": {"x-api-key": user.key}},
    }


def by_token(user: Owner) -> dict[str, dict[str, Any]]:
    """The login token on each of its carriers."""
    return {
        "bearer": {"headers": user.session},
        "cookie": {"headers": {"Cookie": f"access_token_lf={user.tokens.access}"}},
    }


def key_id(user: Owner) -> str:
    found = user.make("GET", "/v1/api_key/")["api_keys"]
    return str(next(one["id"] for one in found if one["name"].endswith("-first")))


Act = Callable[[Owner, Owner], object]


def revoke(user: Owner, chief: Owner) -> None:
    user.make("DELETE", f"/v1/api_key/{key_id(user)}")


def deactivate(user: Owner, chief: Owner) -> None:
    chief.make("PATCH", f"/v1/users/{user.user_id}", json={"is_active": False})


def delete_user(user: Owner, chief: Owner) -> None:
    chief.make("DELETE", f"/v1/users/{user.user_id}")


def demote(user: Owner, chief: Owner) -> None:
    chief.make("PATCH", f"/v1/users/{user.user_id}", json={"is_superuser": False})


def promote(user: Owner, chief: Owner) -> None:
    chief.make("PATCH", f"/v1/users/{user.user_id}", json={"is_superuser": True})


def log_out(user: Owner, chief: Owner) -> None:
    assert ask(user.app, "/api/v1/logout", user.session, "POST").status_code == 200


def set_password(user: Owner, chief: Owner) -> None:
    chief.make("PATCH", f"/v1/users/{user.user_id}", json={"password": NEW_PASSWORD})


def reset_password(user: Owner, chief: Owner) -> None:
    body = {"current_password": PASSWORD, "password": NEW_PASSWORD}
    answer = ask(user.app, f"/api/v1/users/{user.user_id}/reset-password", user.session, "PATCH", json=body)
    assert answer.status_code == 200


ENDS_KEYS = [revoke, deactivate, delete_user]
ENDS_SESSIONS = [deactivate, delete_user, log_out, set_password, reset_password]


def name_of(act: Act) -> str:
    return getattr(act, "__name__", "").replace("_", " ")


@pytest.mark.parametrize("carrier", ["header", "bearer", "query"])
@pytest.mark.parametrize("act", ENDS_KEYS, ids=name_of)
def test_a_key_that_ended_on_one_worker_is_refused_on_the_other(
    workers: Workers, user: Owner, chief: Owner, act: Act, carrier: str
) -> None:
    request = by_key(user)[carrier]
    assert [whoami(workers.there, **request) for _ in range(2)] == [200, 200]
    act(user, chief)
    assert whoami(workers.there, **request) == 403
    assert whoami(workers.here, **request) == 403


@pytest.mark.parametrize("carrier", ["bearer", "cookie"])
@pytest.mark.parametrize("act", ENDS_SESSIONS, ids=name_of)
def test_a_session_that_ended_on_one_worker_is_refused_on_the_other(
    workers: Workers, user: Owner, chief: Owner, act: Act, carrier: str
) -> None:
    request = by_token(user)[carrier]
    assert [whoami(workers.there, **request) for _ in range(2)] == [200, 200]
    act(user, chief)
    assert whoami(workers.there, **request) == 401
    assert whoami(workers.here, **request) == 401


@pytest.mark.parametrize("act", ENDS_SESSIONS, ids=name_of)
def test_a_refresh_token_of_an_ended_session_is_refused_on_the_other_worker(
    workers: Workers, user: Owner, chief: Owner, act: Act
) -> None:
    act(user, chief)
    cookie = {"Cookie": f"refresh_token_lf={user.tokens.refresh}"}
    assert ask(workers.there, "/api/v1/refresh", cookie, "POST").status_code == 401


def test_a_refresh_token_that_was_used_here_and_again_there_ends_the_session(workers: Workers, user: Owner) -> None:
    cookie = {"Cookie": f"refresh_token_lf={user.tokens.refresh}"}
    renewed = ask(workers.here, "/api/v1/refresh", cookie, "POST").json["access_token"]
    assert ask(workers.there, "/api/v1/refresh", cookie, "POST").status_code == 401
    assert whoami(workers.here, {"Authorization": f"Bearer {renewed}"}) == 401


@pytest.mark.parametrize("by", ["key", "session"])
def test_a_demoted_superuser_is_no_superuser_on_the_other_worker(workers: Workers, chief: Owner, by: str) -> None:
    user = Owner(workers.here, is_superuser=True)
    headers = {"x-api-key": user.key} if by == "key" else user.session
    assert ask(workers.there, "/api/v1/users/", headers).status_code == 200
    demote(user, chief)
    assert ask(workers.there, "/api/v1/users/", headers).status_code == 403


@pytest.mark.parametrize("by", ["key", "session"])
def test_a_promoted_user_is_a_superuser_on_the_other_worker(
    workers: Workers, user: Owner, chief: Owner, by: str
) -> None:
    headers = {"x-api-key": user.key} if by == "key" else user.session
    assert ask(workers.there, "/api/v1/users/", headers).status_code == 403
    promote(user, chief)
    assert ask(workers.there, "/api/v1/users/", headers).status_code == 200


def run(app: Flask, user: Owner, identifier: str) -> int:
    return ask(app, f"/api/v1/run/{identifier}", {"x-api-key": user.key}, "POST", json={}).status_code


@pytest.mark.parametrize("named_by", ["flow", "endpoint"])
def test_a_flow_that_was_deleted_on_one_worker_does_not_run_on_the_other(
    workers: Workers, user: Owner, named_by: str
) -> None:
    assert [run(workers.there, user, user[named_by]) for _ in range(2)] == [200, 200]
    user.make("DELETE", f"/v1/flows/{user['flow']}")
    assert run(workers.there, user, user[named_by]) == 404


class Pause:
    """Stops the first call of a function, at its start or at its end, until told to go on.

    Args:
        real: the function.
        where: "before" or "after".
        counts: which calls may be the first.
    """

    def __init__(
        self, real: Callable[..., Any], where: str, counts: Callable[..., bool] = lambda *args: True
    ) -> None:
        self._real, self._where, self._counts, self._first = real, where, counts, threading.Lock()
        self.arrived, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *args: Any) -> Any:
        if not self._counts(*args) or not self._first.acquire(blocking=False):
            return self._real(*args)
        if self._where == "before":
            self._wait()
        result = self._real(*args)
        if self._where == "after":
            self._wait()
        return result

    def _wait(self) -> None:
        self.arrived.set()
        assert self.go_on.wait(20), "nobody let the look-up go on"


def forget(app: Flask) -> None:
    """Have the next key looked up, as if it had never been asked with."""
    keys = app.extensions["keyturn"].keys
    if isinstance(keys, CommitCache):
        keys._entries.clear()


def overtaken(pause: Pause, look_up: Callable[[], int], act: Callable[[], object]) -> int:
    """Let ``act`` happen in the middle of a look-up; returns the look-up's status."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(look_up)
        assert pause.arrived.wait(20), "the look-up did not come to the place"
        try:
            act()
        finally:
            pause.go_on.set()
        return asked.result(20)


@pytest.mark.parametrize("asked_on", ["there", "here"])
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("act", ENDS_KEYS, ids=name_of)
def test_a_look_up_that_a_revocation_overtakes_is_not_kept(
    workers: Workers, user: Owner, chief: Owner, monkeypatch: pytest.MonkeyPatch, act: Act, where: str, asked_on: str
) -> None:
    # Made first: the act itself shall look nothing up but what it ends.
    app, headers = getattr(workers, asked_on), {"x-api-key": user.key}
    rest = {revoke: lambda: ask(workers.here, f"/api/v1/api_key/{name}", user.session, "DELETE")}
    name = key_id(user)
    forget(app)
    pause = Pause(key_records.find, where)
    monkeypatch.setattr(key_records, "find", pause)
    status = overtaken(pause, lambda: whoami(app, headers), rest.get(act, lambda: act(user, chief)))
    assert status == (403 if where == "before" else 200)
    assert whoami(app, headers) == 403
    assert whoami(workers.here, headers) == 403


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_look_up_that_a_demotion_overtakes_gives_no_rights_to_the_next_request(
    workers: Workers, chief: Owner, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    user = Owner(workers.here, is_superuser=True)
    pause = Pause(key_records.find, where)
    monkeypatch.setattr(key_records, "find", pause)

    def look_up() -> int:
        return ask(workers.there, "/api/v1/users/", {"x-api-key": user.key}).status_code

    overtaken(pause, look_up, lambda: demote(user, chief))
    assert look_up() == 403


def test_a_key_that_is_kept_after_its_user_was_deactivated_is_not_used(
    workers: Workers, user: Owner, chief: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = workers.there.extensions["keyturn"].keys
    pause = Pause(cache.put, "before")
    monkeypatch.setattr(cache, "put", pause)
    overtaken(pause, lambda: whoami(workers.there, {"x-api-key": user.key}), lambda: deactivate(user, chief))
    assert whoami(workers.there, {"x-api-key": user.key}) == 403


def test_a_flow_that_is_kept_after_it_was_deleted_does_not_run(
    workers: Workers, user: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, cache = user["flow"], workers.there.extensions["keyturn"].keys
    pause = Pause(cache.put, "before", lambda key, *rest: key[0] == "flow")
    monkeypatch.setattr(cache, "put", pause)
    overtaken(pause, lambda: run(workers.there, user, flow), lambda: user.make("DELETE", f"/v1/flows/{flow}"))
    assert run(workers.there, user, flow) == 404
