"""The catalogue: how to call each route of the application, as anybody and with anybody's things.

A new route needs one line in ``SAMPLES``; a new name in a path one line in ``ARGUMENTS``; a new kind of thing one
line in ``FACTORIES``. ``test_catalogue.py`` names what is missing.
"""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote

from flask import Flask
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from service.adapters.passwords import Argon2Hasher
from service.domain import accounts
from service.domain.policy import Kind
from service.http.rules import RULES
from service.storage import User
from service.storage.engine import begin_write
from tests.support import flows

HERE = "tests/families/routes.py"
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
PASSWORD, NEW_PASSWORD = "canary-password-71d0", "canary-password-8e44"
CREDENTIAL = "canary-credential-3b1f"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)

Route = tuple[str, str]
#: Gives the text for a thing that is called for at a place, such as "path.flow_id" or "body.folder_id".
Choose = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Thing:
    """Stands in a sample for an id or a name of something that somebody owns; ``name`` is one of ``FACTORIES``."""

    name: str


USER, NEWCOMER, KEY, VARIABLE = Thing("user"), Thing("newcomer"), Thing("key"), Thing("variable")
FLOW, ENDPOINT, PROJECT = Thing("flow"), Thing("endpoint"), Thing("project")
PUBLIC_FLOW, OTHER_PROJECT, PROJECT_WITH_FLOW = Thing("public_flow"), Thing("other_project"), Thing("project")
FILE, FLOW_FILE = Thing("file"), Thing("flow_file")
SERVER, JOB = Thing("server"), Thing("job")
SESSION, MESSAGE = Thing("session"), Thing("message")
#: A name that nothing has yet; another one at each call.
NEW = Thing("new")
USERNAME, REFRESH_TOKEN = Thing("username"), Thing("refresh_token")


#: What the names in the paths stand for; a sample may say otherwise.
ARGUMENTS: dict[str, Thing | str] = {
    #: Nobody's: the same file for all.
    "filename": "app.css",
    "api_key_id": KEY,
    "file_id": FILE,
    "file_name": FLOW_FILE,
    "flow_id": FLOW,
    "job_id": JOB,
    "key_id": KEY,
    "message_id": MESSAGE,
    "model_id": FLOW,
    "project_id": PROJECT,
    "server_name": SERVER,
    "session_id": SESSION,
    "user_id": USER,
    "variable_id": VARIABLE,
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A request that a route accepts.

    Args:
        json: the body.
        query: the query parameters.
        form: the fields of a form.
        upload: name and content of the file of a multipart body.
        cookies: by name.
        path: where a name in the path stands for something else than ``ARGUMENTS`` says.
        by_superuser: an ordinary user is refused.
        status: of a refusal that is the route's purpose.
        headers: beside the credential.
    """

    json: Any = None
    query: dict[str, Any] = field(default_factory=dict)
    form: dict[str, Any] | None = None
    upload: tuple[str, bytes] | None = None
    cookies: dict[str, Any] = field(default_factory=dict)
    path: dict[str, Thing] = field(default_factory=dict)
    by_superuser: bool = False
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


def _flow(name: str) -> dict[str, Any]:
    return {"name": name, "data": flows.echo(), "folder_id": PROJECT}


_RUN = {"input_value": "Hello", "session_id": SESSION}
_SAID = [{"role": "user", "content": "Hello"}]
_LOGIN = {"username": USERNAME, "password": PASSWORD}
_VARIABLE = {"name": NEW, "value": CREDENTIAL, "type": "Credential", "default_fields": []}
_VARIABLE_FORM = {"value": CREDENTIAL, "type": "Credential", "fields": ""}
_RESET = {"current_password": PASSWORD, "password": NEW_PASSWORD}
_OF_MESSAGES = {"flow_id": FLOW, "session_id": SESSION}
_SERVER = {"url": "https://mcp.example/sse", "headers": {"Authorization": CREDENTIAL}}
_PROJECT_FILE = b'{"folder_name": "from a file", "flows": [{"name": "from a project", "data": null}]}'
_FILE = b'{"name": "from a file", "data": null}'
_MCP = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
#: An open stream has no end, and is tested elsewhere; here it is asked for by somebody who does not take one.
_NO_STREAM = Sample(headers={"Accept": "application/json"}, status=406)

#: One line for each route. HEAD is GET without a body, and needs none.
SAMPLES: dict[Route, Sample] = {
    ("GET", "api-docs.openapi_json"): Sample(),
    ("GET", "monitor.health"): Sample(),
    ("GET", "monitor.health_check"): Sample(),
    ("GET", "monitor.ready"): Sample(),
    ("GET", "monitor.version"): Sample(),
    ("GET", "monitor.config"): Sample(),
    ("GET", "metrics.read"): Sample(by_superuser=True),
    ("POST", "auth.login"): Sample(form=_LOGIN),
    ("GET", "auth.auto_login"): Sample(status=403),
    ("POST", "auth.refresh"): Sample(cookies={"refresh_token_lf": REFRESH_TOKEN}),
    ("POST", "auth.logout"): Sample(cookies={"refresh_token_lf": REFRESH_TOKEN}),
    ("GET", "auth.session"): Sample(),
    ("POST", "users.create"): Sample({"username": NEW, "password": NEW_PASSWORD}, by_superuser=True),
    ("GET", "users.whoami"): Sample(),
    ("GET", "users.list"): Sample(by_superuser=True),
    ("GET", "users.get"): Sample(),
    ("PATCH", "users.update"): Sample({"profile_image": "cat", "optins": {"github_starred": True}}),
    ("PATCH", "users.reset_password"): Sample(_RESET),
    ("DELETE", "users.delete"): Sample(path={"user_id": NEWCOMER}, by_superuser=True),
    ("GET", "keys.list"): Sample(),
    ("POST", "keys.create"): Sample({"name": "new", "flows": [FLOW]}),
    ("GET", "keys.get"): Sample(),
    ("PATCH", "keys.update"): Sample({"name": "renamed", "flows": [FLOW]}),
    ("POST", "keys.rotate"): Sample({"grace_seconds": 60}),
    ("GET", "keys.usage"): Sample(),
    ("DELETE", "keys.delete"): Sample(),
    ("GET", "audit.list"): Sample(query={"actor_id": USER}, by_superuser=True),
    ("POST", "keys.store"): Sample({"api_key": "of a store"}),
    ("GET", "variables.list"): Sample(),
    ("GET", "variables.explain"): Sample(query={"flow": FLOW}),
    ("POST", "variables.create"): Sample(_VARIABLE),
    ("PATCH", "variables.update"): Sample({"id": VARIABLE, "value": CREDENTIAL}),
    ("DELETE", "variables.delete"): Sample(),
    ("POST", "flows.create"): Sample(_flow("new")),
    ("GET", "flows.list"): Sample(query={"folder_id": PROJECT}),
    ("GET", "flows.get"): Sample(),
    ("PATCH", "flows.update"): Sample({"description": "new", "folder_id": PROJECT}),
    ("PUT", "flows.put"): Sample({"name": "put", "folder_id": PROJECT}),
    ("DELETE", "flows.delete"): Sample(),
    ("DELETE", "flows.delete_many"): Sample([FLOW]),
    ("POST", "flows.batch"): Sample({"flows": [_flow("one"), _flow("two")]}),
    ("POST", "flows.upload"): Sample(upload=("flow.json", _FILE), query={"folder_id": PROJECT}),
    ("POST", "flows.download"): Sample([FLOW]),
    ("GET", "flows.basic_examples"): Sample(),
    ("GET", "flows.public_flow"): Sample(path={"flow_id": PUBLIC_FLOW}),
    ("GET", "mcp_servers.list"): Sample(),
    ("GET", "mcp_servers.get"): Sample(),
    ("POST", "mcp_servers.create"): Sample(_SERVER, path={"server_name": NEW}),
    ("PATCH", "mcp_servers.update"): Sample(_SERVER),
    ("DELETE", "mcp_servers.delete"): Sample(),
    ("GET", "projects.list"): Sample(),
    ("POST", "projects.create"): Sample({"name": NEW, "flows_list": [FLOW]}),
    ("GET", "projects.get"): Sample(),
    ("PATCH", "projects.update"): Sample({"name": NEW, "parent_id": OTHER_PROJECT}),
    ("PUT", "projects.put"): Sample({"name": NEW}),
    ("DELETE", "projects.delete"): Sample(path={"project_id": OTHER_PROJECT}),
    ("GET", "projects.download"): Sample(path={"project_id": PROJECT_WITH_FLOW}),
    ("POST", "projects.upload"): Sample(upload=("project.json", _PROJECT_FILE)),
    ("POST", "files.upload"): Sample(upload=("new.txt", b"content")),
    ("GET", "files.download"): Sample(),
    ("GET", "files.image"): Sample(),
    ("GET", "files.list"): Sample(),
    ("DELETE", "files.delete"): Sample(),
    ("POST", "files_v2.upload"): Sample(upload=("new.txt", b"content")),
    ("GET", "files_v2.list"): Sample(),
    ("DELETE", "files_v2.delete_all"): Sample(),
    ("POST", "files_v2.download_many"): Sample([FILE]),
    ("DELETE", "files_v2.delete_many"): Sample([FILE]),
    ("GET", "files_v2.get"): Sample(),
    ("PUT", "files_v2.rename"): Sample(query={"name": "renamed.txt"}),
    ("DELETE", "files_v2.delete"): Sample(),
    ("POST", "mcp.message"): Sample(_MCP),
    ("POST", "mcp.post"): Sample(_MCP),
    ("GET", "mcp.stream"): _NO_STREAM,
    ("GET", "mcp.nothing"): Sample(status=405),
    ("DELETE", "mcp.nothing"): Sample(status=405),
    ("POST", "mcp.project_message"): Sample(_MCP),
    ("POST", "mcp.project_post"): Sample(_MCP),
    ("GET", "mcp.project_stream"): _NO_STREAM,
    ("GET", "mcp.project_nothing"): Sample(status=405),
    ("DELETE", "mcp.project_nothing"): Sample(status=405),
    ("GET", "mcp_projects.get"): Sample(query={"mcp_enabled": "false"}),
    ("PATCH", "mcp_projects.update"): Sample({"settings": [{"id": FLOW, "action_name": "renamed"}]}),
    ("GET", "messages.list"): Sample(query=_OF_MESSAGES),
    ("GET", "messages.sessions"): Sample(query={"flow_id": FLOW}),
    ("PUT", "messages.update"): Sample({"text": "new", "session_id": SESSION}),
    ("PATCH", "messages.rename_session"): Sample(query={"new_session_id": SESSION}),
    ("DELETE", "messages.delete"): Sample([MESSAGE]),
    ("DELETE", "messages.delete_session"): Sample(),
    ("DELETE", "messages.delete_sessions"): Sample([SESSION]),
    ("POST", "openai.responses"): Sample({"model": FLOW, "input": "Hello", "previous_response_id": SESSION}),
    ("POST", "openai.chat_completions"): Sample({"model": FLOW, "messages": _SAID, "session_id": SESSION}),
    ("GET", "openai.models"): Sample(),
    ("GET", "openai.model"): Sample(),
    ("POST", "runs.run"): Sample(_RUN),
    ("POST", "runs.advanced"): Sample({"inputs": [{"input_value": "Hello"}]}),
    ("POST", "runs.webhook"): Sample({"any": "thing"}),
    ("GET", "jobs.list"): Sample(query={"flow_id": FLOW}),
    ("GET", "jobs.get"): Sample(),
    ("POST", "jobs.cancel"): Sample(),
    ("POST", "workflows.start"): Sample({"flow_id": FLOW, "input_value": "Hello", "mode": "background"}),
    ("GET", "workflows.status"): Sample(query={"job_id": JOB}),
    ("POST", "workflows.stop"): Sample({"job_id": JOB}),
    ("POST", "runs.process"): Sample({}, status=400),
    ("POST", "runs.predict"): Sample({}, status=400),
    ("GET", "pages.static"): Sample(),
    ("GET", "pages.home"): Sample(),
    ("GET", "pages.login"): Sample(),
    ("POST", "pages.sign_in"): Sample(form=_LOGIN),
    ("POST", "pages.logout"): Sample(cookies={"refresh_token_lf": REFRESH_TOKEN}),
    ("GET", "pages.first_run"): Sample(),
    ("POST", "pages.set_up"): Sample(form={"shown": PASSWORD, "password": NEW_PASSWORD}, status=403),
    ("GET", "pages.flows"): Sample(),
    ("POST", "pages.upload_flow"): Sample(upload=("flow.json", _FILE)),
    ("GET", "pages.flow"): Sample(),
    ("POST", "pages.change_flow"): Sample(form={"name": NEW, "description": "new", "public": "yes"}),
    ("GET", "pages.flow_api"): Sample(),
    ("GET", "pages.download_flow"): Sample(),
    ("GET", "pages.doomed_flow"): Sample(),
    ("POST", "pages.delete_flow"): Sample(form={}),
    ("GET", "pages.playground"): Sample(query={"session": SESSION}),
    ("POST", "pages.say"): Sample(form={"session": SESSION, "text": "Hello"}),
    ("POST", "pages.stream"): Sample(form={"session": SESSION, "text": "Hello"}),
    ("GET", "pages.variables"): Sample(),
    ("GET", "pages.new_variable"): Sample(),
    ("POST", "pages.create_variable"): Sample(form=_VARIABLE_FORM | {"name": NEW}),
    ("GET", "pages.variable"): Sample(),
    ("POST", "pages.change_variable"): Sample(form=_VARIABLE_FORM | {"name": NEW}),
    ("GET", "pages.doomed_variable"): Sample(),
    ("POST", "pages.delete_variable"): Sample(form={}),
    ("GET", "pages.keys"): Sample(),
    ("GET", "pages.new_key"): Sample(),
    ("POST", "pages.create_key"): Sample(form={"name": "new", "flows_are": "some", "flows": FLOW}),
    ("GET", "pages.key"): Sample(),
    ("POST", "pages.change_key"): Sample(form={"name": "renamed", "flows_are": "some", "flows": FLOW}),
    ("POST", "pages.switch_key"): Sample(form={"on": "no"}),
    ("GET", "pages.rotation"): Sample(),
    ("POST", "pages.rotate_key"): Sample(form={"grace": "3600"}),
    ("GET", "pages.doomed_keys"): Sample(query={"id": KEY}),
    ("POST", "pages.delete_keys"): Sample(form={"id": KEY}),
    ("GET", "pages.usage"): Sample(),
    ("GET", "pages.account"): Sample(),
    ("POST", "pages.change_password"): Sample(
        form={"current": PASSWORD, "password": NEW_PASSWORD, "again": NEW_PASSWORD}
    ),
    ("GET", "pages.users"): Sample(by_superuser=True),
    ("GET", "pages.new_user"): Sample(by_superuser=True),
    ("POST", "pages.create_user"): Sample(form={"username": NEW, "password": NEW_PASSWORD}, by_superuser=True),
    ("GET", "pages.user"): Sample(by_superuser=True),
    ("POST", "pages.change_user"): Sample(form={"act": "deactivate"}, path={"user_id": NEWCOMER}, by_superuser=True),
    ("GET", "pages.doomed_user"): Sample(path={"user_id": NEWCOMER}, by_superuser=True),
    ("POST", "pages.delete_user"): Sample(form={}, path={"user_id": NEWCOMER}, by_superuser=True),
    ("GET", "pages.audit"): Sample(query={"actor_id": USER}, by_superuser=True),
}


def name_of(route: Route) -> str:
    """The name of a route's test."""
    return " ".join(route)


def kind_of(route: Route) -> Kind:
    """The rule that holds for the route."""
    return RULES[route[1]]


def is_page(route: Route) -> bool:
    """True for what a browser is shown: opened by signing in, and never by a key."""
    return route[1].startswith("pages.")


def status_of(answer: TestResponse) -> int:
    """The status; 401 for the way to the sign-in, which is how a page says it."""
    led_away = answer.status_code == 303 and str(answer.location).startswith("/login?next=")
    return 401 if led_away else answer.status_code


def is_closed(route: Route) -> bool:
    """True when nobody gets in without a credential."""
    return kind_of(route) not in {Kind.PUBLIC, Kind.OPTIONAL, Kind.MCP}


ROUTES = list(SAMPLES)
CLOSED = [route for route in ROUTES if is_closed(route)]
#: Nobody in particular gets in, and sees what is public.
OPEN_TO_STRANGERS = [route for route in ROUTES if kind_of(route) is Kind.MCP]
#: One closed route of each kind, for what the door decides by the kind alone.
ONE_OF_EACH_KIND = list({kind_of(route): route for route in CLOSED}.values())
WRITING = [route for route in ROUTES if route[0] in {"POST", "PUT", "PATCH"}]


def routes_of(app: Flask) -> set[Route]:
    """Every (method, endpoint) that the application has."""
    return {(method, rule.endpoint) for rule in app.url_map.iter_rules() for method in rule.methods & METHODS}


def arguments_of(app: Flask) -> set[str]:
    """Every name in a path of the application."""
    return {name for rule in app.url_map.iter_rules() for name in rule.arguments}


def rule_of(app: Flask, route: Route) -> str:
    """The path of a route, with its names; of two slash forms the longer one."""
    method, endpoint = route
    return max((rule.rule for rule in app.url_map.iter_rules(endpoint) if method in rule.methods), key=len)


# Requests


@dataclass(slots=True)
class Call:
    """A request of a route that is filled in and not sent yet."""

    method: str
    path: str
    query: dict[str, Any]
    json: Any = None
    form: dict[str, Any] | None = None
    upload: tuple[str, bytes] | None = None
    cookies: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, app: Flask, headers: dict[str, str] | None = None, **environ: Any) -> TestResponse:
        """Send it, and return the answer."""
        sent: dict[str, Any] = {"headers": self.headers | dict(headers or {}), "query_string": self.query}
        if self.cookies:
            sent["headers"]["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if self.upload is not None:
            sent["data"] = {"file": (io.BytesIO(self.upload[1]), self.upload[0])}
        elif self.form is not None:
            sent["data"] = self.form
        elif self.json is not None:
            sent["json"] = self.json
        client = app.test_client(use_cookies=False)
        return client.open(self.path, method=self.method, environ_overrides=environ, buffered=True, **sent)


def call_of(app: Flask, route: Route, choose: Choose) -> Call:
    """Fill the sample of a route in."""
    sample = SAMPLES[route]

    def in_path(match: re.Match[str]) -> str:
        name = match[1].rpartition(":")[2]
        thing = sample.path.get(name) or ARGUMENTS[name]
        if isinstance(thing, str):
            return thing
        if thing is NEW:
            return _new_name()
        return quote(choose(f"path.{name}", thing.name), safe="")

    return Call(
        route[0],
        re.sub(r"<([^>]+)>", in_path, rule_of(app, route)),
        _filled(sample.query, "query", choose),
        _filled(sample.json, "body", choose),
        _filled(sample.form, "form", choose),
        sample.upload,
        _filled(sample.cookies, "cookies", choose),
        sample.headers,
    )


def places_of(app: Flask, route: Route) -> dict[str, str]:
    """Where a route's request names things, and which."""
    found: dict[str, str] = {}

    def noted(place: str, thing: str) -> str:
        found[place] = thing
        return thing

    call_of(app, route, noted)
    return found


def _new_name() -> str:
    return f"n{uuid.uuid4().hex}"


def _filled(content: Any, place: str, choose: Choose) -> Any:
    if content is NEW:
        return _new_name()
    if isinstance(content, Thing):
        return choose(place, content.name)
    if isinstance(content, dict):
        return {name: _filled(item, f"{place}.{name}", choose) for name, item in content.items()}
    if isinstance(content, list):
        return [_filled(item, f"{place}.{at}", choose) for at, item in enumerate(content)]
    return content


# People and their things


class Owner:
    """A user with one of everything, made by the server when it is first asked for."""

    def __init__(self, app: Flask, *, is_superuser: bool = False) -> None:
        self.app, self.is_superuser = app, is_superuser
        #: In every name that this user gives to anything.
        self.mark = f"m{uuid.uuid4().hex[:16]}"
        own = app.extensions["keyturn"]
        with Session(own.engine) as session:
            user = User(username=self.mark, username_key=self.mark, password_hash=password_hash(), is_active=True,
                        is_superuser=is_superuser, created_at=datetime.now(UTC))  # fmt: skip
            session.add(user)
            session.flush()
            self.user_id = str(user.id)
            session.commit()
        self.sign_in()
        made = self._ask("POST", "/api/v1/api_key/", headers=self.session, json={"name": f"{self.mark}-first"})
        self.key: str = made["api_key"]
        self.things: dict[str, str] = {}

    def sign_in(self) -> None:
        """Begin a new session: some routes end the one there is."""
        own = self.app.extensions["keyturn"]
        with Session(own.engine) as session:
            begin_write(session)
            self.tokens = accounts.issue(session, uuid.UUID(self.user_id), own.lifetimes, own.now())
            session.commit()

    @property
    def session(self) -> dict[str, str]:
        """Headers with the login token."""
        return {"Authorization": f"Bearer {self.tokens.access}"}

    @property
    def browser(self) -> dict[str, str]:
        """Headers of a browser that is signed in."""
        return {"Cookie": f"access_token_lf={self.tokens.access}", "Sec-Fetch-Site": "same-origin"}

    def credential(self, route: Route) -> dict[str, str]:
        """The headers that the route asks of its callers."""
        if kind_of(route).is_page:
            return self.browser
        return self.session if kind_of(route) is Kind.SESSION else {"x-api-key": self.key}

    def __getitem__(self, thing: str) -> str:
        if thing not in self.things:
            self.things[thing] = FACTORIES[thing](self)
        return self.things[thing]

    def all_things(self) -> dict[str, str]:
        """One of everything."""
        return {name: self[name] for name in FACTORIES}

    def renew(self) -> None:
        """Make new things from now on: the old ones may be gone or changed."""
        self.things.clear()

    def choose(self, place: str, thing: str) -> str:
        """One's own thing, wherever it is called for."""
        return self[thing]

    def call(self, route: Route) -> Call:
        """The route with one's own things."""
        return call_of(self.app, route, self.choose)

    def send(self, route: Route, call: Call | None = None) -> TestResponse:
        """Ask for the route with one's own things, or as ``call`` says."""
        return (call or self.call(route)).send(self.app, self.credential(route))

    def make(self, method: str, path: str, **kwargs: Any) -> Any:
        """Send a request that has to be accepted, and return the answer's body."""
        return self._ask(method, f"/api{path}", headers={"x-api-key": self.key}, **kwargs)

    def new_name(self) -> str:
        """A name with the mark that nothing has yet."""
        return f"{self.mark}-{uuid.uuid4().hex[:8]}"

    def _ask(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = self.app.test_client(use_cookies=False).open(path, method=method, **kwargs)
        assert answer.status_code < 400, (path, answer.json)
        return answer.json


def _endpoint(owner: Owner) -> str:
    body = {"name": owner.new_name(), "endpoint_name": owner.new_name(), "data": flows.echo()}
    made = owner.make("POST", "/v1/flows/", json=body)
    owner.things |= {"flow": made["id"], "project": made["folder_id"], "endpoint": made["endpoint_name"]}
    return owner.things["endpoint"]


def _by(factory: Callable[[Owner], str], thing: str) -> Callable[[Owner], str]:
    """A thing that comes into being with another one."""

    def made(owner: Owner) -> str:
        factory(owner)
        return owner.things[thing]

    return made


def _public_flow(owner: Owner) -> str:
    body = {"name": owner.new_name(), "data": flows.echo(), "access_type": "PUBLIC"}
    return str(owner.make("POST", "/v1/flows/", json=body)["id"])


def _project(owner: Owner) -> str:
    return str(owner.make("POST", "/v1/projects/", json={"name": owner.new_name()})["id"])


def _server(owner: Owner) -> str:
    name = owner.new_name()
    owner.make("POST", f"/v2/mcp/servers/{name}", json=_SERVER)
    return name


def _flow_file(owner: Owner) -> str:
    upload = {"file": (io.BytesIO(PNG), f"{owner.new_name()}.png")}
    made = owner.make("POST", f"/v1/files/upload/{owner['flow']}", data=upload)
    return str(made["file_path"].partition("/")[2])


def _file(owner: Owner) -> str:
    upload = {"file": (io.BytesIO(b"content"), f"{owner.new_name()}.txt")}
    return str(owner.make("POST", "/v2/files/", data=upload)["id"])


def _variable(owner: Owner) -> str:
    return str(owner.make("POST", "/v1/variables/", json=_VARIABLE | {"name": owner.new_name()})["id"])


def _session(owner: Owner) -> str:
    name = owner.new_name()
    owner.make("POST", f"/v1/run/{owner['flow']}", json={"input_value": owner.mark, "session_id": name})
    return name


def _message(owner: Owner) -> str:
    found = owner.make("GET", "/v1/monitor/messages", query_string={"session_id": owner["session"]})
    return str(found[0]["id"])


def _job(owner: Owner) -> str:
    body = {"input_value": owner.mark, "background": True}
    return str(owner.make("POST", f"/v1/run/{owner['flow']}", json=body)["id"])


def _key(owner: Owner) -> str:
    return str(owner.make("POST", "/v1/api_key/", json={"name": owner.new_name()})["id"])


FACTORIES: dict[str, Callable[[Owner], str]] = {
    "user": lambda owner: owner.user_id,
    "username": lambda owner: owner.mark,
    "newcomer": lambda owner: Owner(owner.app).user_id,
    "refresh_token": lambda owner: owner.tokens.refresh,
    "key": _key,
    "variable": _variable,
    "endpoint": _endpoint,
    "flow": _by(_endpoint, "flow"),
    "project": _by(_endpoint, "project"),
    "public_flow": _public_flow,
    "other_project": _project,
    "server": _server,
    "flow_file": _flow_file,
    "file": _file,
    "session": _session,
    "message": _message,
    "job": _job,
}


@cache
def password_hash() -> str:
    """The hash of everybody's password, computed once."""
    return Argon2Hasher().hash(PASSWORD)


def ghost(things: dict[str, str]) -> dict[str, str]:
    """Things of the same forms that never existed."""
    return {name: str(uuid.uuid4()) if is_id(value) else _never(value) for name, value in things.items()}


def is_id(text: str) -> bool:
    """True for a UUID in its usual form."""
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


def _never(name: str) -> str:
    """Another name of the same length."""
    return re.sub(r"[0-9a-f]{8}", lambda match: uuid.uuid4().hex[:8], name)


def forms_of(identifier: str) -> Iterator[str]:
    """The spellings of one id that a careless comparison takes for different ids, or for none."""
    yield from (identifier, identifier.upper(), f"{{{identifier}}}", f"urn:uuid:{identifier}")
    yield identifier.replace("-", "")
