"""Every route has a rule, and every rule but a short list needs a credential."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import make_url

from service.app import create_app
from service.domain.policy import Kind
from service.http.rules import RULES
from service.settings import Settings
from tests.families.routes import status_of

#: Whoever adds a line here opens an endpoint to the world.
PUBLIC = {
    "api-docs.openapi_json",
    "auth.auto_login",
    "auth.login",
    "auth.logout",
    "auth.refresh",
    "auth.session",
    "flows.basic_examples",
    "flows.public_flow",
    "monitor.health",
    "monitor.health_check",
    "monitor.ready",
    "monitor.version",
    "pages.first_run",
    "pages.login",
    "pages.logout",
    "pages.set_up",
    "pages.sign_in",
    "pages.static",
}
#: Anybody may ask; what a stranger gets is less, or a refusal of the view's own.
OPTIONAL = {"monitor.config", "users.create"}
#: Nobody in particular gets in, and sees what its owner has made public; a project without that is a missing one.
OPEN_TO_STRANGERS = {
    "mcp.message", "mcp.post", "mcp.stream", "mcp.nothing",
    "mcp.project_message", "mcp.project_post", "mcp.project_stream", "mcp.project_nothing",
    "mcp_servers.list",
}  # fmt: skip
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}


class Unread(io.RawIOBase):
    """A huge body that remembers how much of it was read."""

    def __init__(self) -> None:
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        buffer[:] = b" " * len(buffer)
        self.taken += len(buffer)
        return len(buffer)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    directory = tmp_path_factory.mktemp("routes")
    made = create_app(
        Settings(
            config_dir=directory,
            database_url=make_url(f"sqlite:///{directory / 'keyturn.db'}"),
            superuser_password="securepassword",
            log_level="critical",
        )
    )
    yield made
    services = made.extensions["keyturn"]
    services.usage.close()
    services.keys.close()
    services.engine.dispose()


def of_length(length: int, body: Unread) -> dict[str, object]:
    return {"wsgi.input": body, "CONTENT_LENGTH": str(length)}


def closed_routes(app: Flask) -> list[tuple[str, str]]:
    """(method, path) of each route that is not public."""
    routes = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint not in PUBLIC | OPTIONAL | OPEN_TO_STRANGERS:
            path = re.sub(r"<[^>]+>", str(uuid.uuid4()), rule.rule)
            routes += [(method, path) for method in sorted(rule.methods & METHODS)]
    return routes


def test_every_route_has_a_rule(app: Flask) -> None:
    assert {rule.endpoint for rule in app.url_map.iter_rules()} - set(RULES) == set()


def test_every_rule_has_a_route(app: Flask) -> None:
    assert set(RULES) - {rule.endpoint for rule in app.url_map.iter_rules()} == set()


def test_nothing_is_public_but_the_short_list() -> None:
    assert {name for name, kind in RULES.items() if kind is Kind.PUBLIC} == PUBLIC


def test_nothing_is_optional_but_the_short_list() -> None:
    assert {name for name, kind in RULES.items() if kind is Kind.OPTIONAL} == OPTIONAL


def test_nothing_is_open_to_mcp_clients_without_a_key_but_the_short_list() -> None:
    assert {name for name, kind in RULES.items() if kind is Kind.MCP} == OPEN_TO_STRANGERS


def test_every_other_method_and_route_refuses_a_stranger(app: Flask) -> None:
    client = app.test_client()
    answers = {f"{method} {path}": status_of(client.open(path, method=method)) for method, path in closed_routes(app)}
    assert len(answers) > 30
    assert {route: status for route, status in answers.items() if status not in {401, 403}} == {}


def test_head_is_refused_wherever_get_is(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        assert ("HEAD" in rule.methods) == ("GET" in rule.methods)


def test_a_stranger_gets_the_same_answer_whatever_the_method_claims_to_be(app: Flask) -> None:
    headers = {"X-HTTP-Method-Override": "GET", "X-Original-URL": "/health", "X-Rewrite-URL": "/health"}
    assert app.test_client().post("/api/v1/api_key/", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/users/whoami",
        "/api/v1//users/whoami",
        "/health/../api/v1/users/whoami",
        "/health/..;/api/v1/users/whoami",
        "/api%2fv1/users/whoami",
        "/api/v1/users/whoami/",
        "/API/V1/USERS/WHOAMI",
        "/api/v1/users/whoami;/health",
        "/api/v1/users/whoami%00",
    ],
)
def test_no_spelling_of_a_path_passes_the_door(app: Flask, path: str) -> None:
    assert app.test_client().get(path).status_code in {308, 403, 404}


def test_a_stranger_cannot_sign_up(app: Flask) -> None:
    answer = app.test_client().post("/api/v1/users/", json={"username": "somebody", "password": "pw12345678"})
    assert (answer.status_code, answer.json) == (403, {"detail": "Public user registration is disabled."})


def test_a_strangers_body_is_not_read_before_the_refusal(app: Flask) -> None:
    read: dict[str, int] = {}
    for method, path in [*closed_routes(app), ("POST", "/api/v1/users/")]:
        if method in {"POST", "PUT", "PATCH", "DELETE"}:
            body = Unread()
            app.test_client().open(
                path, method=method, content_type="application/json", environ_overrides=of_length(10_000_000, body)
            )
            read[f"{method} {path}"] = body.taken
    assert {route: taken for route, taken in read.items() if taken} == {}


def test_a_body_over_the_limit_is_refused_without_being_read(app: Flask) -> None:
    body = Unread()
    answer = app.test_client().post(
        "/api/v1/login",
        content_type="application/x-www-form-urlencoded",
        environ_overrides=of_length(50_000_000, body),
    )
    assert (answer.status_code, body.taken) == (413, 0)
