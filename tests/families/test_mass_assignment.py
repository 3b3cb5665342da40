"""Mass assignment: every writing route is sent every column of every table, and sets only what it is made for."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Boolean, Column, Integer, LargeBinary
from sqlalchemy.types import TypeEngine

from service.storage.types import UTCDateTime
from tests.families.routes import SAMPLES, WRITING, Call, Owner, Route, name_of, password_hash
from tests.families.rows import POINTERS, TABLES, Row, added, changes, dump, without

HERE = "tests/families/test_mass_assignment.py"


def _columns(table: str, names: str) -> set[str]:
    return {f"{table}.{name}" for name in names.split()}


_FLOW = _columns(
    "flow",
    "name description data endpoint_name icon icon_bg_color gradient tags is_component webhook locked mcp_enabled "
    "action_name action_description access_type folder_id",
)
_CHANGED_FLOW = _FLOW | {"flow.updated_at", "flow.version_token"}
_USER = {"user.username", "user.username_key", "user.profile_image", "user.optins", "user.updated_at"}
_MESSAGE = _columns("message", "text sender sender_name session_id edit error properties")

#: What a route may set of the caller's rows, old and new; ids, owners and times of making are never here.
_KEY = {"api_key.name", "api_key.expires_at", "api_key.scopes", "api_key.flows", "api_key.networks"}
_ROTATED = _columns("api_key", "digest prefix rotated_at rotations former_digest former_until")
_WITH_FLOW = {"flow", "message", "file", "run"}
MAY_SET: dict[Route, set[str]] = {
    ("POST", "auth.login"): {"user.last_login_at", "user.updated_at"},
    ("POST", "auth.refresh"): {"session_token", "session_token.used_at"},
    ("POST", "auth.logout"): {"session_token"},
    ("POST", "users.create"): {"user.username", "user.username_key", "user.optins"},
    ("PATCH", "users.update"): _USER,
    ("PATCH", "users.reset_password"): {"user.password_hash", "user.updated_at", "session_token"},
    ("POST", "keys.create"): _KEY,
    ("PATCH", "keys.update"): _KEY | {"api_key.is_active"},
    ("POST", "keys.rotate"): _ROTATED,
    ("POST", "variables.create"): {"variable.name", "variable.type", "variable.default_fields"},
    ("PATCH", "variables.update"): {
        "variable.name", "variable.type", "variable.default_fields", "variable.ciphertext", "variable.updated_at",
    },
    ("POST", "flows.create"): _FLOW,
    ("PATCH", "flows.update"): _CHANGED_FLOW,
    ("PUT", "flows.put"): _CHANGED_FLOW,
    ("POST", "flows.batch"): _FLOW,
    ("POST", "flows.upload"): _FLOW,
    ("POST", "mcp_servers.create"): set(),
    ("PATCH", "mcp_servers.update"): {"mcp_server.ciphertext", "mcp_server.updated_at"},
    ("POST", "projects.create"): {"project.name", "project.description", "flow.folder_id"},
    ("PATCH", "projects.update"): {"project.name", "project.description", "project.parent_id"},
    ("PUT", "projects.put"): {"project.name", "project.description", "flow.folder_id"},
    ("PUT", "files_v2.rename"): {"file.name", "file.updated_at"},
    ("PUT", "messages.update"): _MESSAGE,
    ("PATCH", "messages.rename_session"): {"message.session_id"},
    ("POST", "openai.responses"): {"message.session_id"},
    ("POST", "openai.chat_completions"): {"message.session_id"},
    ("POST", "runs.run"): {"message.session_id"},
    ("PATCH", "mcp_projects.update"): {
        "flow.mcp_enabled", "flow.action_name", "flow.action_description", "flow.updated_at",
    },
    ("POST", "workflows.start"): {"message.session_id", "job.idempotency_key"},
    ("POST", "pages.sign_in"): {"user.last_login_at", "user.updated_at"},
    ("POST", "pages.logout"): {"session_token"},
    ("POST", "pages.upload_flow"): _FLOW,
    ("POST", "pages.change_flow"): _CHANGED_FLOW,
    ("POST", "pages.delete_flow"): _WITH_FLOW,
    ("POST", "pages.say"): {"message.session_id"},
    ("POST", "pages.stream"): {"message.session_id"},
    ("POST", "pages.create_variable"): {"variable.name", "variable.type"},
    ("POST", "pages.change_variable"): {
        "variable.name", "variable.type", "variable.default_fields", "variable.ciphertext", "variable.updated_at",
    },
    ("POST", "pages.delete_variable"): {"variable"},
    ("POST", "pages.create_key"): _KEY,
    ("POST", "pages.change_key"): _KEY,
    ("POST", "pages.switch_key"): {"api_key.is_active"},
    ("POST", "pages.rotate_key"): _ROTATED,
    ("POST", "pages.delete_keys"): {"api_key"},
    ("POST", "pages.change_password"): {"user.password_hash", "user.updated_at", "session_token"},
    ("POST", "pages.create_user"): {"user.username", "user.username_key"},
    ("POST", "pages.change_user"): {"user.is_active", "user.updated_at", "session_token"},
    ("POST", "pages.delete_user"): {"user", "session_token", "api_key"},
}  # fmt: skip
#: Made for changing the account of somebody else: of one who was made for it.
ON_OTHERS = {("POST", "pages.change_user"), ("POST", "pages.delete_user")}
#: Half of a surrogate pair: JSON can spell it, nothing else can.
HALF = "\ud800"
WRONG = (None, 7, [], {}, [[]], "\x00", HALF, 1e300)
#: Counted by the server at each request.
ALWAYS = {"api_key.total_uses", "api_key.last_used_at", "run.duration"}


def hostile(table: str, column: Column[Any], outsider: Owner) -> Iterator[Any]:
    """Values that would do harm in a column: somebody else's id, rights, times, hashes."""
    kind: TypeEngine[Any] = column.type
    if column.name in POINTERS[table] or column.primary_key or kind.python_type is uuid.UUID:
        things = {"flow": "flow", "project": "project", "user": "user", "api_key": "key", "file": "file"}
        yield from (outsider[things.get(POINTERS[table].get(column.name, table), "user")], str(uuid.uuid4()))
    elif isinstance(kind, Boolean):
        yield from (True, False)
    elif isinstance(kind, Integer):
        yield from (0, 987_654_321)
    elif isinstance(kind, UTCDateTime):
        yield from ("2001-02-03T04:05:06+00:00", "2999-02-03T04:05:06+00:00")
    elif isinstance(kind, LargeBinary):
        yield base64.b64encode(b"hostile").decode()
    elif kind.python_type is dict:
        yield from (["hostile"], {"hostile": True}, {})
    elif "hash" in column.name:
        yield password_hash()
    else:
        yield from (f"hostile-{column.name}"[:40], outsider.mark, "")


COLUMNS = [(table, column) for table, made in TABLES.items() for column in made.columns]


def values_of(outsider: Owner) -> dict[str, list[Any]]:
    """The hostile values by name of the column, whatever its table."""
    found: dict[str, list[Any]] = {}
    for table, column in COLUMNS:
        found.setdefault(column.name, []).extend(hostile(table, column, outsider))
    return {name: list({repr(value): value for value in values}.values()) for name, values in found.items()}


def all_at_once(values: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Every field with its n-th value, so that each value comes once."""
    for at in range(max(map(len, values.values()))):
        yield {name: some[at % len(some)] for name, some in values.items()}


def one_by_one(values: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """One field at a time, with its first value; rights and switches with both."""
    for name, some in values.items():
        yield from ({name: value} for value in (some[:2] if some[0] is True else some[:1]))


def spread(body: Any, more: dict[str, Any]) -> Any:
    """The body with more fields, also in the objects of its lists; one field alone replaces the route's own."""
    if isinstance(body, dict):
        own = {name: spread(item, more) if isinstance(item, list) else item for name, item in body.items()}
        return own | more if len(more) == 1 else more | own
    if isinstance(body, list):
        return [spread(item, more) for item in body]
    return body


def with_more(call: Call, more: dict[str, Any]) -> Call:
    """The call with more fields, wherever it has some."""
    flat = {name: value for name, value in more.items() if isinstance(value, str | bool | int) and value != HALF}
    if call.form is not None:
        call.form = flat | call.form
    elif call.upload is None:
        call.json = spread({} if call.json is None else call.json, more)
    call.query = flat | call.query
    return call


def taken(table: str, row: Row, usual: list[Row], values: dict[str, list[Any]]) -> set[str]:
    """The columns of a new row that hold a value which was sent and that the server does not choose by itself."""
    found = set()
    for name, value in row.items():
        chosen = {str(one[name]) for one in usual}
        if str(value) in set(map(as_stored, values[name])) - chosen:
            found.add(f"{table}.{name}")
    return found


def as_stored(value: Any) -> str:
    """A value as Python writes it that comes back from a column."""
    return value.replace("T", " ") if isinstance(value, str) and value[10:11] == "T" else str(value)


@pytest.mark.parametrize("route", WRITING, ids=name_of)
def test_a_route_sets_nothing_but_what_it_is_made_for(lasting: Flask, route: Route) -> None:
    caller, outsider = Owner(lasting, is_superuser=SAMPLES[route].by_superuser), Owner(lasting)
    outsider.all_things()
    call = caller.call(route)
    before = dump(lasting)
    assert caller.send(route, call).status_code < 500
    plain = dump(lasting)
    usual = added(before, plain)
    values = values_of(outsider)
    statuses = [caller.send(route, with_more(caller.call(route), more)).status_code for more in all_at_once(values)]
    if (
        SAMPLES[route].status is None and max(statuses) >= 400
    ):  # one of the fields is the route's own, and its value was refused
        singly = [with_more(caller.call(route), more) for more in one_by_one(values)]
        statuses += [caller.send(route, call).status_code for call in singly]
    for wrong in WRONG:
        call = with_more(caller.call(route), dict.fromkeys(values, wrong))
        statuses.append(caller.send(route, call).status_code)
    after = dump(lasting)
    moved = changes(before, after)
    moved |= {
        column
        for table, row in added(plain, after)
        for column in taken(table, row, [one for of, one in usual if of == table], values)
    }
    assert max(statuses) < 500
    known = [caller.user_id, caller["newcomer"]] if route in ON_OTHERS else [caller.user_id]
    assert changes(without(before, *known), after) == set(), "somebody else's row changed"
    assert moved - ALWAYS - MAY_SET.get(route, set()) == set(), f"if it may set these, add them to MAY_SET in {HERE}"
