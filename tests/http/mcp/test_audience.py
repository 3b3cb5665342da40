"""Who sees and runs which flows: the policy's last column, on every transport's own route."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.domain import accounts
from service.storage import RunRow, User
from service.storage.engine import begin_write
from tests.http.mcp.conftest import PUBLIC, Owner, store
from tests.support import flows
from tests.support.client import Api
from tests.support.mcp import STRANGER, Mcp, request_of


def name(owner: Owner, kind: str) -> str:
    """The name of the tool that a flow of the owner is."""
    flow = owner.api.get(f"/flows/{owner.ids[kind]}").json["name"]
    return str(flow).replace(" ", "_")


def of_project(owner: Owner, form: str = "mcp/project") -> str:
    return f"/api/v1/{form}/{owner.project}/streamable"


def stranger(owner: Owner, path: str | None = None) -> Mcp:
    return Mcp(owner.api.app, None, *([path] if path else []), address=STRANGER)


def test_nobody_in_particular_sees_the_public_tools_of_every_owner_and_no_other(
    owner: Owner, neighbour: Owner
) -> None:
    seen = set(stranger(owner).tools())
    assert {name(owner, "public"), name(neighbour, "public")} <= seen
    assert not {name(one, kind) for one in (owner, neighbour) for kind in ("hidden", "no tool", "private")} & seen


def test_a_key_sees_its_owners_tools_public_or_not_and_nobody_elses(owner: Owner, neighbour: Owner) -> None:
    assert owner.mcp().tools() == [name(owner, "public"), name(owner, "hidden")]


def test_a_login_token_sees_what_the_users_keys_see(owner: Owner) -> None:
    api, own = owner.api, owner.api.app.extensions["keyturn"]
    with Session(own.engine) as session:
        token = accounts.issue(begin_write(session), uuid.UUID(api.user_id), own.lifetimes, own.now()).access
        session.commit()
    bearer = {"Authorization": f"Bearer {token}"}
    assert Mcp(api.app).tools(headers=bearer) == [name(owner, "public"), name(owner, "hidden")]


@pytest.mark.parametrize("form", ["mcp/project", "mcp-projects"])
def test_a_project_shows_nobody_in_particular_its_public_tools(owner: Owner, form: str) -> None:
    assert stranger(owner, of_project(owner, form)).tools() == [name(owner, "public")]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_project_shows_its_owner_all_its_tools(owner: Owner, slash: str) -> None:
    assert owner.mcp(f"{of_project(owner)}{slash}").tools() == [name(owner, "public"), name(owner, "hidden")]


@pytest.mark.parametrize("form", ["mcp/project", "mcp-projects"])
@pytest.mark.parametrize("end", ["streamable", "", "sse"])
def test_a_project_without_public_tools_is_answered_like_a_missing_one(owner: Owner, form: str, end: str) -> None:
    owner.api.patch(f"/flows/{owner.ids['public']}", json={"access_type": "PRIVATE"})
    client = owner.api.app.test_client(use_cookies=False)
    answers = []
    for project in (owner.project, str(uuid.uuid4()), "no-id"):
        answer = client.open(f"/api/v1/{form}/{project}/{end}", method="GET" if end == "sse" else "POST", json={})
        answers.append((answer.status_code, answer.json))
    assert answers == [(404, {"detail": "Project not found"})] * 3


def test_a_neighbours_project_is_answered_like_a_missing_one_even_with_public_tools(
    owner: Owner, neighbour: Owner
) -> None:
    answer = owner.mcp(of_project(neighbour)).post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert (answer.status_code, answer.json) == (404, {"detail": "Project not found"})


def test_nobody_in_particular_runs_a_public_tool(owner: Owner) -> None:
    assert stranger(owner).said(name(owner, "public"), {"input_value": "Hello"}) == (False, "Hello")


@pytest.mark.parametrize("kind", ["hidden", "no tool", "private"])
def test_nobody_in_particular_runs_what_is_no_public_tool(owner: Owner, kind: str) -> None:
    failed, text = stranger(owner).said(name(owner, kind))
    assert (failed, text) == (True, f"Flow with name '{name(owner, kind)}' not found")


def test_a_neighbours_key_does_not_run_a_hidden_tool(owner: Owner, neighbour: Owner) -> None:
    assert neighbour.mcp().said(name(owner, "hidden"))[0]


def test_a_neighbours_key_does_not_run_a_public_tool_either(owner: Owner, neighbour: Owner) -> None:
    assert neighbour.mcp().said(name(owner, "public"))[0]


def test_a_run_of_nobody_in_particular_counts_against_the_flows_owner(owner: Owner) -> None:
    stranger(owner).call(name(owner, "public"))
    own = owner.api.app.extensions["keyturn"]
    own.run_log.flush()
    with Session(own.engine) as session:
        row = session.scalars(select(RunRow).where(RunRow.flow_id == uuid.UUID(owner.ids["public"]))).one()
    assert (str(row.user_id), row.key_id, row.outcome) == (owner.api.user_id, None, "done")


def test_the_public_tools_of_somebody_who_left_are_gone(owner: Owner) -> None:
    tool = name(owner, "public")
    with Session(owner.api.app.extensions["keyturn"].engine) as session:
        session.get_one(User, uuid.UUID(owner.api.user_id)).is_active = False
        session.commit()
    assert tool not in stranger(owner).tools()
    assert stranger(owner).said(tool)[0]


def test_a_tool_that_was_switched_off_is_gone_at_once(owner: Owner) -> None:
    tool = name(owner, "public")
    owner.api.patch(f"/flows/{owner.ids['public']}", json={"mcp_enabled": False})
    assert owner.mcp().said(tool)[0]


def test_a_key_for_some_flows_sees_and_runs_those_only(owner: Owner) -> None:
    client = owner.limited(flows=[owner.ids["hidden"]])
    assert client.tools() == [name(owner, "hidden")]
    assert client.said(name(owner, "hidden"), {"input_value": "Hello"}) == (False, "Hello")
    assert client.said(name(owner, "public"))[0]


def test_a_key_for_no_flow_sees_nothing(owner: Owner) -> None:
    assert owner.limited(flows=[]).tools() == []


@pytest.mark.parametrize("method", ["tools/list", "tools/call", "initialize"])
def test_a_key_without_the_scope_run_gets_nowhere(owner: Owner, method: str) -> None:
    answer = owner.limited(scopes=["manage"]).post({"jsonrpc": "2.0", "id": 1, "method": method})
    assert (answer.status_code, answer.json) == (403, {"detail": "This API key lacks the scope run"})


def test_the_rate_of_a_key_holds(owner: Owner) -> None:
    client = owner.limited(rate_limit={"requests": 1, "window_seconds": 60})
    statuses = [client.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code for _ in range(2)]
    assert statuses == [200, 429]


def test_each_call_of_a_tool_in_a_batch_counts_as_a_request(owner: Owner) -> None:
    tool = name(owner, "public")
    call = {"name": tool, "arguments": {"input_value": "Hello"}}
    batch = [request_of("ping", number=0), *(request_of("tools/call", call, at) for at in (1, 2, 3))]
    client = owner.limited(rate_limit={"requests": 2, "window_seconds": 60})
    answer = client.post([*batch, request_of("ping", number=4)])
    assert [(one["id"], one.get("error", {}).get("code")) for one in answer.json] == [
        (0, None), (1, None), (2, None), (3, -32001), (4, None),
    ]  # fmt: skip
    assert answer.json[3]["error"]["message"].startswith("This API key has used up its requests")
    assert answer.headers["RateLimit"].startswith('"key";r=0;')
    assert client.post(request_of("ping")).status_code == 429


def test_a_batch_of_a_key_without_a_rate_or_of_nobody_in_particular_is_answered_whole(owner: Owner) -> None:
    batch = [request_of("tools/call", {"name": name(owner, "public")}, at) for at in range(3)]
    for client in (owner.mcp(), stranger(owner)):
        assert ["result" in one for one in client.post(batch).json] == [True] * 3


def test_the_networks_of_a_key_hold(owner: Owner) -> None:
    client = owner.limited(networks=["198.51.100.0/24"])
    assert client.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code == 403


def test_a_run_takes_the_owners_variables_whoever_calls(owner: Owner) -> None:
    _needs_variable(owner.api)
    _set_variable(owner.api)
    assert stranger(owner, of_project(owner)).said("greeter") == (False, "from the owner")


def test_a_variable_that_a_key_holder_sends_wins_over_the_stored_one(owner: Owner) -> None:
    _needs_variable(owner.api)
    _set_variable(owner.api)
    headers = {"X-LANGFLOW-GLOBAL-VAR-GREETING": "from the caller"}
    assert owner.mcp().said("greeter", headers=headers) == (False, "from the caller")


def test_a_variable_that_nobody_in_particular_sends_counts_for_nothing(owner: Owner) -> None:
    _needs_variable(owner.api)
    _set_variable(owner.api)
    headers = {"X-LANGFLOW-GLOBAL-VAR-GREETING": "from a stranger"}
    assert stranger(owner, of_project(owner)).said("greeter", headers=headers) == (False, "from the owner")


def test_a_stranger_is_not_told_what_the_owner_has_not_set(owner: Owner) -> None:
    _needs_variable(owner.api)
    failed, text = stranger(owner, of_project(owner)).said("greeter")
    assert (failed, text) == (True, "Error executing the greeter tool. Error: The tool could not do its work.")


def test_a_stranger_is_not_told_which_credentials_the_owner_has(owner: Owner) -> None:
    _needs_variable(owner.api)
    _set_variable(owner.api, "Credential")
    assert stranger(owner, of_project(owner)).said("greeter") == (
        True, "Error executing the greeter tool. Error: The tool could not do its work.",
    )  # fmt: skip
    assert "would show the Credential GREETING" in owner.mcp().said("greeter")[1]


def test_a_key_holder_is_told_what_is_missing(owner: Owner) -> None:
    _needs_variable(owner.api)
    failed, text = owner.mcp().said("greeter")
    assert failed
    assert "GREETING" in text


def _needs_variable(api: Api) -> None:
    """A public flow that says what the variable GREETING holds."""
    start, end = flows.prompt(template="{greeting}", variables={"greeting": "GREETING"}), flows.chat_output()
    start["data"]["node"]["template"]["greeting"]["load_from_db"] = True
    store(api, "greeter", flows.flow([start, end], [flows.edge(start, "prompt", end, "input_value")]), **PUBLIC)


def _set_variable(api: Api, kind: str = "Generic") -> None:
    body = {"name": "GREETING", "value": "from the owner", "type": kind, "default_fields": []}
    assert api.post("/variables/", json=body).status_code == 201
