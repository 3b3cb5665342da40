"""What a limited key may do: every restriction on every carrier, and no way to more."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL
from werkzeug.test import TestResponse

from service.domain.permissions import IMPLIED, OPEN_TO_FLOW_KEYS, ROUTES, Scope
from service.http.rules import RULES
from tests.support import flows
from tests.support.client import Api

CARRIERS = ("header", "query", "bearer")
OUTSIDE = {"REMOTE_ADDR": "203.0.113.9"}


def limited(api: Api, **limits: object) -> Api:
    """A caller with another key of the same user."""
    made = api.post("/api_key/", json={"name": "limited", **limits})
    assert made.status_code == 200, made.json
    return Api(api.app, made.json["api_key"], api.user_id)


def stored_flow(api: Api) -> str:
    made = api.post("/flows/", json={"name": f"f {uuid.uuid4()}", "data": flows.echo()})
    assert made.status_code == 201, made.json
    return str(made.json["id"])


def ask(key: Api, carrier: str, method: str, path: str, **kwargs: Any) -> TestResponse:
    headers = {"header": {"x-api-key": key.key}, "bearer": {"Authorization": f"Bearer {key.key}"}}.get(carrier, {})
    query = {"x-api-key": key.key} if carrier == "query" else {}
    client = key.app.test_client(use_cookies=False)
    return client.open(f"/api/v1{path}", method=method, headers=headers, query_string=query, **kwargs)


def routes(app: Flask) -> list[tuple[str, str, str]]:
    """(method, path, endpoint) of every route that needs a scope."""
    found = []
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods & {"GET", "POST", "PUT", "PATCH", "DELETE"}):
            if ROUTES.get(rule.endpoint) is not None:
                found.append((method, re.sub(r"<[^>]+>", str(uuid.uuid4()), rule.rule), rule.endpoint))
    return found


def test_every_route_that_a_key_opens_says_which_scope_it_needs() -> None:
    assert set(ROUTES) == {endpoint for endpoint in RULES if not endpoint.startswith("pages.")}


def test_a_scope_opens_exactly_the_routes_that_the_table_says(shared: Flask, chief: Api) -> None:
    wrong = []
    for scope in Scope:
        key = limited(chief, scopes=[scope.value])
        for method, path, endpoint in routes(shared):
            answer = key.open(method, path)
            lacks = answer.headers.get("x-langflow-error-code") == "scope_required"
            if lacks == (ROUTES[endpoint] in {scope, *IMPLIED.get(scope, ())}):
                wrong.append((scope.value, method, endpoint, answer.status_code))
    assert wrong == []


def test_an_empty_list_of_scopes_opens_nothing(shared: Flask, chief: Api) -> None:
    key = limited(chief, scopes=[])
    opened = [route for route in routes(shared) if key.open(route[0], route[1]).status_code != 403]
    assert opened == []


def test_any_good_key_may_ask_whose_it_is(mine: Api) -> None:
    assert limited(mine, scopes=[]).get("/users/whoami").status_code == 200


def test_a_key_without_rights_of_its_own_may_do_what_its_owner_may(mine: Api) -> None:
    key = limited(mine, scopes=None, flows=None, networks=None, rate_limit=None, max_parallel_runs=None)
    assert key.get("/variables/").status_code == 200


RESTRICTIONS: dict[str, Callable[[Api], dict[str, object]]] = {
    "scopes": lambda api: {"scopes": ["read"]},
    "no scope": lambda api: {"scopes": []},
    "flows": lambda api: {"flows": [stored_flow(api)]},
    "no flow": lambda api: {"flows": []},
    "networks": lambda api: {"networks": ["198.51.100.0/24"]},
    "no network": lambda api: {"networks": []},
    "rate": lambda api: {"rate_limit": {"requests": 1, "window_seconds": 3600}},
}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("restriction", RESTRICTIONS)
def test_a_restriction_holds_on_every_carrier(mine: Api, restriction: str, carrier: str) -> None:
    flow = stored_flow(mine)
    key = limited(mine, **RESTRICTIONS[restriction](mine))
    if restriction == "rate":
        ask(key, "header", "GET", "/users/whoami")
    answer = ask(key, carrier, "POST", f"/run/{flow}", json={"input_value": "Hello"})
    assert answer.status_code == {
        "scopes": 403,
        "no scope": 403,
        "networks": 403,
        "no network": 403,
        "rate": 429,
    }.get(restriction, 404)


@pytest.mark.parametrize("first", CARRIERS)
@pytest.mark.parametrize("second", CARRIERS)
def test_two_keys_of_one_user_in_one_request_are_refused(mine: Api, first: str, second: str) -> None:
    if first == second:
        return
    flow, weak = stored_flow(mine), limited(mine, scopes=[])
    headers, query = {}, {}
    for carrier, key in ((first, mine.key), (second, weak.key)):
        if carrier == "header":
            headers["x-api-key"] = key
        elif carrier == "bearer":
            headers["Authorization"] = f"Bearer {key}"
        else:
            query["x-api-key"] = key
    client = mine.app.test_client(use_cookies=False)
    answer = client.post(f"/api/v1/run/{flow}", headers=headers, query_string=query, json={})
    assert (answer.status_code, answer.json["detail"]) == (403, "This request carries two different API keys")


class TestFlows:
    """A key for some flows."""

    def test_its_flow_runs_by_id_and_by_name(self, mine: Api) -> None:
        name = f"n{uuid.uuid4().hex}"
        made = mine.post("/flows/", json={"name": name, "endpoint_name": name, "data": flows.echo()}).json
        key = limited(mine, flows=[made["id"]])
        assert [key.post(f"/run/{each}", json={}).status_code for each in (made["id"], name)] == [200, 200]

    def test_another_flow_is_like_a_missing_one_by_id_and_by_name(self, mine: Api) -> None:
        name = f"n{uuid.uuid4().hex}"
        made = mine.post("/flows/", json={"name": name, "endpoint_name": name, "data": flows.echo()}).json
        key = limited(mine, flows=[stored_flow(mine)])
        for each, slash in product((made["id"], name, made["id"].upper()), ("", "/")):
            answer = key.post(f"/run/{each}{slash}", json={})
            assert (answer.status_code, answer.json) == (404, {"detail": f"Flow identifier {each} not found"})

    def test_a_flow_inside_its_flow_must_be_listed_too(self, mine: Api) -> None:
        name = f"i{uuid.uuid4().hex}"
        inner = mine.post("/flows/", json={"name": name, "data": flows.echo()}).json
        data = flows.running_another(name)
        outer = mine.post("/flows/", json={"name": f"o{uuid.uuid4().hex}", "data": data}).json
        assert mine.post(f"/run/{outer['id']}", json={"input_value": "x"}).status_code == 200
        assert limited(mine, flows=[outer["id"]]).post(f"/run/{outer['id']}", json={}).status_code != 200
        both = limited(mine, flows=[outer["id"], inner["id"]])
        assert both.post(f"/run/{outer['id']}", json={"input_value": "x"}).status_code == 200

    def test_a_list_shows_its_flows_only(self, mine: Api) -> None:
        flow = stored_flow(mine)
        stored_flow(mine)
        key = limited(mine, flows=[flow])
        assert [one["id"] for one in key.get("/flows/").json] == [flow]
        page = key.get("/flows/?get_all=false").json
        assert ([one["id"] for one in page["items"]], page["total"]) == ([flow], 1)

    def test_it_shows_its_flow_and_no_other(self, mine: Api) -> None:
        flow, other = stored_flow(mine), stored_flow(mine)
        key = limited(mine, flows=[flow])
        assert (key.get(f"/flows/{flow}").status_code, key.get(f"/flows/{other}").status_code) == (200, 404)

    def test_it_uploads_to_its_flow_and_no_other(self, mine: Api) -> None:
        flow, other = stored_flow(mine), stored_flow(mine)
        key = limited(mine, flows=[flow])
        sent = [
            key.post(f"/files/upload/{each}", data={"file": (io.BytesIO(b"x"), "x.txt")}) for each in (flow, other)
        ]
        assert [answer.status_code for answer in sent] == [201, 404]

    def test_every_route_that_is_not_about_flows_is_closed_to_it(self, shared: Flask, chief: Api) -> None:
        key = limited(chief, flows=[stored_flow(chief)])
        reached = {
            endpoint
            for method, path, endpoint in routes(shared)
            if key.open(method, path).headers.get("x-langflow-error-code") != "scope_required"
        }
        assert reached == set(OPEN_TO_FLOW_KEYS)

    def test_a_flow_of_somebody_else_cannot_be_listed(self, mine: Api, theirs: Api) -> None:
        answer = mine.post("/api_key/", json={"flows": [stored_flow(theirs)]})
        assert (answer.status_code, answer.json["detail"][0]["loc"]) == (422, ["body", "flows"])


class TestNetworks:
    """A key for some addresses."""

    @pytest.mark.parametrize(
        ("network", "address", "passes"),
        [
            ("203.0.113.0/24", "203.0.113.9", True),
            ("203.0.113.0/24", "203.0.114.9", False),
            ("203.0.113.9", "203.0.113.9", True),
            ("203.0.113.0/24", "::ffff:203.0.113.9", True),
            ("::ffff:203.0.113.0/120", "203.0.113.9", True),
            ("2001:db8::/32", "2001:db8::1", True),
            ("2001:db8::/32", "2001:db9::1", False),
            ("0.0.0.0/0", "2001:db8::1", False),
            ("0.0.0.0/0", "", False),
            ("::/0", "203.0.113.9", False),
            ("203.0.113.0/24", "no address", False),
        ],
    )
    def test_only_those_addresses_pass(self, mine: Api, network: str, address: str, passes: bool) -> None:
        key = limited(mine, networks=[network])
        answer = key.get("/users/whoami", environ_overrides={"REMOTE_ADDR": address})
        assert answer.status_code == (200 if passes else 403)

    def test_the_refusal_does_not_say_that_the_key_is_good_elsewhere(self, mine: Api) -> None:
        key = limited(mine, networks=["198.51.100.0/24"])
        answer = key.get("/users/whoami", environ_overrides=OUTSIDE)
        assert answer.json == {"detail": "Invalid API key"}

    def test_a_forwarded_address_counts_for_nothing_without_a_trusted_proxy(self, mine: Api) -> None:
        key = limited(mine, networks=["198.51.100.0/24"])
        headers = {"X-Forwarded-For": "198.51.100.1", "Forwarded": "for=198.51.100.1", "X-Real-IP": "198.51.100.1"}
        assert key.get("/users/whoami", headers=headers, environ_overrides=OUTSIDE).status_code == 403

    @pytest.mark.parametrize(
        ("forwarded", "passes"),
        [
            ("198.51.100.1, 10.0.0.1", True),
            ("203.0.113.1, 198.51.100.1, 10.0.0.1", True),
            ("198.51.100.1, 203.0.113.1, 10.0.0.1", False),
            ("198.51.100.1", False),
            ("", False),
        ],
    )
    def test_the_address_is_the_one_that_the_outermost_trusted_proxy_saw(
        self, make_app: Callable[..., Flask], sqlite_url: URL, forwarded: str, passes: bool
    ) -> None:
        api = Api.of_superuser(make_app(sqlite_url, trusted_proxies=2))
        key = limited(api, networks=["198.51.100.0/24"])
        answer = key.get("/users/whoami", headers={"X-Forwarded-For": forwarded} if forwarded else {})
        assert answer.status_code == (200 if passes else 403)


#: What the key has, and what it asks for.
MORE: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "no scopes": ({"scopes": ["manage"]}, {}),
    "null scopes": ({"scopes": ["manage"]}, {"scopes": None}),
    "another scope": ({"scopes": ["manage"]}, {"scopes": ["run"]}),
    "a higher scope": ({"scopes": ["manage"]}, {"scopes": ["admin"]}),
    "no networks": ({"scopes": ["manage"], "networks": ["10.0.0.0/8", "127.0.0.0/8"]}, {"scopes": ["manage"]}),
    "a wider network": (
        {"scopes": ["manage"], "networks": ["10.0.0.0/8", "127.0.0.0/8"]},
        {"scopes": ["manage"], "networks": ["10.0.0.0/7"]},
    ),
    "a network of the other kind": (
        {"scopes": ["manage"], "networks": ["0.0.0.0/0"]},
        {"scopes": ["manage"], "networks": ["::/0"]},
    ),
    "a limit that many keys would not have": (
        {"rate_limit": {"requests": 9, "window_seconds": 60}},
        {"rate_limit": {"requests": 1, "window_seconds": 60}},
    ),
    "a limit on runs": ({"max_parallel_runs": 1}, {"max_parallel_runs": 1}),
    "a longer life": ({"expires_at": "2999-01-01T00:00:00Z"}, {"expires_at": "2999-01-02T00:00:00Z"}),
    "no end": ({"expires_at": "2999-01-01T00:00:00Z"}, {}),
}


class TestGrant:
    """A key makes and edits no key that may do more than itself."""

    @pytest.mark.parametrize("case", MORE)
    def test_more_than_itself_is_refused(self, chief: Api, case: str) -> None:
        own, wanted = MORE[case]
        answer = limited(chief, **own).post("/api_key/", json={"name": "more", **wanted})
        assert (answer.status_code, answer.headers["x-langflow-error-code"]) == (403, "more_than_itself")

    @pytest.mark.parametrize("case", MORE)
    def test_an_edit_to_more_than_itself_is_refused_and_changes_nothing(self, chief: Api, case: str) -> None:
        own, wanted = MORE[case]
        target = chief.post("/api_key/", json={"name": "target", **own}).json
        full = {"scopes": None, "networks": None, "rate_limit": None, "max_parallel_runs": None, "expires_at": None}
        answer = limited(chief, **own).patch(f"/api_key/{target['id']}", json=full | wanted)
        assert answer.status_code == 403
        assert chief.get(f"/api_key/{target['id']}").json["scopes"] == target["scopes"]

    @pytest.mark.parametrize("act", ["rotate", "update", "delete"])
    def test_a_key_that_may_do_more_cannot_be_touched(self, mine: Api, act: str) -> None:
        target = mine.post("/api_key/", json={"name": "strong"}).json["id"]
        weak = limited(mine, scopes=["manage"])
        answer = {
            "rotate": lambda: weak.post(f"/api_key/{target}/rotate"),
            "update": lambda: weak.patch(f"/api_key/{target}", json={"name": "mine now"}),
            "delete": lambda: weak.delete(f"/api_key/{target}"),
        }[act]()
        assert answer.status_code == 403

    def test_as_much_as_itself_is_welcome(self, mine: Api) -> None:
        maker = limited(mine, scopes=["manage", "run"], networks=["127.0.0.0/8"])
        wanted = {"scopes": ["manage"], "networks": ["127.0.0.1"], "name": "less"}
        made = maker.post("/api_key/", json=wanted)
        assert (made.status_code, made.json["scopes"]) == (200, ["manage"])

    def test_a_key_may_always_end_itself(self, mine: Api) -> None:
        made = mine.post("/api_key/", json={"scopes": ["manage"], "max_parallel_runs": 1}).json
        own = Api(mine.app, made["api_key"], mine.user_id)
        assert own.delete(f"/api_key/{made['id']}").status_code == 200
        assert own.get("/users/whoami").status_code == 403

    @pytest.mark.parametrize("change", [{"password": "new-password"}, {"is_superuser": True}])
    @pytest.mark.parametrize("limits", [{"scopes": ["admin"]}, {"expires_at": "2999-01-01T00:00:00Z"}])
    def test_a_limited_key_takes_no_detour_over_other_accounts(
        self, chief: Api, theirs: Api, change: dict[str, object], limits: dict[str, object]
    ) -> None:
        answer = limited(chief, **limits).patch(f"/users/{theirs.user_id}", json=change)
        assert (answer.status_code, answer.headers["x-langflow-error-code"]) == (403, "more_than_itself")

    @pytest.mark.parametrize(
        "limits",
        [
            {"scopes": ["admin"]},
            {"networks": ["127.0.0.0/8"]},
            {"rate_limit": {"requests": 9, "window_seconds": 60}},
            {"expires_at": "2999-01-01T00:00:00Z"},
        ],
        ids=lambda limits: next(iter(limits)),
    )
    def test_a_limited_key_makes_no_user(self, chief: Api, limits: dict[str, object]) -> None:
        new = {"username": f"u{uuid.uuid4().hex}", "password": "pw12345678"}
        answer = limited(chief, **limits).post("/users/", json=new)
        assert (answer.status_code, answer.headers["x-langflow-error-code"]) == (403, "more_than_itself")
        assert chief.get(f"/users/?search={new['username']}").json["total_count"] == 0


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"scopes": ["everything"]}, ["body", "scopes"]),
        ({"scopes": "run"}, ["body", "scopes"]),
        ({"scopes": [1]}, ["body", "scopes", 0]),
        ({"flows": ["not an id"]}, ["body", "flows"]),
        ({"flows": ["*"]}, ["body", "flows"]),
        ({"networks": ["10.0.0.1/8"]}, ["body", "networks"]),
        ({"networks": ["everywhere"]}, ["body", "networks"]),
        ({"networks": ["10.0.0.0/8"] * 500}, ["body", "networks"]),
        ({"rate_limit": {"requests": 0, "window_seconds": 1}}, ["body", "rate_limit"]),
        ({"rate_limit": {"requests": 1, "window_seconds": 10**9}}, ["body", "rate_limit"]),
        ({"rate_limit": {"requests": 10**30, "window_seconds": 1}}, ["body", "rate_limit"]),
        ({"rate_limit": {"requests": True, "window_seconds": 1}}, ["body", "rate_limit", "requests"]),
        ({"rate_limit": {"requests": 1}}, ["body", "rate_limit", "window_seconds"]),
        ({"max_parallel_runs": 0}, ["body", "max_parallel_runs"]),
        ({"max_parallel_runs": "1"}, ["body", "max_parallel_runs"]),
        ({"expires_at": "2001-01-01"}, ["body", "expires_at"]),
    ],
)
def test_limits_that_cannot_be_meant_name_their_field(mine: Api, body: dict[str, object], loc: list[object]) -> None:
    answer = mine.post("/api_key/", json=body)
    assert (answer.status_code, answer.json["detail"][0]["loc"]) == (422, loc)


def test_what_was_given_is_shown(mine: Api) -> None:
    flow = stored_flow(mine)
    given = {
        "scopes": ["read", "run"], "flows": [flow], "networks": ["10.0.0.0/8", "2001:db8::/32"],
        "rate_limit": {"requests": 5, "window_seconds": 60}, "max_parallel_runs": 2,
    }  # fmt: skip
    made = mine.post("/api_key/", json=given).json
    shown = mine.get(f"/api_key/{made['id']}").json
    assert {name: shown[name] for name in given} == given


def test_a_key_near_its_end_says_so_at_each_answer(mine: Api) -> None:
    soon = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
    near, far = limited(mine, expires_at=soon.isoformat()), limited(mine, expires_at="2999-01-01T00:00:00Z")
    assert near.get("/users/whoami").headers["Keyturn-Key-Expires"] == soon.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert "Keyturn-Key-Expires" not in far.get("/users/whoami").headers
