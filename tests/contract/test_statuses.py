"""The contract's statuses and messages, one row each: what Langflow 1.13 answers, or what Keyturn does instead.

The names are the tags of the recorded exchanges. Each row stands by itself.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import make_url

from service.app import create_app
from service.settings import Settings
from tests.support import flows
from tests.support.client import PASSWORD, SUPERUSER, USER_PASSWORD, Api

NOWHERE = str(uuid.uuid4())
JSON, FORM, PARTS = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"


@dataclass
class World:
    """One server with a superuser, an ordinary user, a flow and a variable."""

    callers: dict[str, Api]
    names: dict[str, str]

    def send(self, who: str, request: str, kwargs: dict[str, Any]) -> Any:
        method, path = request.split(" ", 1)
        filled = {name: _filled(value, self.names) for name, value in kwargs.items()}
        return self.callers[who].open(method, _filled(path, self.names), **filled)


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"<{name}>", text)
        return value
    if isinstance(value, dict):
        return {key: _filled(item, names) for key, item in value.items()}
    return [_filled(item, names) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("statuses")
    app = create_app(
        Settings(
            config_dir=folder, database_url=make_url(f"sqlite:///{folder / 'keyturn.db'}"), superuser=SUPERUSER,
            superuser_password=PASSWORD, rate_limit_enabled=False, log_level="error",
        )
    )  # fmt: skip
    admin = Api.of_superuser(app)
    user = admin.new_user("somebody")
    flow = admin.post("/flows/", json={"name": "probe", "data": flows.echo(), "endpoint_name": "probe"}).json
    variable = {"name": "MY_GEN", "value": "plain", "type": "Generic", "default_fields": []}
    credential = {"name": "MY_CRED", "value": "s3cret", "default_fields": []}
    admin.post("/api/v2/mcp/servers/kept", json={"command": "uvx"})
    names = {
        "flow": flow["id"],
        "project": admin.post("/projects/", json={"name": "empty"}).json["id"],
        "generic": admin.post("/variables/", json=variable).json["id"],
        "credential": admin.post("/variables/", json=credential).json["id"],
        "admin": admin.user_id,
        "user": user.user_id,
        "nowhere": NOWHERE,
        "token": str(user.token),
    }
    yield World({"admin": admin, "user": user, "nobody": Api(app, None, "")}, names)
    app.extensions["keyturn"].close()


BEARER = {"Authorization": "Bearer <token>"}
Row = tuple[str, str, dict[str, Any], int, Any]
#: tag -> (who, request, arguments, status, detail; None where the body is no error)
ROWS: dict[str, Row] = {
    "version": ("nobody", "GET /version", {}, 200, None),
    "auto_login": ("nobody", "GET /auto_login", {}, 403, {"message": "Auto login is disabled.", "auto_login": False}),
    "login.bad": ("nobody", "POST /login", {"data": {"username": SUPERUSER, "password": "nope"}}, 401,
                  "Incorrect username or password"),
    "login.missing": ("nobody", "POST /login", {"data": {"username": "admin"}}, 422, [["body", "password"]]),
    "login.json": ("nobody", "POST /login", {"json": {"username": "a", "password": "b"}}, 422,
                   [["body", "username"], ["body", "password"]]),
    "session.none": ("nobody", "GET /session", {}, 200, None),
    "refresh.none": ("nobody", "POST /refresh", {}, 401, "Invalid refresh token"),
    "whoami.none": ("nobody", "GET /users/whoami", {}, 403, "No authentication credentials provided"),
    "whoami.badbearer": ("nobody", "GET /users/whoami", {"headers": {"Authorization": "Bearer abc.def.ghi"}}, 401,
                         "Invalid token"),
    "whoami.badkey": ("nobody", "GET /users/whoami", {"headers": {"x-api-key": "sk-nope"}}, 403, "Invalid API key"),
    "apikey.create.noname": ("admin", "POST /api_key/", {"json": {}}, 200, None),
    "apikey.create.nullname": ("admin", "POST /api_key/", {"json": {"name": None}}, 200, None),
    "apikey.create.badjson": ("admin", "POST /api_key/", {"json": {"name": 5}}, 422, [["body", "name"]]),
    "apikey.create.expired": ("admin", "POST /api_key/", {"json": {"expires_at": "2020-01-01T00:00:00Z"}}, 422,
                              [["body", "expires_at"]]),
    "apikey.list.noslash": ("admin", "GET /api_key", {}, 200, None),
    "apikey.delete.missing": ("admin", "DELETE /api_key/<nowhere>", {}, 400, "API Key not found"),
    "apikey.delete.badid": ("admin", "DELETE /api_key/not-a-uuid", {}, 422, [["path", "api_key_id"]]),
    "apikey.store": ("admin", "POST /api_key/store", {"json": {"api_key": "store-key"}}, 200, None),
    "users.create.anon": ("nobody", "POST /users/", {"json": {"username": "anon", "password": "pw12345678"}}, 403,
                          "Public user registration is disabled."),
    "users.create.dup": ("admin", "POST /users/", {"json": {"username": "SomeBody", "password": "pw12345678"}}, 400,
                         "This username is unavailable."),
    "users.create.nopw": ("admin", "POST /users/", {"json": {"username": "x"}}, 422, [["body", "password"]]),
    "users.list.badlimit": ("admin", "GET /users/?limit=1000", {}, 422, [["query", "limit"]]),
    "users.get.missing": ("admin", "GET /users/<nowhere>", {}, 404, "User not found"),
    "users.list.nonadmin": ("user", "GET /users/", {}, 403, "The user doesn't have enough privileges"),
    "users.get.other": ("user", "GET /users/<admin>", {}, 403, "Permission denied: user:manage is required."),
    "users.patch.self.super": ("user", "PATCH /users/<user>", {"json": {"is_superuser": True}}, 403,
                               "Only a superuser may promote or demote platform superusers"),
    "users.patch.self.password": ("user", "PATCH /users/<user>", {"json": {"password": "newpw123"}}, 400,
                                  "You can't change your password here"),
    "users.patch.self.deactivate": ("user", "PATCH /users/<user>", {"json": {"is_active": False}}, 403,
                                    "You can't deactivate your own user account"),
    "users.reset.nocurrent": ("nobody", "PATCH /users/<user>/reset-password",
                              {"json": {"password": "n"}, "headers": BEARER}, 422, [["body", "current_password"]]),
    "users.reset.wrongcurrent": ("nobody", "PATCH /users/<user>/reset-password",
                                 {"json": {"current_password": "z", "password": "n"}, "headers": BEARER}, 400,
                                 "Current password is incorrect"),
    "users.reset.same": ("nobody", "PATCH /users/<user>/reset-password",
                         {"json": {"current_password": USER_PASSWORD, "password": USER_PASSWORD}, "headers": BEARER},
                         400, "You can't use your current password"),
    "users.reset.other": ("nobody", "PATCH /users/<admin>/reset-password",
                          {"json": {"current_password": USER_PASSWORD, "password": "x"}, "headers": BEARER}, 404,
                          "You can't change another user's password"),
    "users.reset.key": ("user", "PATCH /users/<user>/reset-password",
                        {"json": {"current_password": USER_PASSWORD, "password": "x"}}, 403,
                        "Sign in interactively to do this; an API key is not enough"),
    "users.delete.nonadmin": ("user", "DELETE /users/<nowhere>", {}, 403, "Permission denied"),
    "users.delete.self": ("user", "DELETE /users/<user>", {}, 400, "You can't delete your own user account"),
    "users.delete.missing": ("admin", "DELETE /users/<nowhere>", {}, 404, "User not found"),
    "var.create.nodefaults": ("admin", "POST /variables/", {"json": {"name": "N", "value": "x"}}, 422,
                              [["body", "default_fields"]]),
    "var.create.dup": ("admin", "POST /variables/", {"json": {"name": "MY_GEN", "value": "x", "default_fields": []}},
                       400, "Variable name already exists"),
    "var.create.emptyname": ("admin", "POST /variables/", {"json": {"name": "", "value": "x", "default_fields": []}},
                             400, "Variable name cannot be empty"),
    "var.create.emptyvalue": ("admin", "POST /variables/", {"json": {"name": "N", "value": "", "default_fields": []}},
                              400, "Variable value cannot be empty"),
    "var.create.bothempty": ("admin", "POST /variables/", {"json": {"name": "", "value": "", "default_fields": []}},
                             400, "Variable name and value cannot be empty"),
    "var.create.fernet": ("admin", "POST /variables/",
                          {"json": {"name": "F", "value": "gAAAAAx", "type": "Generic", "default_fields": []}}, 201,
                          None),
    "var.patch.noid": ("admin", "PATCH /variables/<generic>", {"json": {"value": "x"}}, 422, [["body", "id"]]),
    "var.patch.cred2gen": ("admin", "PATCH /variables/<credential>",
                           {"json": {"id": "<credential>", "type": "Generic"}}, 404, "Variable not found"),
    "var.patch.taken": ("admin", "PATCH /variables/<credential>",
                        {"json": {"id": "<credential>", "name": "MY_GEN"}}, 400, "Variable name already exists"),
    "var.patch.other": ("user", "PATCH /variables/<generic>", {"json": {"id": "<generic>", "value": "q"}}, 404,
                        "Variable not found"),
    "var.delete.other": ("user", "DELETE /variables/<generic>", {}, 404, "Variable not found"),
    "flows.create.badendpoint": ("admin", "POST /flows/", {"json": {"name": "x", "endpoint_name": "bad name!"}}, 422,
                                 [["body", "endpoint_name"]]),
    "flows.create.baddata": ("admin", "POST /flows/", {"json": {"name": "x", "data": {"foo": 1}}}, 422,
                             [["body", "data"]]),
    "flows.create.noname": ("admin", "POST /flows/", {"json": {"data": {"nodes": [], "edges": []}}}, 422,
                            [["body", "name"]]),
    "flows.get.badid": ("admin", "GET /flows/not-a-uuid", {}, 422, [["path", "flow_id"]]),
    "flows.get.missing": ("admin", "GET /flows/<nowhere>", {}, 404, "Flow not found"),
    "flows.get.otheruser": ("user", "GET /flows/<flow>", {}, 404, "Flow not found"),
    "flows.patch.otheruser": ("user", "PATCH /flows/<flow>", {"json": {"name": "mine"}}, 404, "Flow not found"),
    "flows.put.otheruser": ("user", "PUT /flows/<flow>", {"json": {"name": "mine"}}, 404, "Flow not found"),
    "flows.delete.otheruser": ("user", "DELETE /flows/<flow>", {}, 404, "Flow not found"),
    "flows.put.endpointconflict": ("admin", "PUT /flows/<nowhere>", {"json": {"name": "n", "endpoint_name": "probe"}},
                                   409, "Endpoint name must be unique"),
    "flows.upload.nofile": ("admin", "POST /flows/upload/", {}, 400, "No file provided"),
    "flows.download": ("admin", "POST /flows/download/", {"json": ["<flow>"]}, 200, None),
    "flows.download.none": ("admin", "POST /flows/download/", {"json": ["<nowhere>"]}, 404, "No flows found."),
    "flows.download.otheruser": ("user", "POST /flows/download/", {"json": ["<flow>"]}, 404, "No flows found."),
    "flows.list.badtype": ("admin", "GET /flows/?flow_type=other", {}, 422, [["query", "flow_type"]]),
    "flows.public.private": ("nobody", "GET /flows/public_flow/<flow>", {}, 404, "Flow not found"),
    "flows.public.missing": ("nobody", "GET /flows/public_flow/<nowhere>", {}, 404, "Flow not found"),
    "flows.public.badid": ("nobody", "GET /flows/public_flow/not-a-uuid", {}, 422, [["path", "flow_id"]]),
    "projects.none": ("nobody", "GET /projects/", {}, 403, "No authentication credentials provided"),
    "projects.get.missing": ("admin", "GET /projects/<nowhere>", {}, 404, "Project not found"),
    "projects.get.otheruser": ("user", "GET /projects/<project>", {}, 404, "Project not found"),
    "projects.get.badid": ("admin", "GET /projects/not-a-uuid", {}, 422, [["path", "project_id"]]),
    "projects.get.badpage": ("admin", "GET /projects/<project>?page=0&size=1", {}, 422, [["query", "page"]]),
    "projects.create.noname": ("admin", "POST /projects/", {"json": {}}, 422, [["body", "name"]]),
    "projects.patch.taken": ("admin", "PATCH /projects/<project>", {"json": {"name": "Starter Project"}}, 409,
                             "Project name must be unique"),
    "projects.patch.otheruser": ("user", "PATCH /projects/<project>", {"json": {"name": "mine"}}, 404,
                                 "Project not found"),
    "projects.patch.badparent": ("admin", "PATCH /projects/<project>", {"json": {"parent_id": "<nowhere>"}}, 404,
                                 "Parent project not found"),
    "projects.delete.otheruser": ("user", "DELETE /projects/<project>", {}, 404, "Project not found"),
    "projects.download.empty": ("admin", "GET /projects/download/<project>", {}, 404, "No flows found in project"),
    "projects.upload.nofile": ("admin", "POST /projects/upload/", {}, 400, "No file provided"),
    "folders.get.missing": ("admin", "GET /folders/<nowhere>", {}, 404, "Project not found"),
    "mcp.servers.none": ("nobody", "GET /api/v2/mcp/servers", {}, 200, None),
    "mcp.servers.get.none": ("nobody", "GET /api/v2/mcp/servers/kept", {}, 403,
                             "No authentication credentials provided"),
    "mcp.servers.get.missing": ("admin", "GET /api/v2/mcp/servers/nope", {}, 404, "Server not found."),
    "mcp.servers.get.otheruser": ("user", "GET /api/v2/mcp/servers/kept", {}, 404, "Server not found."),
    "mcp.servers.create.taken": ("admin", "POST /api/v2/mcp/servers/kept", {"json": {"command": "uvx"}}, 409,
                                 "Server already exists."),
    "mcp.servers.patch.missing": ("admin", "PATCH /api/v2/mcp/servers/nope", {"json": {"command": "uvx"}}, 404,
                                  "Server not found."),
    "mcp.servers.delete.missing": ("admin", "DELETE /api/v2/mcp/servers/nope", {}, 404, "Server not found."),
    "monitor.builds": ("admin", "GET /monitor/builds?flow_id=<flow>", {}, 404, "Not Found"),
    "run.badname": ("admin", "POST /run/no-such-endpoint", {"json": {}}, 404,
                    "Flow identifier no-such-endpoint not found"),
    "run.noauth": ("nobody", "POST /run/<flow>", {"json": {}}, 403, "An API key must be passed as query or header"),
    "run.badkey": ("nobody", "POST /run/<flow>", {"json": {}, "headers": {"x-api-key": "sk-bad"}}, 403,
                   "Invalid or missing API key"),
    "run.bearer": ("nobody", "POST /run/<flow>", {"json": {}, "headers": BEARER}, 403,
                   "An API key must be passed as query or header"),
    "run.nobody": ("admin", "POST /run/<flow>", {}, 200, None),
    "run.embedded": ("admin", "POST /run/<flow>", {"json": {"input_request": {"input_value": "e"}}}, 200, None),
    "run.form": ("admin", "POST /run/<flow>", {"data": {"a": "b"}}, 422, [["body", 0]]),
    "run.form.json": ("admin", "POST /run/<flow>", {"data": "{}", "content_type": FORM}, 200, None),
    "run.multipart": ("admin", "POST /run/<flow>", {"data": {"input_value": "m"}, "content_type": PARTS}, 200, None),
    "run.multipart.none": ("nobody", "POST /run/<flow>", {"data": {"input_value": "m"}, "content_type": PARTS}, 403,
                           "An API key must be passed as query or header"),
    "adv.badsession": ("admin", "POST /run/advanced/<flow>", {"json": {"session_id": "nope"}}, 404,
                       "Session nope not found"),
    "adv.list": ("admin", "POST /run/advanced/<flow>", {"json": [{"input_value": "x"}]}, 422,
                 [["body", n] for n in ("inputs", "outputs", "tweaks", "stream", "session_id")]),
    "webhook.empty": ("admin", "POST /webhook/<flow>", {}, 400,
                      "Request body is empty. You should provide a JSON payload containing the flow ID."),
    "webhook.noauth": ("nobody", "POST /webhook/<flow>", {"json": {"a": 1}}, 403,
                       "API key required when webhook authentication is enabled"),
    "all.unknown": ("admin", "GET /nope", {}, 404, "Not Found"),
    "logout": ("nobody", "POST /logout", {}, 200, None),
    "body.malformed": ("admin", "POST /flows/", {"data": "{", "content_type": JSON}, 422, [["body", 1]]),
    "body.deep": ("admin", "POST /flows/", {"data": "[" * 9999, "content_type": JSON}, 422,
                  [["body", 0]]),
    "body.huge": ("admin", "POST /flows/", {"data": b'"' + b"a" * 17_000_000, "content_type": JSON}, 413,
                  "Request Entity Too Large"),
    "body.nul": ("admin", "POST /flows/", {"json": {"name": "a\x00b"}}, 422, [["body", "name"]]),
    "body.surrogate": ("admin", "POST /flows/", {"data": '{"name": "\\ud800"}', "content_type": JSON},
                       422, [["body", "name"]]),
    "body.long": ("admin", "POST /flows/", {"json": {"name": "a" * 256}}, 422, [["body", "name"]]),
    "query.nul": ("admin", "GET /users/?search=%00", {}, 422, [["query", "search"]]),
}  # fmt: skip


@pytest.mark.parametrize("tag", ROWS)
def test_the_contract_answers(world: World, tag: str) -> None:
    who, request, kwargs, status, detail = ROWS[tag]
    answer = world.send(who, request, kwargs)
    assert answer.status_code == status, answer.text
    if detail is None:
        return
    told = answer.json["detail"]
    assert ([problem["loc"] for problem in told] if status == 422 else told) == detail


def test_a_zip_of_flows_is_taken_as_it_was_given_out(world: World) -> None:
    admin = world.callers["admin"]
    second = admin.post("/flows/", json={"name": "second", "data": flows.prompt_chain(3)}).json["id"]
    archive = admin.post("/flows/download/", json=[world.names["flow"], second]).data
    taken = world.callers["user"].post("/flows/upload/", data={"file": (io.BytesIO(archive), "flows.zip")})
    assert taken.status_code == 201
    assert sorted(flow["name"] for flow in taken.json) == ["probe", "second"]


def test_a_flow_comes_back_as_it_was_stored(world: World) -> None:
    data = flows.chat_with_model()
    stored = world.callers["admin"].post("/flows/", json={"name": "as it is", "data": data}).json
    assert json.dumps(stored["data"]) == json.dumps(data)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_json_does_not_have_is_refused(world: World, number: str) -> None:
    body = f'{{"name": "n", "data": {{"nodes": [], "edges": [], "x": {number}}}}}'
    answer = world.callers["admin"].post("/flows/", data=body, content_type=JSON)
    assert answer.status_code == 422


def test_a_flow_that_is_nested_too_deeply_to_be_read_again_is_refused(world: World) -> None:
    data = '{"nodes": [], "edges": [], "x": ' + "[" * 300 + "]" * 300 + "}"
    answer = world.callers["admin"].post("/flows/", data=f'{{"name": "d", "data": {data}}}', content_type=JSON)
    assert [problem["loc"] for problem in answer.json["detail"]] == [["body", "data"]]
