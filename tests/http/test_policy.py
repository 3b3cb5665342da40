"""The door on real applications: who passes, with what answer, under every configuration."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from tests.support.doors import CARRIERS, ENDPOINTS, STRANGER, House, Houses

NO_CREDENTIAL = "No authentication credentials provided"
KEY_MISSING = "An API key must be passed as query or header"
KEY_NEEDED = (
    "Since v1.5, LANGFLOW_AUTO_LOGIN requires a valid API key. Set LANGFLOW_SKIP_AUTH_AUTO_LOGIN=true to skip "
    "this check. Please update your authentication method."
)
OLD, MIDDLE, NEW = "1.4.3", "1.13.0", "2.0.0"
OPEN = {"langflow_version": MIDDLE, "auto_login": True, "skip_auth_auto_login": True}

#: version, AUTO_LOGIN, SKIP -> None where a request without a credential passes, else what a run endpoint says.
WITHOUT_CREDENTIAL = {
    (OLD, True, True): None,
    (OLD, True, False): None,
    (OLD, False, True): None,
    (OLD, False, False): KEY_MISSING,
    (MIDDLE, True, True): None,
    (MIDDLE, True, False): KEY_NEEDED,
    (MIDDLE, False, True): KEY_MISSING,
    (MIDDLE, False, False): KEY_MISSING,
    (NEW, True, True): KEY_MISSING,
    (NEW, True, False): KEY_MISSING,
    (NEW, False, True): KEY_MISSING,
    (NEW, False, False): KEY_MISSING,
}
PASSING = [configuration for configuration, text in WITHOUT_CREDENTIAL.items() if text is None]
ALL = list(WITHOUT_CREDENTIAL)

#: Every endpoint that lists tools, and what a request without a credential sees there; None: it is refused.
MCP = ["mcp", "mcp project", "mcp alias"]
TOOLS_WITHOUT_CREDENTIAL = {
    (OLD, True, True): ["public", "hidden"],
    (OLD, True, False): ["public", "hidden"],
    (OLD, False, True): ["public", "hidden"],
    (OLD, False, False): None,
    **{(version, auto, skip): ["public"] for version in (MIDDLE, NEW) for auto in (True, False)
       for skip in (True, False)},
}  # fmt: skip


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Houses]:
    made = Houses(tmp_path_factory.mktemp("doors"))
    yield made
    made.close()


@pytest.fixture
def house(houses: Houses, configuration: tuple[str, bool, bool]) -> House:
    version, auto_login, skip = configuration
    return houses.of(langflow_version=version, auto_login=auto_login, skip_auth_auto_login=skip)


def name_of(configuration: tuple[str, bool, bool]) -> str:
    version, auto_login, skip = configuration
    return version + "-auto_login" * auto_login + "-skip" * skip


every_configuration = pytest.mark.parametrize("configuration", ALL, ids=name_of)
every_carrier = pytest.mark.parametrize("carrier", CARRIERS)
where_it_passes = pytest.mark.parametrize("configuration", PASSING, ids=name_of)


@every_configuration
@pytest.mark.parametrize("endpoint", ["api", "superuser"])
def test_a_request_without_a_credential_is_judged_by_the_table(house: House, configuration, endpoint: str) -> None:
    answer = house.ask(endpoint)
    if WITHOUT_CREDENTIAL[configuration] is None:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json) == (403, {"detail": NO_CREDENTIAL})


@every_configuration
def test_a_run_without_a_credential_is_judged_by_the_table(house: House, configuration) -> None:
    answer, refusal = house.ask("run"), WITHOUT_CREDENTIAL[configuration]
    if refusal is None:
        assert answer.json == {"detail": "Flow identifier no-such-flow not found"}
    else:
        assert (answer.status_code, answer.json) == (403, {"detail": refusal})


@where_it_passes
def test_a_request_that_passes_without_a_credential_acts_as_the_superuser(house: House) -> None:
    assert house.ask("api").json["username"] == "administrator"


@every_configuration
@pytest.mark.parametrize("endpoint", ["public", "optional"])
def test_public_endpoints_answer_anybody(house: House, endpoint: str) -> None:
    assert house.ask(endpoint).status_code == 200


@every_configuration
def test_a_webhook_without_a_key_is_refused_everywhere(house: House) -> None:
    answer = house.ask("webhook")
    assert (answer.status_code, answer.json["detail"]) == (
        403,
        "API key required when webhook authentication is enabled",
    )


@every_configuration
@every_carrier
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_good_key_is_let_in_from_every_carrier(house: House, endpoint: str, carrier: str) -> None:
    assert house.ask(endpoint, house.keys["good"], carrier).status_code == ENDPOINTS[endpoint][2]


@every_configuration
@every_carrier
@pytest.mark.parametrize(
    ("endpoint", "credential"),
    list(product(["api", "run", "optional", *MCP, "mcp settings"], ["bad", "expired", "deactivated"])),
)
def test_a_key_that_is_not_good_is_never_anonymous(
    house: House, endpoint: str, credential: str, carrier: str
) -> None:
    answer = house.ask(endpoint, house.keys[credential], carrier)
    wording = "Invalid or missing API key" if endpoint == "run" else "Invalid API key"
    assert (answer.status_code, answer.json) == (403, {"detail": wording})


@pytest.mark.parametrize("value", ["", " ", "null", "undefined", "0", "sk-", "sk-'--", "sk-" + "é" * 9, "x" * 9000])
@pytest.mark.parametrize("carrier", ["header", "query"])
def test_junk_in_place_of_a_key_is_refused_where_nobody_needs_one(houses: Houses, value: str, carrier: str) -> None:
    answer = houses.of(**OPEN).ask("api", value, carrier)
    assert (answer.status_code, answer.json) == (403, {"detail": "Invalid API key"})


@pytest.mark.parametrize("token", ["", "junk", "kta_unknown", "ktr_unknown", "eyJhbGciOiJub25lIn0.e30."])
def test_a_bad_bearer_is_401_where_nobody_needs_one(houses: Houses, token: str) -> None:
    answer = houses.of(**OPEN).ask("api", token, "bearer")
    assert (answer.status_code, answer.json) == (401, {"detail": "Invalid token"})


def test_a_bad_cookie_is_401_where_nobody_needs_one(houses: Houses) -> None:
    answer = houses.of(**OPEN).ask("api", headers={"Cookie": "access_token_lf=kta_unknown"})
    assert answer.status_code == 401


@where_it_passes
@pytest.mark.parametrize("token", ["junk", "kta_unknown", "good"])
@pytest.mark.parametrize("carrier", ["bearer", "cookie"])
def test_a_login_token_does_not_open_a_run_where_nobody_needs_a_key(house: House, token: str, carrier: str) -> None:
    value = house.token if token == "good" else token
    headers = {"Authorization": f"Bearer {value}"} if carrier == "bearer" else {"Cookie": f"access_token_lf={value}"}
    answer = house.ask("run", headers=headers)
    assert (answer.status_code, answer.json) == (403, {"detail": KEY_MISSING})


def test_a_good_login_token_opens_an_api_endpoint(houses: Houses) -> None:
    house = houses.of(langflow_version=MIDDLE)
    assert house.ask("api", house.token, "bearer").status_code == 200


def test_a_bad_key_beside_a_good_one_is_refused(houses: Houses) -> None:
    house = houses.of(langflow_version=MIDDLE)
    both = {"Authorization": f"Bearer {house.keys['good']}", "x-api-key": house.keys["bad"]}
    assert house.ask("api", headers=both).status_code == 403


@where_it_passes
def test_the_deprecated_way_in_sends_a_warning_and_no_other_does(house: House, configuration) -> None:
    assert ("Warning" in house.ask("api").headers) is (configuration[0] == MIDDLE)


def test_a_request_with_a_key_gets_no_warning(houses: Houses) -> None:
    house = houses.of(**OPEN)
    assert "Warning" not in house.ask("api", house.keys["good"]).headers


@where_it_passes
@pytest.mark.parametrize("endpoint", ["api", "run", "superuser"])
@pytest.mark.parametrize(
    "origin",
    [
        {"address": STRANGER},
        {"address": "192.168.1.5"},
        {"address": "::ffff:203.0.113.9"},
        {"address": ""},
        {"host": "evil.example"},
        {"host": "evil.example:7860"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example:7860"},
        {"host": "0.0.0.0:7860"},
    ],
    ids=str,
)
def test_nothing_passes_without_a_credential_from_elsewhere(
    house: House, endpoint: str, origin: dict[str, str]
) -> None:
    assert house.ask(endpoint, **origin).status_code in {400, 403}


@where_it_passes
@pytest.mark.parametrize("origin", [{"address": "::1"}, {"host": "127.0.0.1:7860"}, {"host": "[::1]:7860"}], ids=str)
def test_every_loopback_name_counts_as_this_machine(house: House, origin: dict[str, str]) -> None:
    assert house.ask("api", **origin).status_code == 200


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Host", "X-Original-URL", "X-Request-From"]
)
def test_no_header_makes_a_stranger_a_neighbour(houses: Houses, header: str) -> None:
    answer = houses.of(**OPEN).ask("api", address=STRANGER, headers={header: "127.0.0.1"})
    assert answer.status_code == 403


PROXIED = [
    {"X-Forwarded-For": "203.0.113.9"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-Host": "keyturn.example"},
    {"X-Forwarded-Proto": "https"},
    {"X-Real-IP": "203.0.113.9"},
    {"Forwarded": "for=203.0.113.9"},
    {"Via": "1.1 proxy"},
]


@where_it_passes
@pytest.mark.parametrize("headers", PROXIED, ids=str)
def test_nothing_passes_without_a_credential_through_a_proxy_of_this_machine(
    house: House, headers: dict[str, str]
) -> None:
    assert house.ask("api", headers=headers).status_code == 403


@pytest.mark.parametrize("headers", PROXIED, ids=str)
def test_auto_login_signs_nobody_in_through_a_proxy_of_this_machine(houses: Houses, headers: dict[str, str]) -> None:
    client = houses.of(**OPEN).app.test_client(use_cookies=False)
    assert client.get("/api/v1/auto_login", headers=headers).status_code == 403


def test_what_nginx_hands_on_by_default_passes_only_with_a_credential(houses: Houses) -> None:
    house = houses.of(**OPEN)
    client, nginx = house.app.test_client(use_cookies=False), {"SERVER_PROTOCOL": "HTTP/1.0"}
    host = {"Host": "127.0.0.1:7860", "Connection": "close"}
    path, key = "/api/v1/users/whoami", {"x-api-key": house.keys["good"]}
    assert client.get(path, headers=host, environ_overrides=nginx).status_code == 403
    assert client.get(path, headers=host | key, environ_overrides=nginx).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "Via": "1.1 proxy"}, 200),
        ({}, 200),
        ({"X-Forwarded-For": "203.0.113.9"}, 403),
        ({"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}, 403),
        ({"X-Forwarded-For": "unknown"}, 403),
        ({"X-Real-IP": "203.0.113.9"}, 403),
        ({"Via": "1.1 proxy"}, 403),
    ],
    ids=str,
)
def test_behind_a_trusted_proxy_the_address_that_it_tells_decides(
    houses: Houses, headers: dict[str, str], status: int
) -> None:
    assert houses.of(**OPEN, trusted_proxies=1).ask("api", headers=headers).status_code == status


def test_whoever_reaches_the_server_past_its_proxy_is_no_neighbour(houses: Houses) -> None:
    headers = {"X-Forwarded-For": "127.0.0.1"}
    answer = houses.of(**OPEN, trusted_proxies=1).ask("api", headers=headers, address=STRANGER)
    assert answer.status_code == 403


def test_a_trusted_proxy_on_a_socket_tells_of_this_machine(houses: Houses) -> None:
    headers = {"X-Forwarded-For": "127.0.0.1"}
    answer = houses.of(**OPEN, trusted_proxies=1).ask("api", headers=headers, address="")
    assert answer.status_code == 200


def test_fewer_proxies_than_the_operator_says_open_nothing(houses: Houses) -> None:
    answer = houses.of(**OPEN, trusted_proxies=2).ask("api", headers={"X-Forwarded-For": "203.0.113.9"})
    assert answer.status_code == 403


def test_an_operator_can_accept_requests_through_a_proxy(houses: Houses) -> None:
    answer = houses.of(**OPEN, allow_unauthenticated=True).ask("api", headers={"X-Forwarded-For": STRANGER})
    assert answer.status_code == 200


def test_an_operator_can_accept_requests_from_elsewhere(houses: Houses) -> None:
    answer = houses.of(**OPEN, allow_unauthenticated=True).ask("api", address=STRANGER, host="keyturn.example")
    assert answer.status_code == 200


def test_a_key_from_elsewhere_is_as_good_as_from_here(houses: Houses) -> None:
    house = houses.of(langflow_version=MIDDLE)
    assert house.ask("api", house.keys["good"], address=STRANGER, host="keyturn.example").status_code == 200


def test_the_table_of_mcp_speaks_of_every_configuration() -> None:
    assert TOOLS_WITHOUT_CREDENTIAL.keys() == WITHOUT_CREDENTIAL.keys()


@every_configuration
@pytest.mark.parametrize("endpoint", MCP)
def test_an_mcp_client_without_a_credential_sees_what_the_table_says(
    house: House, configuration, endpoint: str
) -> None:
    expected = TOOLS_WITHOUT_CREDENTIAL[configuration]
    if expected is None:
        answer = house.ask(endpoint)
        assert (answer.status_code, answer.json) == (403, {"detail": NO_CREDENTIAL})
    else:
        assert house.tools(endpoint) == expected


@every_configuration
@pytest.mark.parametrize("endpoint", ["mcp head", *MCP])
def test_an_mcp_stream_opens_where_messages_are_answered(house: House, configuration, endpoint: str) -> None:
    refused = TOOLS_WITHOUT_CREDENTIAL[configuration] is None
    assert house.ask(endpoint).status_code == (403 if refused else 200)


@every_configuration
@pytest.mark.parametrize("endpoint", MCP)
def test_an_mcp_client_from_elsewhere_sees_no_more_than_what_is_public(
    house: House, configuration, endpoint: str
) -> None:
    if TOOLS_WITHOUT_CREDENTIAL[configuration] == ["public"]:
        assert house.tools(endpoint, address=STRANGER, host="keyturn.example") == ["public"]
    else:
        assert house.ask(endpoint, address=STRANGER, host="keyturn.example").status_code == 403


@every_configuration
@every_carrier
@pytest.mark.parametrize("endpoint", MCP)
def test_an_mcp_client_with_a_key_sees_its_owners_tools(house: House, endpoint: str, carrier: str) -> None:
    assert house.tools(endpoint, house.keys["good"], carrier=carrier) == ["public", "hidden"]


@every_configuration
@pytest.mark.parametrize("endpoint", MCP)
def test_mcp_that_needs_a_key_lets_nobody_else_in(houses: Houses, configuration, endpoint: str) -> None:
    version, auto_login, skip = configuration
    closed = houses.of(
        langflow_version=version, auto_login=auto_login, skip_auth_auto_login=skip, mcp_require_api_key=True
    )
    as_superuser = TOOLS_WITHOUT_CREDENTIAL[configuration] == ["public", "hidden"]
    assert closed.ask(endpoint).status_code == (200 if as_superuser else 403)
    assert closed.tools(endpoint, closed.keys["good"]) == ["public", "hidden"]


@every_configuration
def test_the_settings_of_tools_are_an_api_endpoint(house: House, configuration) -> None:
    passes = WITHOUT_CREDENTIAL[configuration] is None
    assert house.ask("mcp settings").status_code == (200 if passes else 403)
    assert house.ask("mcp settings", method="PATCH").status_code == (422 if passes else 403)


@every_configuration
@pytest.mark.parametrize("credential", ["bad", "expired", "deactivated"])
def test_a_key_that_is_not_good_opens_no_stream(house: House, credential: str) -> None:
    assert house.ask("mcp head", house.keys[credential]).status_code == 403


@pytest.mark.parametrize("token", ["junk", "kta_unknown"])
def test_a_bad_login_token_is_never_anonymous_for_mcp(houses: Houses, token: str) -> None:
    assert houses.of(**OPEN).ask("mcp", token, "bearer").status_code == 401
