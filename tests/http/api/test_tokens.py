"""Login tokens: issued, rotated, reused, ended."""

from __future__ import annotations

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import Clock
from tests.support.client import PASSWORD, SUPERUSER, USER_PASSWORD, Api


def sign_in(client: FlaskClient, username: str = SUPERUSER, password: str = PASSWORD) -> dict[str, str]:
    answer = client.post("/api/v1/login", data={"username": username, "password": password})
    assert answer.status_code == 200
    return answer.json


def whoami(app: Flask, token: str) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"}
    return app.test_client(use_cookies=False).get("/api/v1/users/whoami", headers=headers)


def test_a_login_answers_with_opaque_tokens_of_the_documented_shape(client: FlaskClient) -> None:
    tokens = sign_in(client)
    assert list(tokens) == ["access_token", "refresh_token", "token_type"]
    assert "." not in tokens["access_token"]


def test_the_cookies_are_out_of_reach_for_scripts(client: FlaskClient) -> None:
    answer = client.post("/api/v1/login", data={"username": SUPERUSER, "password": PASSWORD})
    cookies = answer.headers.getlist("Set-Cookie")
    assert len(cookies) == 2
    assert all("HttpOnly" in cookie and "SameSite=Lax" in cookie for cookie in cookies)


def test_an_access_token_ends_with_its_time(app: Flask, client: FlaskClient, clock: Clock) -> None:
    token = sign_in(client)["access_token"]
    clock.forward(seconds=3599)
    assert whoami(app, token).status_code == 200
    clock.forward(seconds=2)
    assert whoami(app, token).status_code == 401


def test_a_refresh_token_is_no_access_token(app: Flask, client: FlaskClient) -> None:
    answer = whoami(app, sign_in(client)["refresh_token"])
    assert (answer.status_code, answer.json) == (401, {"detail": "Invalid token type"})


def test_a_refresh_gives_new_tokens_and_ends_the_old_access_token(app: Flask, client: FlaskClient) -> None:
    old = sign_in(client)
    new = client.post("/api/v1/refresh").json
    assert whoami(app, new["access_token"]).status_code == 200
    assert whoami(app, old["access_token"]).status_code == 401


def test_a_second_use_of_a_refresh_token_ends_the_whole_sign_in(app: Flask, client: FlaskClient) -> None:
    stolen = sign_in(client)["refresh_token"]
    new = client.post("/api/v1/refresh").json
    thief = app.test_client()
    thief.set_cookie("refresh_token_lf", stolen)
    assert thief.post("/api/v1/refresh").status_code == 401
    assert whoami(app, new["access_token"]).status_code == 401
    assert client.post("/api/v1/refresh").status_code == 401


def test_a_reuse_leaves_other_sign_ins_alone(app: Flask, client: FlaskClient) -> None:
    stolen = sign_in(client)["refresh_token"]
    elsewhere = sign_in(app.test_client())
    client.post("/api/v1/refresh")
    thief = app.test_client()
    thief.set_cookie("refresh_token_lf", stolen)
    thief.post("/api/v1/refresh")
    assert whoami(app, elsewhere["access_token"]).status_code == 200


def test_logout_ends_both_tokens(app: Flask, client: FlaskClient) -> None:
    tokens = sign_in(client)
    assert client.post("/api/v1/logout").json == {"message": "Logout successful"}
    assert whoami(app, tokens["access_token"]).status_code == 401
    client.set_cookie("refresh_token_lf", tokens["refresh_token"])
    assert client.post("/api/v1/refresh").status_code == 401


def test_a_new_password_ends_every_sign_in(app: Flask, api: Api) -> None:
    user = api.new_user("somebody")
    elsewhere = sign_in(app.test_client(), "somebody", USER_PASSWORD)
    body = {"current_password": USER_PASSWORD, "password": "newpw123"}
    bearer = {"Authorization": f"Bearer {user.token}", "x-api-key": str(user.key)}
    assert user.patch(f"/users/{user.user_id}/reset-password", json=body, headers=bearer).status_code == 200
    assert whoami(app, str(user.token)).status_code == 401
    assert whoami(app, elsewhere["access_token"]).status_code == 401
    assert sign_in(app.test_client(), "somebody", "newpw123")


def test_deactivation_ends_tokens_and_keys(app: Flask, api: Api) -> None:
    user = api.new_user("somebody")
    api.patch(f"/users/{user.user_id}", json={"is_active": False})
    assert whoami(app, str(user.token)).status_code == 401
    assert user.get("/users/whoami").status_code == 403


def test_an_account_that_waits_is_told_so_after_the_right_password_only(api: Api) -> None:
    api.post("/users/", json={"username": "new", "password": USER_PASSWORD})
    nobody = Api(api.app, None, "")
    right = nobody.post("/login", data={"username": "new", "password": USER_PASSWORD})
    wrong = nobody.post("/login", data={"username": "new", "password": "guess"})
    assert (right.status_code, right.json) == (400, {"detail": "Waiting for approval"})
    assert (wrong.status_code, wrong.json) == (401, {"detail": "Incorrect username or password"})


def test_signing_in_is_limited_per_address(make_app, sqlite_url) -> None:  # type: ignore[no-untyped-def]
    app = make_app(sqlite_url, rate_limit_enabled=True)
    client = app.test_client()
    guesses = [client.post("/api/v1/login", data={"username": "a", "password": "b"}) for _ in range(6)]
    assert [answer.status_code for answer in guesses] == [401] * 5 + [429]
    assert guesses[-1].headers["Retry-After"] == guesses[-1].json["retry_after"]


def test_the_session_tells_who_is_signed_in(client: FlaskClient) -> None:
    token = sign_in(client)["access_token"]
    told = client.get("/api/v1/session").json
    assert (told["authenticated"], told["store_api_key"]) == (True, None)
    assert told["user"] == client.get("/api/v1/users/whoami", headers={"Authorization": f"Bearer {token}"}).json


def test_a_session_that_has_ended_is_nobodys_and_no_error(client: FlaskClient, clock: Clock) -> None:
    sign_in(client)
    clock.forward(seconds=3601)
    assert client.get("/api/v1/session").json == {"authenticated": False, "user": None, "store_api_key": None}
