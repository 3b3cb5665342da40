"""The MCP settings of a project: which flows are tools, and what they are called."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.http.mcp.conftest import Owner

FORMS = ["mcp/project", "mcp-projects"]


def settings(owner: Owner, form: str = "mcp/project", query: str = "") -> Any:
    answer = owner.api.get(f"/{form}/{owner.project}{query}")
    assert answer.status_code == 200, answer.json
    return answer.json


def change(owner: Owner, body: Any, form: str = "mcp/project", project: str | None = None) -> Any:
    return owner.api.patch(f"/{form}/{project or owner.project}", json=body)


@pytest.mark.parametrize("form", FORMS)
def test_a_project_lists_its_tools(owner: Owner, form: str) -> None:
    found = settings(owner, form)
    assert list(found) == ["tools", "auth_settings", "server_name"]
    assert [tool["id"] for tool in found["tools"]] == [owner.ids["public"], owner.ids["hidden"]]
    assert list(found["tools"][0]) == [
        "id", "mcp_enabled", "action_name", "action_description", "name", "description",
    ]  # fmt: skip
    assert found["server_name"] == "lf-starter_project"


def test_a_project_says_the_same_of_its_authentication_everywhere(owner: Owner) -> None:
    (listed,) = [one for one in owner.api.get("/projects/").json if one["id"] == owner.project]
    assert settings(owner)["auth_settings"] == listed["auth_settings"] == {"auth_type": "apikey"}


def test_a_project_lists_all_of_its_flows_on_demand(owner: Owner) -> None:
    found = settings(owner, query="?mcp_enabled=false")["tools"]
    assert {tool["id"]: tool["mcp_enabled"] for tool in found} == {
        owner.ids[kind]: kind in {"public", "hidden"} for kind in owner.ids
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_flow_becomes_a_tool_with_a_name_and_a_description(owner: Owner, form: str) -> None:
    one = {"id": owner.ids["private"], "mcp_enabled": True, "action_name": "go", "action_description": "Goes."}
    answer = change(owner, {"settings": [one]}, form)
    assert answer.json == {"message": "Updated MCP settings for 1 flows and project auth settings"}
    tool = owner.mcp().ask("tools/list")["tools"][-1]
    assert (tool["name"], tool["description"]) == ("go", "Goes.")


def test_what_is_absent_stays(owner: Owner) -> None:
    change(owner, {"settings": [{"id": owner.ids["hidden"], "action_name": "kept"}]})
    change(owner, {"settings": [{"id": owner.ids["hidden"], "mcp_enabled": None, "action_description": "New."}]})
    tool = settings(owner)["tools"][1]
    assert (tool["mcp_enabled"], tool["action_name"], tool["action_description"]) == (True, "kept", "New.")


def test_a_name_that_is_null_is_the_flows_own_again(owner: Owner) -> None:
    change(owner, {"settings": [{"id": owner.ids["hidden"], "action_name": "other"}]})
    change(owner, {"settings": [{"id": owner.ids["hidden"], "action_name": None}]})
    assert settings(owner)["tools"][1]["action_name"].startswith("hidden_")


def test_the_list_of_older_langflows_is_taken_too(owner: Owner) -> None:
    assert change(owner, [{"id": owner.ids["public"], "mcp_enabled": False}]).status_code == 200
    assert len(settings(owner)["tools"]) == 1


def test_it_makes_nothing_public(owner: Owner) -> None:
    one = {"id": owner.ids["private"], "mcp_enabled": True, "access_type": "PUBLIC", "user_id": str(uuid.uuid4())}
    change(owner, {"settings": [one]})
    flow = owner.api.get(f"/flows/{owner.ids['private']}").json
    assert (flow["access_type"], flow["user_id"]) == ("PRIVATE", owner.api.user_id)


def test_a_neighbours_flow_is_passed_over(owner: Owner, neighbour: Owner) -> None:
    answer = change(owner, {"settings": [{"id": neighbour.ids["private"], "mcp_enabled": True}]})
    assert "for 0 flows" in answer.json["message"]
    assert not neighbour.api.get(f"/flows/{neighbour.ids['private']}").json["mcp_enabled"]


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_neighbours_project_is_a_missing_one(owner: Owner, neighbour: Owner, method: str) -> None:
    answers = [
        owner.api.open(method, f"/mcp/project/{project}", json={"settings": []})
        for project in (neighbour.project, uuid.uuid4())
    ]
    assert [(answer.status_code, answer.json) for answer in answers] == [(404, {"detail": "Project not found"})] * 2


@pytest.mark.parametrize("body", [
    {}, {"settings": None}, {"settings": {}}, {"settings": [{}]}, {"settings": [{"id": "x"}]}, 1, [1],
    {"settings": [{"id": str(uuid.UUID(int=1)), "mcp_enabled": "yes"}]},
    {"settings": [{"id": str(uuid.UUID(int=1)), "action_name": "x" * 256}]},
    {"settings": [{"id": str(uuid.UUID(int=1))}] * 501},
], ids=lambda body: str(body)[:40])  # fmt: skip
def test_a_body_of_the_wrong_form_is_422(owner: Owner, body: Any) -> None:
    assert change(owner, body).status_code == 422


@pytest.mark.parametrize(("auth", "status"), [
    (None, 200), ({"auth_type": "apikey"}, 200), ({"auth_type": "none"}, 400), ({"auth_type": "oauth"}, 400),
    ({}, 400),
])  # fmt: skip
def test_a_project_has_no_authentication_of_its_own(owner: Owner, auth: Any, status: int) -> None:
    assert change(owner, {"settings": [], "auth_settings": auth}).status_code == status


@pytest.mark.parametrize(
    ("scopes", "statuses"), [(["read"], (200, 403)), (["manage"], (200, 200)), (["run"], (403, 403))]
)
def test_the_scopes_of_a_key_hold(owner: Owner, scopes: list[str], statuses: tuple[int, int]) -> None:
    made = owner.api.post("/api_key/", json={"name": "limited", "scopes": scopes}).json["api_key"]
    headers = {"x-api-key": made}
    found = (
        owner.api.get(f"/mcp/project/{owner.project}", headers=headers).status_code,
        owner.api.patch(f"/mcp/project/{owner.project}", json={"settings": []}, headers=headers).status_code,
    )
    assert found == statuses


@pytest.mark.parametrize("end", ["composer-url", "installed", "install"])
def test_helpers_that_would_touch_the_servers_machine_are_not_served(owner: Owner, end: str) -> None:
    answers = [owner.api.open(method, f"/mcp/project/{owner.project}/{end}") for method in ("GET", "POST")]
    assert {answer.status_code for answer in answers} == {404}
