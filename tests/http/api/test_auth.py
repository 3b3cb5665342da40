"""Signing in and out: tokens that are issued, exchanged once, and ended at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import URL

from tests.conftest import Clock
from tests.support.client import PASSWORD, SUPERUSER, USER_PASSWORD, Api

REFUSED = (401, {"detail": "Invalid token"})
NOT_REFRESHED = (401, {"detail": "Invalid refresh token"})


def sign_in(app: Flask, username: str = SUPERUSER, password: str = PASSWORD) -> tuple[FlaskClient, dict[str, str]]:
    """A browser with its cookies, and the tokens that it was given."""
    browser = app.test_client()
    answer = browser.post("/api/v1/login", data={"username": username, "password": password})
    assert answer.status_code == 200, answer.json
    return browser, answer.json


def whoami(app: Flask, token: str) -> tuple[int, object]:
    bearer = {"Authorization": f"Bearer {token}"}
    answer = app.test_client(use_cookies=False).get("/api/v1/users/whoami", headers=bearer)
    return answer.status_code, answer.json


def refresh(app: Flask, token: str) -> tuple[int, object]:
    browser = app.test_client()
    browser.set_cookie("refresh_token_lf", token)
    answer = browser.post("/api/v1/refresh")
    return answer.status_code, answer.json


def test_a_login_gives_two_tokens_in_the_documents_order(shared: Flask) -> None:
    _, tokens = sign_in(shared)
    assert list(tokens) == ["access_token", "refresh_token", "token_type"]
    assert tokens["token_type"] == "bearer"


def test_a_login_puts_both_tokens_into_cookies_that_scripts_cannot_read(shared: Flask) -> None:
    form = {"username": SUPERUSER, "password": PASSWORD}
    cookies = shared.test_client().post("/api/v1/login", data=form).headers.getlist("Set-Cookie")
    assert [cookie.split("=")[0] for cookie in cookies] == ["refresh_token_lf", "access_token_lf"]
    assert all("HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie for cookie in cookies)


def test_an_access_token_is_good_as_a_bearer(shared: Flask) -> None:
    _, tokens = sign_in(shared)
    assert whoami(shared, tokens["access_token"])[0] == 200


def test_an_access_token_is_good_as_a_cookie(shared: Flask) -> None:
    browser, _ = sign_in(shared)
    assert browser.get("/api/v1/users/whoami").json["username"] == SUPERUSER


def test_a_session_shows_the_user_of_its_cookie(shared: Flask) -> None:
    browser, _ = sign_in(shared)
    shown = browser.get("/api/v1/session").json
    assert shown["authenticated"] is True
    assert shown["user"] == browser.get("/api/v1/users/whoami").json


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer nonsense"}, {"x-api-key": "sk-nope"}])
def test_a_session_of_nobody_is_no_error(shared: Flask, header: dict[str, str]) -> None:
    answer = shared.test_client().get("/api/v1/session", headers=header)
    assert (answer.status_code, answer.json) == (200, {"authenticated": False, "user": None, "store_api_key": None})


@pytest.mark.parametrize(
    "form",
    [
        {"username": SUPERUSER, "password": "wrong"},
        {"username": "nobody", "password": PASSWORD},
        {"username": SUPERUSER, "password": "p" * 5000},
        {"username": SUPERUSER, "password": ""},
    ],
    ids=["wrong password", "unknown name", "endless password", "empty password"],
)
def test_a_refused_login_says_the_same_whatever_is_wrong(shared: Flask, form: dict[str, str]) -> None:
    answer = shared.test_client().post("/api/v1/login", data=form)
    assert (answer.status_code, answer.json) == (401, {"detail": "Incorrect username or password"})
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_name_is_the_same_name_in_whatever_case_at_a_login(shared: Flask) -> None:
    assert sign_in(shared, SUPERUSER.upper())[1]["access_token"]


def test_an_account_that_nobody_activated_is_told_so_after_the_right_password_only(app: Flask, api: Api) -> None:
    api.post("/users/", json={"username": "new", "password": USER_PASSWORD})
    right, wrong = (
        app.test_client().post("/api/v1/login", data={"username": "new", "password": password})
        for password in (USER_PASSWORD, "guess")
    )
    assert (right.status_code, right.json) == (400, {"detail": "Waiting for approval"})
    assert (wrong.status_code, wrong.json) == (401, {"detail": "Incorrect username or password"})


def test_a_deactivated_account_cannot_sign_in_again(app: Flask, api: Api, other: Api) -> None:
    api.patch(f"/users/{other.user_id}", json={"is_active": False})
    answer = app.test_client().post("/api/v1/login", data={"username": "somebody", "password": USER_PASSWORD})
    assert (answer.status_code, answer.json) == (401, {"detail": "Inactive user"})


def test_an_access_token_ends_with_its_time(app: Flask, clock: Clock) -> None:
    _, tokens = sign_in(app)
    clock.forward(minutes=59)
    assert whoami(app, tokens["access_token"])[0] == 200
    clock.forward(minutes=2)
    assert whoami(app, tokens["access_token"]) == REFUSED


def test_a_refresh_token_is_no_access_token(shared: Flask) -> None:
    _, tokens = sign_in(shared)
    assert whoami(shared, tokens["refresh_token"]) == (401, {"detail": "Invalid token type"})


def test_an_access_token_refreshes_nothing(shared: Flask) -> None:
    _, tokens = sign_in(shared)
    assert refresh(shared, tokens["access_token"]) == NOT_REFRESHED


def test_a_refresh_gives_two_new_tokens(shared: Flask) -> None:
    _, old = sign_in(shared)
    status, new = refresh(shared, old["refresh_token"])
    assert status == 200
    assert not {old["access_token"], old["refresh_token"]} & {new["access_token"], new["refresh_token"]}
    assert whoami(shared, new["access_token"])[0] == 200


def test_a_refresh_ends_the_access_token_before_it(shared: Flask) -> None:
    _, old = sign_in(shared)
    refresh(shared, old["refresh_token"])
    assert whoami(shared, old["access_token"]) == REFUSED


def test_a_refresh_token_ends_with_its_time(app: Flask, clock: Clock) -> None:
    _, tokens = sign_in(app)
    clock.forward(days=7, seconds=1)
    assert refresh(app, tokens["refresh_token"]) == NOT_REFRESHED


def test_a_refresh_token_is_good_for_one_use(shared: Flask) -> None:
    _, tokens = sign_in(shared)
    refresh(shared, tokens["refresh_token"])
    assert refresh(shared, tokens["refresh_token"]) == NOT_REFRESHED


def test_a_second_use_of_a_refresh_token_ends_all_that_came_of_the_sign_in(shared: Flask) -> None:
    _, stolen = sign_in(shared)
    _, new = refresh(shared, stolen["refresh_token"])
    refresh(shared, stolen["refresh_token"])
    assert whoami(shared, new["access_token"]) == REFUSED
    assert refresh(shared, new["refresh_token"]) == NOT_REFRESHED


def test_a_second_use_leaves_the_users_other_sign_ins_alone(shared: Flask) -> None:
    _, stolen = sign_in(shared)
    _, elsewhere = sign_in(shared)
    refresh(shared, stolen["refresh_token"])
    refresh(shared, stolen["refresh_token"])
    assert whoami(shared, elsewhere["access_token"])[0] == 200


def test_logout_ends_the_access_token(shared: Flask) -> None:
    browser, tokens = sign_in(shared)
    assert browser.post("/api/v1/logout").json == {"message": "Logout successful"}
    assert whoami(shared, tokens["access_token"]) == REFUSED


def test_logout_ends_the_refresh_token(shared: Flask) -> None:
    browser, tokens = sign_in(shared)
    browser.post("/api/v1/logout")
    assert refresh(shared, tokens["refresh_token"]) == NOT_REFRESHED


def test_logout_by_bearer_ends_the_sign_in_too(shared: Flask) -> None:
    _, tokens = sign_in(shared)
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    shared.test_client(use_cookies=False).post("/api/v1/logout", headers=bearer)
    assert refresh(shared, tokens["refresh_token"]) == NOT_REFRESHED


def test_logout_takes_the_cookies_back(shared: Flask) -> None:
    browser, _ = sign_in(shared)
    browser.post("/api/v1/logout")
    assert browser.get_cookie("access_token_lf") is None
    assert browser.get_cookie("refresh_token_lf") is None


def test_a_new_password_of_ones_own_ends_every_sign_in(app: Flask, other: Api) -> None:
    _, elsewhere = sign_in(app, "somebody", USER_PASSWORD)
    body = {"current_password": USER_PASSWORD, "password": "newpw12345"}
    bearer = {"Authorization": f"Bearer {other.token}"}
    answer = other.patch(f"/users/{other.user_id}/reset-password", json=body, headers=bearer)
    assert answer.status_code == 200
    assert [whoami(app, token) for token in (str(other.token), elsewhere["access_token"])] == [REFUSED, REFUSED]
    assert refresh(app, elsewhere["refresh_token"]) == NOT_REFRESHED


def test_a_password_that_a_superuser_sets_ends_every_sign_in(app: Flask, api: Api, other: Api) -> None:
    assert api.patch(f"/users/{other.user_id}", json={"password": "newpw12345"}).status_code == 200
    assert whoami(app, str(other.token)) == REFUSED


def test_deactivation_ends_tokens(app: Flask, api: Api, other: Api) -> None:
    _, tokens = sign_in(app, "somebody", USER_PASSWORD)
    api.patch(f"/users/{other.user_id}", json={"is_active": False})
    assert whoami(app, tokens["access_token"]) == REFUSED
    assert refresh(app, tokens["refresh_token"]) == NOT_REFRESHED


def test_activating_somebody_again_does_not_bring_old_tokens_back(app: Flask, api: Api, other: Api) -> None:
    for active in (False, True):
        api.patch(f"/users/{other.user_id}", json={"is_active": active})
    assert whoami(app, str(other.token)) == REFUSED


def test_logins_are_limited_for_each_address(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    browser = make_app(sqlite_url, rate_limit_enabled=True).test_client()
    guesses = [browser.post("/api/v1/login", data={"username": "a", "password": "b"}) for _ in range(6)]
    assert [answer.status_code for answer in guesses] == [401] * 5 + [429]
    assert guesses[-1].json["retry_after"] == guesses[-1].headers["Retry-After"]
