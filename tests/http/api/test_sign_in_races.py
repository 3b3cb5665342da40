"""What ends a sign-in, while its tokens are being exchanged: on PostgreSQL, where two may write at once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from flask import Flask
from sqlalchemy import URL, Connection, text
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from service.domain import accounts
from service.domain.accounts import Tokens
from tests.conftest import MakeApp
from tests.support.client import USER_PASSWORD, Api
from tests.support.waiting import until

pytestmark = pytest.mark.postgresql

NEW_PASSWORD = "newpw12345"
#: What each statement that waits for a lock waits for: "relation", or a row; and whether its transaction has already
#: written to the tokens.
_WAITING = text(
    "SELECT wait_event = 'relation', EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted"
    "  AND l.relation = 'session_token'::regclass AND l.mode = 'RowExclusiveLock')"
    " FROM pg_stat_activity a WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@dataclass
class Place:
    """A server, a superuser, and a user who is signed in."""

    app: Flask
    chief: Api
    user: Api
    name: str
    tokens: Tokens
    database: Connection
    pool: ThreadPoolExecutor

    def send(self, method: str, path: str, refresh: str | None = None, bearer: str | None = None,
             **kwargs: object) -> TestResponse:  # fmt: skip
        headers = {"Cookie": f"refresh_token_lf={refresh}"} if refresh else {}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        client = self.app.test_client(use_cookies=False)
        return client.open(f"/api/v1{path}", method=method, headers=headers, **kwargs)  # type: ignore[arg-type]

    def sign_in(self) -> TestResponse:
        return self.send("POST", "/login", data={"username": self.name, "password": USER_PASSWORD})

    def refresh(self, tokens: Tokens) -> TestResponse:
        return self.send("POST", "/refresh", tokens.refresh)

    def begin(self, act: Callable[[Place], TestResponse], waiting: int = 1) -> Future[TestResponse]:
        """Send a request that has to wait for a lock, and return when it does."""
        begun = self.pool.submit(act, self)
        until(lambda: begun.done() or len(self.database.execute(_WAITING).all()) == waiting)
        assert not begun.done(), begun.result().get_data(as_text=True)
        # Whoever held some of the tokens while waiting for a row could be waited for in turn.
        assert not any(holds_tokens for at_table, holds_tokens in self.database.execute(_WAITING) if not at_table)
        return begun

    def are_dead(self, tokens: Tokens) -> bool:
        known = self.send("GET", "/users/whoami", bearer=tokens.access).status_code
        return (known, self.refresh(tokens).status_code) == (401, 401)

    def reuses(self) -> int:
        """How many are recorded of this user."""
        found = self.chief.get(f"/audit?action=token.reused&subject_id={self.user.user_id}")
        return len(found.json["events"])

    @contextmanager
    def refreshing(self) -> Iterator[Tokens]:
        """A refresh that has made its pair and has not committed yet."""
        own = self.app.extensions["keyturn"]
        with Session(own.engine) as session:
            made = accounts.refresh(session, self.tokens.refresh, own.lifetimes, own.now())
            assert isinstance(made, Tokens)
            yield made
            session.commit()

    @contextmanager
    def held_at_the_audit_trail(self) -> Iterator[None]:
        """Let nobody write to the trail: every act stops there, in the middle of its transaction."""
        with self.app.extensions["keyturn"].engine.connect() as connection:
            connection.execute(text("LOCK TABLE audit_event IN SHARE MODE"))
            yield
            connection.rollback()


@pytest.fixture(scope="module")
def app(make_lasting: MakeApp, lasting_postgresql_url: URL) -> Flask:
    return make_lasting(lasting_postgresql_url)


@pytest.fixture
def place(app: Flask) -> Iterator[Place]:
    chief, name = Api.of_superuser(app), f"somebody-{uuid.uuid4().hex}"
    user = chief.new_user(name)
    engine = app.extensions["keyturn"].engine
    with engine.connect() as connection, ThreadPoolExecutor(3) as pool:
        database = connection.execution_options(isolation_level="AUTOCOMMIT")
        made = Place(app, chief, user, name, Tokens("", ""), database, pool)
        made.tokens = tokens_of(made.sign_in())
        yield made


def tokens_of(answer: TestResponse) -> Tokens:
    assert answer.status_code == 200, answer.json
    return Tokens(answer.json["access_token"], answer.json["refresh_token"])


def own_password(place: Place) -> TestResponse:
    body = {"current_password": USER_PASSWORD, "password": NEW_PASSWORD}
    path = f"/users/{place.user.user_id}/reset-password"
    return place.send("PATCH", path, bearer=place.user.token, json=body)


def superusers_password(place: Place) -> TestResponse:
    return place.chief.patch(f"/users/{place.user.user_id}", json={"password": NEW_PASSWORD})


def deactivation(place: Place) -> TestResponse:
    return place.chief.patch(f"/users/{place.user.user_id}", json={"is_active": False})


def deletion(place: Place) -> TestResponse:
    return place.chief.delete(f"/users/{place.user.user_id}")


def logout(place: Place) -> TestResponse:
    return place.send("POST", "/logout", place.tokens.refresh)


def reuse(place: Place) -> TestResponse:
    return place.refresh(place.tokens)


def named(act: Callable[[Place], TestResponse]) -> str:
    return act.__name__


ENDS = [own_password, superusers_password, deactivation, logout, reuse]


@pytest.mark.parametrize("end", [*ENDS, deletion], ids=named)
def test_tokens_that_a_refresh_was_making_end_too(place: Place, end: Callable[[Place], TestResponse]) -> None:
    with place.refreshing() as made:
        ending = place.begin(end)
    assert ending.result().status_code == {reuse: 401, deletion: 202}.get(end, 200)
    if end is deactivation:
        place.chief.patch(f"/users/{place.user.user_id}", json={"is_active": True})
    assert place.are_dead(made)


@pytest.mark.parametrize("end", ENDS, ids=named)
def test_a_refresh_that_comes_while_its_sign_in_is_ended_gets_nothing(
    place: Place, end: Callable[[Place], TestResponse]
) -> None:
    newest = place.tokens
    if end is reuse:
        newest = tokens_of(place.refresh(place.tokens))
    with place.held_at_the_audit_trail():
        ending = place.begin(end)
        refreshing = place.begin(lambda place: place.refresh(newest), waiting=2)
    assert ending.result().status_code == (401 if end is reuse else 200)
    answer = refreshing.result()
    assert (answer.status_code, answer.json) == (401, {"detail": "Invalid refresh token"})
    # An honest client that came a moment too late has copied nothing.
    assert place.reuses() == (1 if end is reuse else 0)


def test_of_two_refreshes_at_once_the_second_one_is_a_reuse(place: Place) -> None:
    with place.refreshing() as made:
        second = place.begin(reuse)
    assert second.result().status_code == 401
    assert place.are_dead(made)
    assert place.reuses() == 1


@pytest.mark.parametrize("end", [superusers_password, deactivation], ids=named)
def test_the_tokens_of_a_sign_in_that_was_under_way_end_too(
    place: Place, end: Callable[[Place], TestResponse]
) -> None:
    with place.held_at_the_audit_trail():
        signing_in = place.begin(Place.sign_in)
        ending = place.begin(end, waiting=2)
    made = tokens_of(signing_in.result())
    assert ending.result().status_code == 200
    if end is deactivation:
        place.chief.patch(f"/users/{place.user.user_id}", json={"is_active": True})
    assert place.are_dead(made)


def test_a_sign_in_does_not_pass_with_a_password_that_ends_meanwhile(place: Place) -> None:
    with place.held_at_the_audit_trail():
        ending = place.begin(superusers_password)
        signing_in = place.begin(Place.sign_in, waiting=2)
    assert ending.result().status_code == 200
    answer = signing_in.result()
    assert (answer.status_code, answer.json) == (401, {"detail": "Incorrect username or password"})


def test_a_sign_in_does_not_pass_where_the_account_is_deactivated_meanwhile(place: Place) -> None:
    with place.held_at_the_audit_trail():
        ending = place.begin(deactivation)
        signing_in = place.begin(Place.sign_in, waiting=2)
    assert ending.result().status_code == 200
    answer = signing_in.result()
    assert (answer.status_code, answer.json) == (401, {"detail": "Inactive user"})


def test_a_sign_in_does_not_pass_where_the_account_is_deleted_meanwhile(place: Place) -> None:
    with place.app.extensions["keyturn"].engine.connect() as connection:
        connection.execute(text('DELETE FROM "user" WHERE id = :id'), {"id": place.user.user_id})
        signing_in = place.begin(Place.sign_in)
        connection.commit()
    assert signing_in.result().status_code == 401


def test_two_new_passwords_at_once_do_not_both_pass_with_the_former_one(place: Place) -> None:
    with place.held_at_the_audit_trail():
        by_the_superuser = place.begin(superusers_password)
        of_ones_own = place.begin(own_password, waiting=2)
    assert by_the_superuser.result().status_code == 200
    answer = of_ones_own.result()
    assert (answer.status_code, answer.json) == (400, {"detail": "Current password is incorrect"})


def test_a_logout_with_the_tokens_of_two_users_holds_one_of_them_at_a_time(place: Place) -> None:
    theirs = place.tokens
    mine = str(place.chief.token)
    own = place.app.extensions["keyturn"]
    with Session(own.engine) as session:
        accounts.lock_user(session, uuid.UUID(place.chief.user_id))
        leaving = place.begin(lambda place: place.send("POST", "/logout", theirs.refresh, mine))
        # The first of the two is over and done with while the second one is waited for.
        assert place.are_dead(theirs)
        session.rollback()
    assert leaving.result().status_code == 200
    assert place.send("GET", "/users/whoami", bearer=mine).status_code == 401
