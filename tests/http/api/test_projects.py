"""Projects and the flows in them, as the contract's section 1.7 has them; also by their older name."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support import flows
from tests.support.client import Api

STARTER = "Starter Project"


def made(api: Api, name: str = "Shop", **more: Any) -> dict[str, Any]:
    answer = api.post("/projects/", json={"name": name, **more})
    assert answer.status_code == 201, answer.json
    return answer.json


def flow_in(api: Api, project: dict[str, Any], name: str = "one", **more: Any) -> dict[str, Any]:
    body = {"name": name, "data": flows.echo(), "folder_id": project["id"], **more}
    return api.post("/flows/", json=body).json


def names(api: Api) -> list[str]:
    return [one["name"] for one in api.get("/projects/").json]


def test_a_project_has_the_fields_of_1_13(mine: Api) -> None:
    project = made(mine, description="Things to sell")
    assert uuid.UUID(project.pop("id"))
    assert project == {
        "name": "Shop",
        "description": "Things to sell",
        "auth_settings": {"auth_type": "apikey"},
        "parent_id": None,
    }


def test_a_listed_project_says_whose_it_is(mine: Api) -> None:
    made(mine)
    username = mine.get("/users/whoami").json["username"]
    listed = mine.get("/projects/").json
    assert {(one["owner_username"], one["is_owner"]) for one in listed} == {(username, True)}


@pytest.mark.parametrize("path", ["/folders/", "/folders", "/projects"])
def test_other_forms_of_the_path_answer_alike(mine: Api, path: str) -> None:
    made(mine)
    assert mine.get(path).json == mine.get("/projects/").json


def test_a_taken_name_gets_a_number(mine: Api) -> None:
    assert [made(mine)["name"] for _ in range(3)] == ["Shop", "Shop (1)", "Shop (2)"]


def test_a_name_without_a_letter_or_a_digit_is_refused(mine: Api) -> None:
    answer = mine.post("/projects/", json={"name": "..."})
    assert (answer.status_code, answer.json["detail"][0]["type"]) == (422, "invalid_project_name")


def test_the_flows_it_names_move_into_a_new_project(mine: Api, theirs: Api) -> None:
    flow, foreign = flow_in(mine, made(mine)), flow_in(theirs, made(theirs))
    project = made(mine, "Other", flows_list=[flow["id"], foreign["id"]])
    assert [one["id"] for one in mine.get(f"/projects/{project['id']}").json["flows"]] == [flow["id"]]
    assert theirs.get(f"/flows/{foreign['id']}").json["folder_id"] == foreign["folder_id"]


@pytest.mark.parametrize("field", ["flows_list", "components_list"])
def test_more_flows_than_one_statement_names_are_refused(mine: Api, field: str) -> None:
    answer = mine.post("/projects/", json={"name": "Shop", field: [str(uuid.uuid4())] * 501})
    assert (answer.status_code, answer.json["detail"][0]["loc"]) == (422, ["body", field])


def test_a_flow_moves_to_another_project_and_not_to_somebody_elses(mine: Api, theirs: Api) -> None:
    flow, other = flow_in(mine, made(mine)), made(mine, "Other")
    moves = [mine.patch(f"/flows/{flow['id']}", json={"folder_id": made(theirs)["id"]}),
             mine.patch(f"/flows/{flow['id']}", json={"folder_id": other["id"]})]  # fmt: skip
    assert [answer.status_code for answer in moves] == [404, 200]
    assert [one["id"] for one in mine.get(f"/projects/{other['id']}").json["flows"]] == [flow["id"]]
    assert mine.get(f"/projects/{flow['folder_id']}").json["flows"] == []


def test_a_project_is_shown_with_its_flows(mine: Api) -> None:
    project = made(mine)
    flow = flow_in(mine, project)
    flow_in(mine, made(mine, "Other"), "two")
    assert mine.get(f"/projects/{project['id']}").json == project | {"flows": [mine.get(f"/flows/{flow['id']}").json]}


def test_a_page_of_a_projects_flows_is_asked_for_by_number_and_size(mine: Api) -> None:
    project = made(mine)
    for number in range(3):
        flow_in(mine, project, f"flow {number}")
    page = mine.get(f"/projects/{project['id']}", query_string={"page": 2, "size": 2}).json
    assert page["folder"] == project
    assert [one["name"] for one in page["flows"].pop("items")] == ["flow 2"]
    assert page["flows"] == {"total": 3, "page": 2, "size": 2, "pages": 2}


@pytest.mark.parametrize(
    ("query", "found"),
    [({"search": "APP"}, ["apple"]), ({"search": "%"}, []), ({"is_component": True}, ["pear"]),
     ({"is_flow": True}, ["apple"])],
)  # fmt: skip
def test_a_page_can_be_narrowed(mine: Api, query: dict[str, Any], found: list[str]) -> None:
    project = made(mine)
    flow_in(mine, project, "apple")
    flow_in(mine, project, "pear", is_component=True)
    page = mine.get(f"/projects/{project['id']}", query_string={"page": 1, "size": 10, **query}).json
    assert [one["name"] for one in page["flows"]["items"]] == found


def test_a_project_is_renamed_and_described_anew(mine: Api) -> None:
    project = made(mine)
    changed = mine.patch(f"/projects/{project['id']}", json={"name": "Store", "description": None}).json
    assert changed == project | {"name": "Store", "description": None}


def test_a_change_leaves_out_what_it_does_not_name(mine: Api) -> None:
    project = made(mine, description="Things to sell")
    assert mine.patch(f"/projects/{project['id']}", json={}).json == project


def test_renaming_onto_another_project_is_a_conflict(mine: Api) -> None:
    made(mine, "Taken")
    answer = mine.patch(f"/projects/{made(mine)['id']}", json={"name": "Taken"})
    assert (answer.status_code, answer.json) == (409, {"detail": "Project name must be unique"})


def test_a_project_cannot_lie_inside_itself(mine: Api) -> None:
    outer, inner = made(mine, "outer"), made(mine, "inner")
    assert mine.patch(f"/projects/{inner['id']}", json={"parent_id": outer["id"]}).json["parent_id"] == outer["id"]
    assert mine.patch(f"/projects/{outer['id']}", json={"parent_id": inner["id"]}).status_code == 422


def test_projects_do_not_lie_in_each_other_without_end(mine: Api) -> None:
    ids = [made(mine, f"level {level}")["id"] for level in range(52)]
    below = zip(ids[1:], ids, strict=False)
    statuses = [mine.patch(f"/projects/{one}", json={"parent_id": above}).status_code for one, above in below]
    assert set(statuses[:49]) == {200}
    assert 422 in statuses[49:]


def test_a_put_makes_the_project_of_an_id_and_changes_it_the_second_time(mine: Api) -> None:
    path = f"/projects/{uuid.uuid4()}"
    answers = [mine.put(path, json={"name": name}) for name in ("first", "second")]
    assert [(answer.status_code, answer.json["name"]) for answer in answers] == [(201, "first"), (200, "second")]


def test_a_put_of_a_project_that_is_there_moves_no_flows(mine: Api) -> None:
    project = made(mine)
    answer = mine.put(f"/projects/{project['id']}", json={"name": "x", "flows_list": [str(uuid.uuid4())]})
    assert answer.status_code == 400


def test_a_deleted_project_takes_its_flows_with_it(mine: Api) -> None:
    project = made(mine)
    flow = flow_in(mine, project)
    assert mine.delete(f"/projects/{project['id']}").status_code == 204
    assert mine.get(f"/flows/{flow['id']}").status_code == 404
    assert names(mine) == [STARTER]


def test_a_new_user_has_the_default_project(mine: Api) -> None:
    first, second = mine.get("/projects/").json, mine.get("/projects/").json
    assert [one["name"] for one in first] == [STARTER]
    assert first == second
    assert mine.post("/flows/", json={"name": "one"}).json["folder_id"] == first[0]["id"]


def test_users_who_ask_at_once_for_the_first_time_get_one_default_project(mine: Api) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: mine.get("/projects/"), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json[0]["id"] for answer in answers}) == 1


class TestKeysForSomeFlows:
    """Such a key sees the projects that its flows lie in, and nothing else in them."""

    def test_the_list_has_the_projects_of_its_flows(self, mine: Api) -> None:
        shop, other = made(mine), made(mine, "Other")
        flow = flow_in(mine, shop)
        flow_in(mine, other, "two")
        assert names(self.key_for(mine, flow)) == ["Shop"]

    def test_a_project_shows_the_keys_flows_only(self, mine: Api) -> None:
        project = made(mine)
        flow = flow_in(mine, project)
        flow_in(mine, project, "hidden")
        key, path = self.key_for(mine, flow), f"/projects/{project['id']}"
        page = key.get(path, query_string={"page": 1, "size": 10}).json["flows"]
        assert [one["name"] for one in key.get(path).json["flows"]] == ["one"]
        assert ([one["name"] for one in page["items"]], page["total"]) == (["one"], 1)

    def test_a_download_has_the_keys_flows_only(self, mine: Api) -> None:
        project = made(mine)
        flow = flow_in(mine, project)
        flow_in(mine, project, "hidden")
        archive = self.key_for(mine, flow).get(f"/projects/download/{project['id']}").data
        assert zipfile.ZipFile(io.BytesIO(archive)).namelist() == ["one.json"]

    @pytest.mark.parametrize("path", ["/projects/{}", "/projects/{}?page=1&size=5", "/projects/download/{}"])
    def test_another_project_is_as_good_as_missing(self, mine: Api, path: str) -> None:
        key, project = self.key_for(mine, flow_in(mine, made(mine))), made(mine, "Other")
        flow_in(mine, project, "two")
        for one in (project["id"], uuid.uuid4()):
            answer = key.get(path.format(one))
            assert (answer.status_code, answer.json) == (404, {"detail": "Project not found"})

    def test_a_key_for_no_flow_sees_no_project(self, mine: Api) -> None:
        made(mine)
        assert names(self.key_for(mine)) == []

    def key_for(self, api: Api, *flows: dict[str, Any]) -> Api:
        key = api.post("/api_key/", json={"flows": [one["id"] for one in flows]}).json["api_key"]
        return Api(api.app, key, api.user_id)


def test_a_default_project_is_always_there(mine: Api) -> None:
    flow = mine.post("/flows/", json={"name": "one"}).json
    mine.delete(f"/projects/{flow['folder_id']}")
    assert names(mine) == [STARTER]


def test_a_project_is_downloaded_as_a_zip_that_an_upload_takes(mine: Api) -> None:
    project = made(mine)
    flow_in(mine, project)
    answer = mine.get(f"/projects/download/{project['id']}")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.namelist() == ["one.json"]
    uploaded = mine.post("/projects/upload/", data={"file": (io.BytesIO(answer.data), "Copy.zip")})
    assert (uploaded.status_code, [one["name"] for one in uploaded.json]) == (201, ["one (1)"])
    assert "Copy" in names(mine)


def test_a_download_does_not_depend_on_the_time_of_day(mine: Api) -> None:
    project = made(mine)
    flow_in(mine, project)
    with zipfile.ZipFile(io.BytesIO(mine.get(f"/projects/download/{project['id']}").data)) as archive:
        assert {one.date_time[0] for one in archive.infolist()} == {1980}


def test_a_project_is_uploaded_as_json(mine: Api) -> None:
    body = {"folder_name": "From a file", "folder_description": "d", "flows": [{"name": "one", "data": flows.echo()}]}
    answer = mine.post("/projects/upload/", data={"file": (io.BytesIO(json.dumps(body).encode()), "p.json")})
    project = next(one for one in mine.get("/projects/").json if one["name"] == "From a file")
    assert (answer.status_code, answer.json[0]["folder_id"]) == (201, project["id"])


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/zip"])
def test_a_zip_may_be_the_whole_body(mine: Api, kind: str) -> None:
    project = made(mine)
    flow_in(mine, project)
    raw = mine.get(f"/projects/download/{project['id']}").data
    answer = mine.post("/projects/upload/", data=raw, content_type=kind)
    assert (answer.status_code, [one["name"] for one in answer.json]) == (201, ["one (1)"])
    assert "Imported Project" in names(mine)


def test_no_file_is_no_project(mine: Api) -> None:
    for content_type in ("application/octet-stream", "text/plain", "multipart/form-data; boundary=x"):
        answer = mine.post("/projects/upload/", data=b"", content_type=content_type)
        assert (answer.status_code, answer.json) == (400, {"detail": "No file provided"})


@pytest.mark.parametrize(
    ("content", "status", "detail"),
    [
        (b"[]", 400, "Invalid project data: expected a JSON object with 'folder_name' and 'flows' fields"),
        (b'{"flows": []}', 400, "Missing required field(s): folder_name"),
        (b"not json", 422, None),
        (b'{"folder_name": 7, "flows": []}', 422, None),
        (b'{"folder_name": "a", "flows": {}}', 422, None),
    ],
)
def test_a_file_that_is_no_project_is_refused_in_words(mine: Api, content: bytes, status: int, detail: Any) -> None:
    answer = mine.post("/projects/upload/", data={"file": (io.BytesIO(content), "p.json")})
    assert answer.status_code == status
    assert detail is None or answer.json["detail"] == detail


def test_an_empty_project_has_nothing_to_download(mine: Api) -> None:
    answer = mine.get(f"/projects/download/{made(mine)['id']}")
    assert (answer.status_code, answer.json) == (404, {"detail": "No flows found in project"})


def test_the_examples_are_shown_to_anybody(mine: Api) -> None:
    shown = Api(mine.app, None, "").get("/flows/basic_examples/").json
    assert [one["name"] for one in shown] == ["Keyturn chat", "Keyturn echo"]
    assert {one["user_id"] for one in shown} == {None}


class TestPublicFlows:
    def public(self, mine: Api, **more: Any) -> dict[str, Any]:
        return mine.post("/flows/", json={"name": "open", "access_type": "PUBLIC", **more}).json

    def test_a_public_flow_is_shown_to_anybody_without_its_owner(self, mine: Api) -> None:
        flow = self.public(mine, data=flows.echo())
        shown = Api(mine.app, None, "").get(f"/flows/public_flow/{flow['id']}").json
        assert shown["data"] == flow["data"]
        assert (shown["user_id"], shown["folder_id"]) == (None, None)

    def test_a_private_flow_is_as_good_as_missing(self, mine: Api) -> None:
        flow = mine.post("/flows/", json={"name": "closed"}).json
        for one in (flow["id"], str(uuid.uuid4())):
            answer = mine.get(f"/flows/public_flow/{one}")
            assert (answer.status_code, answer.json) == (404, {"detail": "Flow not found"})

    def test_that_of_an_account_which_is_off_is_as_good_as_missing(self, mine: Api, chief: Api) -> None:
        path = f"/flows/public_flow/{self.public(mine)['id']}"
        assert chief.patch(f"/users/{mine.user_id}", json={"is_active": False}).status_code == 200
        assert Api(mine.app, None, "").get(path).status_code == 404

    def test_secrets_that_stand_in_its_fields_are_left_out(self, mine: Api) -> None:
        data = flows.echo()
        data["nodes"][0]["data"]["node"]["template"] |= {
            "api_key": flows.field("api_key", "sk-canary", password=True),
            "headers": flows.field("headers", [{"key": "Authorization", "value": "Bearer canary"}]),
            "named": flows.field("named", "OPENAI_API_KEY", password=True, load_from_db=True),
        }
        flow = self.public(mine, data=data)
        text = Api(mine.app, None, "").get(f"/flows/public_flow/{flow['id']}").get_data(as_text=True)
        assert ("canary" in text, "OPENAI_API_KEY" in text) == (False, True)


def test_a_taken_name_beside_a_parent_is_told_as_a_taken_name(mine: Api) -> None:
    taken, other = (mine.post("/projects/", json={"name": name}).json for name in ("taken", "other"))
    answer = mine.patch(f"/projects/{other['id']}", json={"name": "taken", "parent_id": taken["id"]})
    assert answer.status_code == 409, answer.json


@pytest.mark.parametrize("query", ["size=101", "page=0", "is_flow=maybe", f"search={'x' * 256}"])
def test_what_is_wrong_with_a_query_is_told_though_it_does_not_count(mine: Api, query: str) -> None:
    project = mine.get("/projects/").json[0]
    assert mine.get(f"/projects/{project['id']}?{query}").status_code == 422
    assert mine.get("/flows/?size=101").status_code == 422
