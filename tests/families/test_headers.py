"""Header fuzz: no header but the credential, and no spelling of a path, changes who gets in."""

from __future__ import annotations

import pytest
from flask import Flask

from service.domain import key_text
from tests.conftest import MakeApp
from tests.families.routes import CLOSED, ONE_OF_EACH_KIND, Owner, Route, call_of, ghost, name_of, status_of

LOCAL = "127.0.0.1"
HEADERS: list[dict[str, str]] = [
    {"Host": "evil.example"},
    {"Host": "localhost"},
    {"Host": "127.0.0.1:7860"},
    {"Host": "[::1]"},
    {"X-Forwarded-For": LOCAL},
    {"X-Forwarded-Host": "localhost"},
    {"X-Forwarded-Proto": "https"},
    {"X-Forwarded-Prefix": "/health"},
    {"X-Forwarded-Uri": "/health"},
    {"X-Forwarded-User": "administrator"},
    {"X-Forwarded-Email": "administrator@localhost"},
    {"Forwarded": "for=127.0.0.1;host=localhost;proto=https"},
    {"X-Original-URL": "/health"},
    {"X-Rewrite-URL": "/health"},
    {"X-Original-URI": "/api/v1/version"},
    {"X-HTTP-Method-Override": "GET"},
    {"X-HTTP-Method": "OPTIONS"},
    {"X-Method-Override": "HEAD"},
    {"X-Request-From": "internal"},
    {"X-Internal-Request": "true"},
    {"X-Real-IP": LOCAL},
    {"True-Client-IP": LOCAL},
    {"CF-Connecting-IP": LOCAL},
    {"X-Client-IP": LOCAL},
    {"X-Cluster-Client-IP": LOCAL},
    {"Remote-User": "administrator"},
    {"X-Remote-User": "administrator"},
    {"X-User-Id": "1"},
    {"X-Tenant-Id": "1"},
    {"X-Superuser": "true"},
    {"Authorization": "Basic YWRtaW5pc3RyYXRvcjpzZWN1cmVwYXNzd29yZA=="},
    {"Proxy-Authorization": "Bearer sk-proxy"},
    {"Cookie": "session=1; is_superuser=true; user_id=1"},
    {"Referer": "http://localhost/"},
    {"Via": "1.1 localhost"},
    {"Content-Type": "text/plain"},
]

every_header = pytest.mark.parametrize("header", HEADERS, ids=lambda header: " ".join(map(": ".join, header.items())))


@pytest.fixture(scope="module")
def owner(lasting: Flask) -> Owner:
    made = Owner(lasting)
    made.all_things()
    return made


@pytest.fixture(scope="module")
def usual(lasting: Flask, owner: Owner) -> dict[tuple[Route, str], int]:
    """The status of each route for each credential, without any other header."""
    return {
        (route, name): ask(lasting, owner, route, name, {}) for route in CLOSED for name in credentials_for(route)
    }


def credentials_for(route: Route) -> list[str]:
    # What makes or deletes something of the caller would not answer twice alike; a good key is for the others.
    names = ["none", "good"] if route[0] == "GET" else ["none"]
    return [*names, "bad"] if route in ONE_OF_EACH_KIND else names


def ask(app: Flask, owner: Owner, route: Route, name: str, header: dict[str, str]) -> int:
    credential = {"none": {}, "bad": {"x-api-key": BAD}, "good": owner.credential(route)}[name]
    things = ghost(owner.things)
    call = call_of(app, route, lambda place, thing: things[thing])
    if "Content-Type" in header:
        call.json = call.form = call.upload = None
    return status_of(call.send(app, header | credential))


BAD = key_text.generate()


@every_header
def test_it_changes_nothing_about_who_gets_in(
    lasting: Flask, owner: Owner, usual: dict[tuple[Route, str], int], header: dict[str, str]
) -> None:
    changed = {
        f"{name_of(route)}, {name}": (status, now)
        for (route, name), status in usual.items()
        if (now := ask(lasting, owner, route, name, header)) != status
    }
    assert changed == {}


def test_a_stranger_and_a_bad_key_are_refused_and_a_good_one_is_not(usual: dict[tuple[Route, str], int]) -> None:
    assert {status for (_, name), status in usual.items() if name != "good"} <= {401, 403}
    assert 200 in {status for (_, name), status in usual.items() if name == "good"}


@pytest.fixture(scope="module")
def opened(make_lasting: MakeApp) -> Flask:
    return make_lasting(langflow_version="1.13.0", auto_login=True, skip_auth_auto_login=True)


@every_header
def test_it_makes_no_neighbour_of_a_stranger(opened: Flask, header: dict[str, str]) -> None:
    client, stranger = opened.test_client(use_cookies=False), {"REMOTE_ADDR": "203.0.113.9"}
    for path in ("/api/v1/users/whoami", "/api/v1/users/", "/api/v1/auto_login"):
        assert client.get(path, headers=header, environ_overrides=stranger).status_code in {401, 403}


def test_a_request_for_a_websocket_opens_nothing(lasting: Flask, owner: Owner) -> None:
    header = {"Upgrade": "websocket", "Connection": "Upgrade"}
    statuses = {ask(lasting, owner, route, name, header) for route in CLOSED for name in ("none", "bad", "good")}
    assert all(400 <= status < 500 for status in statuses)


SPELLINGS = {
    "doubled slashes": lambda path: path.replace("/", "//"),
    "a doubled slash in front": lambda path: "/" + path,
    "a doubled slash inside": lambda path: path.replace("/v1/", "/v1//").replace("/v2/", "/v2//"),
    "encoded slashes": lambda path: path.replace("/v", "%2fv"),
    "an encoded letter": lambda path: path.replace("/api", "/%61pi"),
    "twice encoded": lambda path: path.replace("/api", "/%2561pi"),
    "a matrix parameter": lambda path: path + ";a=b",
    "a matrix parameter inside": lambda path: path.replace("/v1", "/v1;x=/health").replace("/v2", "/v2;x=/health"),
    "a trailing dot": lambda path: path + ".",
    "a trailing space": lambda path: path + "%20",
    "a trailing slash": lambda path: path.rstrip("/") + "/",
    "no trailing slash": lambda path: path.rstrip("/"),
    "a trailing suffix": lambda path: path.rstrip("/") + ".json",
    "NUL": lambda path: path + "%00",
    "a way back": lambda path: "/health/.." + path,
    "a way back behind a parameter": lambda path: "/health/..;" + path,
    "an encoded way back": lambda path: "/health/%2e%2e" + path,
    "a dot": lambda path: "/." + path,
    "upper case": lambda path: path.upper(),
    "mixed case": lambda path: path.replace("/api/", "/Api/"),
    "backslashes": lambda path: path.replace("/", "\\"),
    "another host": lambda path: f"http://evil.example{path}",
    "a fragment": lambda path: path + "%23/health",
    "a query": lambda path: path + "%3f/health",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_no_spelling_of_a_path_passes_the_door(lasting: Flask, owner: Owner, spelling) -> None:
    things = ghost(owner.things)
    passed = {}
    for route in CLOSED:
        for headers in ({}, {"x-api-key": BAD}) if route in ONE_OF_EACH_KIND else ({},):
            call = call_of(lasting, route, lambda place, thing: things[thing])
            call.path = spelling(call.path)
            answer = call.send(lasting, headers)
            if status_of(answer) not in {308, 401, 403, 404, 405}:
                passed[name_of(route), call.path] = answer.status_code
            elif answer.status_code == 308:
                assert not answer.headers["Location"].startswith("//")
    assert passed == {}
