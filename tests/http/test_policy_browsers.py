"""The door for browsers, whose cookies other sites can send, and for MCP endpoints."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from werkzeug.test import TestResponse

from service.http.rules import RULES
from tests.support.doors import STRANGER, House, Houses

NAME = {"name": "made by a page"}
CROSS_SITE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:8080"},
]
OWN_SITE = [
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://localhost"},
    {},
]
#: What a page of another site can have a browser send for reading.
READING = [
    *CROSS_SITE,
    {"Origin": "http://[::1"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
]
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
OPEN = {"langflow_version": "1.13.0", "auto_login": True, "skip_auth_auto_login": True}
OURS = "https://ours.example"
FROM_OURS = {"Origin": OURS, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
OLD = {"langflow_version": "1.4.3"}


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Houses]:
    made = Houses(tmp_path_factory.mktemp("browsers"))
    yield made
    made.close()


def make_key(house: House, headers: dict[str, str], *, cookie: bool = True) -> TestResponse:
    sent = headers | ({"Cookie": f"access_token_lf={house.token}"} if cookie else {})
    return house.app.test_client(use_cookies=False).post("/api/v1/api_key/", json=NAME, headers=sent)


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
def test_another_site_cannot_act_with_a_users_cookie(houses: Houses, headers: dict[str, str]) -> None:
    answer = make_key(houses.of(), headers)
    assert (answer.status_code, answer.json) == (403, {"detail": "This request comes from another site"})


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
def test_another_site_cannot_act_where_nobody_needs_a_credential(houses: Houses, headers: dict[str, str]) -> None:
    assert make_key(houses.of(**OPEN), headers, cookie=False).status_code == 403


@pytest.mark.parametrize("policy", [OPEN, OLD | {"auto_login": True}], ids=["1.13", "1.4"])
@pytest.mark.parametrize("headers", READING, ids=str)
def test_another_site_cannot_read_where_nobody_needs_a_credential(
    houses: Houses, policy: dict[str, object], headers: dict[str, str]
) -> None:
    answer = houses.of(**policy).ask("api", headers=headers)
    assert (answer.status_code, answer.json) == (403, {"detail": "This request comes from another site"})


@pytest.mark.parametrize("headers", READING, ids=str)
def test_another_site_cannot_read_where_an_operator_accepts_requests_from_elsewhere(
    houses: Houses, headers: dict[str, str]
) -> None:
    assert houses.of(**OPEN, allow_unauthenticated=True).ask("api", headers=headers).status_code == 403


@pytest.mark.parametrize("headers", READING, ids=str)
@pytest.mark.parametrize("path", ["/api/v1/auto_login", "/login"])
def test_another_site_gets_no_login_tokens(houses: Houses, path: str, headers: dict[str, str]) -> None:
    answer = houses.of(**OPEN).app.test_client(use_cookies=False).get(path, headers=headers)
    assert "access_token" not in answer.text
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("headers", [*OWN_SITE, LINK], ids=str)
@pytest.mark.parametrize(
    ("path", "status"), [("/api/v1/users/whoami", 200), ("/api/v1/auto_login", 200), ("/login", 303)]
)
def test_the_server_itself_and_a_link_from_anywhere_read_where_nobody_needs_a_credential(
    houses: Houses, path: str, status: int, headers: dict[str, str]
) -> None:
    answer = houses.of(**OPEN).app.test_client(use_cookies=False).get(path, headers=headers)
    assert answer.status_code == status


def test_a_form_that_navigates_is_no_link(houses: Houses) -> None:
    assert make_key(houses.of(**OPEN), LINK, cookie=False).status_code == 403


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_site_that_the_operator_lists_passes_where_nobody_needs_a_credential(houses: Houses, method: str) -> None:
    client = houses.of(**OPEN, cors_origins=(OURS,)).app.test_client(use_cookies=False)
    body = {"json": NAME} if method == "POST" else {}
    assert client.open("/api/v1/api_key/", method=method, headers=FROM_OURS, **body).status_code == 200


@pytest.mark.parametrize("headers", OWN_SITE, ids=str)
def test_a_page_of_the_server_itself_acts_with_the_cookie(houses: Houses, headers: dict[str, str]) -> None:
    assert make_key(houses.of(), headers).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/login", "/api/v1/refresh", "/api/v1/logout"])
def test_another_site_cannot_sign_anybody_in_or_out(houses: Houses, path: str) -> None:
    client = houses.of().app.test_client(use_cookies=False)
    assert (
        client.post(
            path, headers={"Sec-Fetch-Site": "cross-site"}, data={"username": "a", "password": "b"}
        ).status_code
        == 403
    )


def test_a_site_that_the_operator_lists_may_act(houses: Houses) -> None:
    house = houses.of(cors_origins=(OURS,), cors_allow_credentials=True)
    assert make_key(house, FROM_OURS).status_code == 200


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_a_listed_site_cannot_act_with_a_users_cookie_unless_credentials_are_allowed(
    houses: Houses, site: str
) -> None:
    assert make_key(houses.of(cors_origins=(OURS,)), FROM_OURS | {"Sec-Fetch-Site": site}).status_code == 403


def test_a_listed_site_acts_with_a_login_token_that_it_holds_itself(houses: Houses) -> None:
    house = houses.of(cors_origins=(OURS,))
    headers = FROM_OURS | {"Authorization": f"Bearer {house.token}"}
    assert make_key(house, headers, cookie=False).status_code == 200


def test_a_listed_site_signs_in_with_a_name_and_a_password(houses: Houses) -> None:
    client = houses.of(cors_origins=(OURS,)).app.test_client(use_cookies=False)
    form = {"username": "administrator", "password": "securepassword"}
    assert client.post("/api/v1/login", headers=FROM_OURS, data=form).status_code == 200


def test_a_key_needs_no_proof_of_its_site(houses: Houses) -> None:
    house = houses.of()
    headers = {"x-api-key": house.keys["good"], "Sec-Fetch-Site": "cross-site"}
    assert make_key(house, headers, cookie=False).status_code == 200


def test_no_origin_may_read_an_answer_unless_it_is_listed(houses: Houses) -> None:
    answer = houses.of(**OPEN).ask("api", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("switch", ["auto_login", "skip_auth_auto_login"])
def test_mcp_before_1_5_refuses_a_stranger_without_a_credential(houses: Houses, switch: str) -> None:
    assert houses.of(**OLD, **{switch: True}).ask("mcp", address=STRANGER).status_code == 403


def test_mcp_sends_no_warning_to_nobody_in_particular(houses: Houses) -> None:
    assert "Warning" not in houses.of(**OPEN).ask("mcp").headers


def test_an_endpoint_without_a_rule_is_closed(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    house = houses.of(**OPEN)
    monkeypatch.delitem(RULES, "mcp.message")
    assert house.ask("mcp", house.keys["good"]).status_code == 403


def test_auto_login_signs_nobody_in_from_elsewhere(houses: Houses) -> None:
    client = houses.of(**OPEN).app.test_client(use_cookies=False)
    assert client.get("/api/v1/auto_login", environ_base={"REMOTE_ADDR": STRANGER}).status_code == 403


@pytest.mark.parametrize(
    ("version", "status", "message"),
    [
        ("1.13.0", 403, "Auto login is disabled."),
        ("1.5.1", 400, "Auto login is disabled. Please enable it in the settings"),
    ],
)
def test_auto_login_signs_nobody_in_by_default(houses: Houses, version: str, status: int, message: str) -> None:
    answer = houses.of(langflow_version=version).app.test_client(use_cookies=False).get("/api/v1/auto_login")
    assert (answer.status_code, answer.json) == (status, {"detail": {"message": message, "auto_login": False}})
