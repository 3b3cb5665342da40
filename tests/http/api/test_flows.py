"""Flows: stored as they are, numbered where a name is taken, guarded against others and against oneself."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support import flows
from tests.support.client import Api

NOWHERE = str(uuid.UUID(int=0))
NOT_FOUND = (404, {"detail": "Flow not found"})
LOCKED = (423, {"detail": "Flow is locked. Unlock it before making changes."})


def make(api: Api, name: str = "flow", **more: object) -> dict[str, Any]:
    made = api.post("/flows/", json={"name": name, **more})
    assert made.status_code == 201, made.json
    return made.json


def outcome(answer: TestResponse) -> tuple[int, Any]:
    return answer.status_code, answer.json


def names(api: Api) -> list[str]:
    return [flow["name"] for flow in api.get("/flows/?header_flows=true").json]


def upload(api: Api, content: bytes, query: str = "") -> TestResponse:
    return api.post(f"/flows/upload/{query}", data={"file": (io.BytesIO(content), "flows.json")})


def zipped(**members: object) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.json", json.dumps(content))
    return buffer.getvalue()


def test_a_flow_comes_back_as_it_was_stored(mine: Api) -> None:
    data = flows.chat_with_model()
    data["unknown to us"] = {"schön": [1, 2.5, None, True, "\u0000", "\ud800"]}
    flow = make(mine, data=data)
    assert mine.get(f"/flows/{flow['id']}").json["data"] == data


def test_a_taken_name_gets_a_number(mine: Api) -> None:
    assert [make(mine, "same")["name"] for _ in range(3)] == ["same", "same (1)", "same (2)"]


def test_a_taken_endpoint_name_gets_a_number(mine: Api) -> None:
    made = [make(mine, f"flow {at}", endpoint_name="same")["endpoint_name"] for at in range(3)]
    assert made == ["same", "same-1", "same-2"]


def test_two_users_may_have_flows_of_one_name(mine: Api, theirs: Api) -> None:
    assert [make(api, "same", endpoint_name="same")["endpoint_name"] for api in (mine, theirs)] == ["same", "same"]


@pytest.mark.parametrize("name", ["bad name!", "a/b", "a.b", "ü", "a\n", "%2e", "-" * 256])
def test_an_endpoint_name_that_no_path_can_hold_is_refused(mine: Api, name: str) -> None:
    answer = mine.post("/flows/", json={"name": "flow", "endpoint_name": name})
    assert answer.status_code == 422
    assert answer.json["detail"][0]["loc"] == ["body", "endpoint_name"]
    assert names(mine) == []


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_endpoint_name_is_none(mine: Api, empty: str | None) -> None:
    assert make(mine, endpoint_name=empty)["endpoint_name"] is None


def test_a_change_that_does_not_name_the_endpoint_keeps_it(mine: Api) -> None:
    flow = make(mine, endpoint_name="kept")
    changed = mine.patch(f"/flows/{flow['id']}", json={"description": "new"}).json
    assert (changed["endpoint_name"], changed["description"]) == ("kept", "new")


def test_a_change_to_null_takes_the_endpoint_away(mine: Api) -> None:
    flow = make(mine, endpoint_name="gone")
    assert mine.patch(f"/flows/{flow['id']}", json={"endpoint_name": None}).json["endpoint_name"] is None


@pytest.mark.parametrize("field", ["name", "endpoint_name"])
def test_a_change_onto_a_taken_name_is_a_conflict_and_changes_nothing(mine: Api, field: str) -> None:
    make(mine, "taken", endpoint_name="taken")
    flow = make(mine, "free", endpoint_name="free")
    answer = mine.patch(f"/flows/{flow['id']}", json={field: "taken", "description": "half"})
    assert answer.status_code == 409
    assert mine.get(f"/flows/{flow['id']}").json == flow


def test_a_locked_flow_is_not_changed(mine: Api) -> None:
    flow = make(mine, locked=True)
    assert outcome(mine.patch(f"/flows/{flow['id']}", json={"name": "changed"})) == LOCKED
    assert outcome(mine.put(f"/flows/{flow['id']}", json={"name": "changed"})) == LOCKED
    assert names(mine) == ["flow"]


def test_a_locked_flow_can_be_unlocked(mine: Api) -> None:
    flow = make(mine, locked=True)
    assert mine.patch(f"/flows/{flow['id']}", json={"locked": False}).json["locked"] is False


def test_a_change_of_an_older_version_is_refused(mine: Api) -> None:
    flow = make(mine, data=flows.echo())
    old = {"If-Match": f'"{flow["version_token"]}"'}
    path = f"/flows/{flow['id']}"
    assert mine.patch(path, json={"data": flows.prompt_chain(1)}, headers=old).status_code == 200
    assert mine.patch(path, json={"data": flows.prompt_chain(2)}, headers=old).status_code == 412
    assert mine.get(path).json["data"] == flows.prompt_chain(1)


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_anothers_flow_answers_as_a_missing_one_and_stays(mine: Api, theirs: Api, method: str) -> None:
    flow = make(theirs, "theirs")
    body = {} if method == "GET" else {"json": {"name": "stolen"}}
    assert outcome(mine.open(method, f"/flows/{flow['id']}", **body)) == NOT_FOUND
    assert theirs.get(f"/flows/{flow['id']}").json == flow


def test_anothers_flows_are_neither_listed_nor_downloaded_nor_deleted_with_ones_own(mine: Api, theirs: Api) -> None:
    own, foreign = make(mine, "own")["id"], make(theirs, "theirs")["id"]
    assert mine.post("/flows/download/", json=[foreign, own]).json["id"] == own
    assert mine.delete("/flows/", json=[foreign, own]).json == {"deleted": 1}
    assert (names(mine), names(theirs)) == ([], ["theirs"])


def test_anothers_project_is_a_missing_one(mine: Api, theirs: Api) -> None:
    folder = make(theirs)["folder_id"]
    answers = [mine.post("/flows/", json={"name": "x", "folder_id": one}) for one in (folder, NOWHERE)]
    assert outcome(answers[0]) == outcome(answers[1]) == (404, {"detail": "Project not found"})


@pytest.mark.parametrize("field", ["id", "user_id", "updated_at", "version_token", "workspace_id"])
def test_the_body_of_a_flow_cannot_set(mine: Api, theirs: Api, field: str) -> None:
    made = make(mine, **{field: theirs.user_id})
    changed = mine.patch(f"/flows/{made['id']}", json={field: theirs.user_id}).json
    assert made[field] != theirs.user_id
    assert changed[field] != theirs.user_id


def test_a_put_makes_the_flow_of_that_id_and_then_changes_it(mine: Api) -> None:
    path = f"/flows/{uuid.uuid4()}"
    assert [mine.put(path, json={"name": name}).status_code for name in ("first", "second")] == [201, 200]
    assert names(mine) == ["second"]


def test_headers_of_flows_hold_no_graph(mine: Api) -> None:
    make(mine, data=flows.echo())
    assert mine.get("/flows/?header_flows=true").json[0]["data"] is None


def test_a_page_of_flows_counts_all_of_them(mine: Api) -> None:
    for name in ("a", "b", "c"):
        make(mine, name)
    page = mine.get("/flows/?get_all=false&page=2&size=2").json
    assert [flow["name"] for flow in page.pop("items")] == ["c"]
    assert page == {"total": 3, "page": 2, "size": 2, "pages": 2}


def test_a_page_of_headers_holds_no_graph(mine: Api) -> None:
    make(mine, data=flows.echo())
    page = mine.get("/flows/?get_all=false&header_flows=true&page=1&size=5").json
    assert ([flow["data"] for flow in page["items"]], page["total"]) == ([None], 1)


@pytest.mark.parametrize("query", ["page=0", "size=101", "page=x", "page=-1", "size=", "page=%C2%B2"])
def test_a_page_outside_the_limits_is_refused(mine: Api, query: str) -> None:
    assert mine.get(f"/flows/?get_all=false&{query}").status_code == 422


def test_flows_of_one_request_are_stored_all_or_none(mine: Api) -> None:
    bodies = [{"name": "good"}, {"name": "bad", "endpoint_name": "not good"}]
    assert mine.post("/flows/batch/", json={"flows": bodies}).status_code == 422
    assert names(mine) == []


@pytest.mark.parametrize(
    ("content", "stored"),
    [
        (json.dumps({"name": "one"}).encode(), ["one"]),
        (json.dumps({"flows": [{"name": "a"}, {"name": "b"}]}).encode(), ["a", "b"]),
        (b'{"flows": []}', []),
        (zipped(a={"name": "a"}, more={"flows": [{"name": "b"}, {"name": "c"}]}), ["a", "b", "c"]),
    ],
    ids=["one", "several", "none of several", "zip"],
)
def test_a_file_of_flows_is_stored(mine: Api, content: bytes, stored: list[str]) -> None:
    answer = upload(mine, content)
    assert (answer.status_code, [flow["name"] for flow in answer.json]) == (201, stored)
    assert sorted(names(mine)) == stored


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"junk", 422),
        (b"", 422),
        (b"[" * 100_000, 422),
        (b'{"name": NaN}', 422),
        (b'{"name": "x", "data": {"nodes": [1e999], "edges": []}}', 422),
        (b'[{"name": "x"}]', 422),
        (b'{"flows": [{"name": "good"}, {"name": 5}]}', 422),
        (b"PK\x03\x04junk", 400),
        (zipped(good={"name": "good"}, bad={"data": {}}), 422),
    ],
    ids=["junk", "empty", "deep", "nan", "infinite", "a list", "one bad", "bad zip", "one bad in zip"],
)
def test_a_bad_file_is_refused_and_nothing_of_it_stored(mine: Api, content: bytes, status: int) -> None:
    answer = upload(mine, content)
    assert answer.status_code == status
    assert set(answer.json) == {"detail"}
    assert names(mine) == []


def test_an_upload_without_a_file_is_refused_in_langflows_words(mine: Api) -> None:
    assert outcome(mine.post("/flows/upload/")) == (400, {"detail": "No file provided"})


def test_a_zip_that_unpacks_to_more_than_a_body_may_hold_is_refused(mine: Api) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.json", b" " * 17 * 1024 * 1024)
    assert upload(mine, buffer.getvalue()).status_code == 413


def test_one_flow_is_downloaded_as_json_that_can_be_uploaded(mine: Api, theirs: Api) -> None:
    flow = make(mine, data=flows.echo(), endpoint_name="probe")
    file = mine.post("/flows/download/", json=[flow["id"]])
    taken = upload(theirs, file.data).json[0]
    assert [taken[name] for name in ("name", "endpoint_name", "data")] == ["flow", "probe", flows.echo()]
    assert taken["id"] != flow["id"]


def test_several_flows_are_downloaded_as_a_zip_that_can_be_uploaded(mine: Api, theirs: Api) -> None:
    ids = [make(mine, name)["id"] for name in ("a", "../b", "a?", "a*")]
    file = mine.post("/flows/download/", json=ids)
    members = zipfile.ZipFile(io.BytesIO(file.data)).namelist()
    assert len(set(members)) == 4
    assert not any("/" in name or name.startswith(".") for name in members)
    assert [flow["name"] for flow in upload(theirs, file.data).json] == ["a", "../b", "a?", "a*"]


def test_the_header_of_a_component_has_its_graph_and_that_of_a_flow_has_none(api: Api) -> None:
    for name, is_component in (("part", True), ("whole", False)):
        api.post("/flows/", json={"name": name, "data": flows.echo(), "is_component": is_component})
    listed = api.get("/flows/", query_string={"header_flows": True}).json
    assert {one["name"]: one["data"] for one in listed} == {"part": flows.echo(), "whole": None}


@pytest.mark.parametrize(("flow_type", "found"), [("workflow", 1), ("agent", 0)])
@pytest.mark.parametrize("get_all", [True, False])
def test_flows_can_be_listed_by_their_type(api: Api, flow_type: str, get_all: bool, found: int) -> None:
    api.post("/flows/", json={"name": "one"})
    answer = api.get("/flows/", query_string={"flow_type": flow_type, "get_all": get_all}).json
    assert len(answer if get_all else answer["items"]) == found


def test_a_type_of_flows_that_does_not_exist_is_refused(api: Api) -> None:
    answer = api.get("/flows/", query_string={"flow_type": "other"})
    assert (answer.status_code, answer.json["detail"][0]["loc"]) == (422, ["query", "flow_type"])
