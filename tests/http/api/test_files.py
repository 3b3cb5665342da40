"""Uploaded files, and flows that read them."""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL
from urllib3 import encode_multipart_formdata
from werkzeug.test import TestResponse

from tests.http.api.test_key_rights import limited
from tests.support import flows
from tests.support.client import Api
from tests.support.flows import edge, field, node
from tests.support.provider import Provider


def upload(api: Api, path: str, name: str = "note.txt", content: bytes = b"hello") -> TestResponse:
    body, kind = encode_multipart_formdata({"file": (name, content)})
    return api.post(path, data=body, content_type=kind)


@pytest.fixture
def flow_id(caller: Api) -> str:
    made: str = caller.post("/flows/", json={"name": "echo", "data": flows.echo()}).json["id"]
    return made


def test_a_file_of_a_flow_comes_back_as_it_went(caller: Api, flow_id: str) -> None:
    made = upload(caller, f"/files/upload/{flow_id}", content=b"\x00\xff")
    assert (made.status_code, made.json["flowId"]) == (201, flow_id)
    reference: str = made.json["file_path"]
    assert reference.startswith(f"{flow_id}/")
    assert reference.endswith("_note.txt")
    assert caller.get(f"/files/download/{reference}").data == b"\x00\xff"
    assert caller.get(f"/files/list/{flow_id}").json == {"files": [reference.partition("/")[2]]}
    assert caller.delete(f"/files/delete/{reference}").status_code == 200
    assert caller.get(f"/files/download/{reference}").status_code == 404


def test_a_file_of_a_user_has_a_reference_and_a_second_one_of_its_name_a_number(caller: Api) -> None:
    one, two = upload(caller, "/api/v2/files").json, upload(caller, "/api/v2/files/").json
    assert (one["name"], one["path"], one["size"]) == ("note", f"{caller.user_id}/note.txt", 5)
    assert two["path"] == f"{caller.user_id}/note (1).txt"
    assert {item["id"] for item in caller.get("/api/v2/files").json} == {one["id"], two["id"]}


@pytest.mark.parametrize("name", ["other.txt", "other"])
def test_a_file_can_be_renamed_without_losing_its_reference(caller: Api, name: str) -> None:
    made = upload(caller, "/api/v2/files").json
    renamed = caller.put(f"/api/v2/files/{made['id']}?name={name}").json
    assert (renamed["name"], renamed["path"]) == (name, made["path"])
    assert [one["name"] for one in caller.get("/api/v2/files").json] == [name]


def test_several_files_come_as_one_archive_and_go_together(caller: Api) -> None:
    ids = [upload(caller, "/api/v2/files", name, name.encode()).json["id"] for name in ("a.txt", "b.txt")]
    archive = zipfile.ZipFile(io.BytesIO(caller.post("/api/v2/files/batch/", json=ids).data))
    assert {name: archive.read(name) for name in archive.namelist()} == {"a.txt": b"a.txt", "b.txt": b"b.txt"}
    assert caller.delete("/api/v2/files/batch/", json=ids).status_code == 200
    assert caller.get("/api/v2/files").json == []


def test_all_files_can_be_deleted(caller: Api, flow_id: str) -> None:
    upload(caller, "/api/v2/files")
    upload(caller, f"/files/upload/{flow_id}")
    assert caller.delete("/api/v2/files").status_code == 200
    assert caller.get("/api/v2/files").json == []
    assert len(caller.get(f"/files/list/{flow_id}").json["files"]) == 1


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/etc/shadow", "shadow"),
        ("a\x01b.txt", "a_b.txt"),
        ("what?.txt", "what_.txt"),
        ("x" * 400 + ".txt", "x" * 196 + ".txt"),
        ("grün.txt", "grün.txt"),
        (". . .hidden. ", "hidden"),
    ],
)
def test_no_name_is_a_path(lite_caller: Api, sent: str, kept: str) -> None:
    made = upload(lite_caller, "/api/v2/files", sent)
    assert made.status_code == 201, made.json
    assert made.json["path"] == f"{lite_caller.user_id}/{kept}"


@pytest.mark.parametrize("name", ["..", "/", "...", " "])
def test_a_name_of_which_nothing_is_left_is_refused(lite_caller: Api, name: str) -> None:
    assert upload(lite_caller, "/api/v2/files", name).status_code == 422


def test_no_file_is_told(caller: Api, flow_id: str) -> None:
    answer = caller.post("/api/v2/files", data={}, content_type="multipart/form-data")
    assert (answer.status_code, answer.json) == (400, {"detail": "No file provided"})


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 3 * 1024 * 1024])
def test_a_file_that_is_too_large_is_refused(make_app: Callable[..., Flask], sqlite_url: URL, size: int) -> None:
    api = Api.of_superuser(make_app(sqlite_url, max_file_size_upload_mb=1))
    answer = upload(api, "/api/v2/files", content=b"x" * size)
    assert (answer.status_code, answer.json["detail"]) == (
        413,
        "File size is larger than the maximum file size 1MB.",
    )


def test_a_file_may_be_larger_than_other_bodies(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    api = Api.of_superuser(make_app(sqlite_url, max_body_bytes=1000))
    assert upload(api, "/api/v2/files", content=b"x" * 100_000).status_code == 201


@pytest.mark.parametrize("name", ["page.html", "image.svg", "script.js", "noidea"])
def test_what_could_run_in_a_browser_is_only_ever_downloaded(caller: Api, name: str) -> None:
    made = upload(caller, "/api/v2/files", name, b"<script>alert(1)</script>").json
    answer = caller.get(f"/api/v2/files/{made['id']}")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_an_image_is_shown_to_its_owner(caller: Api, flow_id: str) -> None:
    reference = upload(caller, f"/files/upload/{flow_id}", "a.png", b"\x89PNG").json["file_path"]
    assert caller.get(f"/files/images/{reference}").headers["Content-Type"] == "image/png"
    text = upload(caller, f"/files/upload/{flow_id}", "a.svg").json["file_path"]
    assert caller.get(f"/files/images/{text}").status_code == 400
    assert caller.app.test_client().get(f"/api/v1/files/images/{reference}").status_code == 403


def test_nothing_of_somebody_else_is_seen_or_touched(caller: Api, flow_id: str) -> None:
    other = caller.new_user("other")
    reference = upload(caller, f"/files/upload/{flow_id}").json["file_path"]
    mine = upload(caller, "/api/v2/files").json["id"]
    assert upload(other, f"/files/upload/{flow_id}").status_code == 404
    for method, path in (
        ("GET", f"/files/download/{reference}"), ("GET", f"/files/images/{reference}"),
        ("GET", f"/files/list/{flow_id}"), ("DELETE", f"/files/delete/{reference}"),
        ("GET", f"/api/v2/files/{mine}"), ("PUT", f"/api/v2/files/{mine}?name=x"),
        ("DELETE", f"/api/v2/files/{mine}"),
    ):  # fmt: skip
        assert other.open(method, path).status_code == 404, path
    assert other.post("/api/v2/files/batch/", json=[mine]).status_code == 404
    assert other.get("/api/v2/files").json == []
    assert caller.get(f"/api/v2/files/{mine}").status_code == 200


def test_files_go_with_their_flow(caller: Api, flow_id: str) -> None:
    reference = upload(caller, f"/files/upload/{flow_id}").json["file_path"]
    caller.delete(f"/flows/{flow_id}")
    assert caller.get(f"/files/download/{reference}").status_code == 404


def file_node(*references: str) -> dict[str, Any]:
    path = field("path", "", kind="file", file_path=list(references), _input_type="FileInput", list=True)
    fields = [path, field("file_path", "", kind="other", _input_type="HandleInput"), field("separator", "|")]
    return node("File-f", "File", "File", fields, {"message": "load_files_message"})


def reader(*references: str) -> dict[str, Any]:
    read, end = file_node(*references), flows.chat_output()
    return flows.flow([read, end], [edge(read, "message", end, "input_value")])


def answer_of(api: Api, data: dict[str, Any], **body: Any) -> TestResponse:
    flow = api.post("/flows/", json={"name": f"f{uuid.uuid4().hex[:6]}", "data": data}).json["id"]
    return api.post(f"/run/{flow}", json=body)


def test_a_flow_reads_its_owners_files(caller: Api, flow_id: str) -> None:
    one = upload(caller, f"/files/upload/{flow_id}", content=b"first").json["file_path"]
    two = upload(caller, "/api/v2/files", "b.md", b"second").json["path"]
    answer = answer_of(caller, reader(one, two))
    assert answer.json["outputs"][0]["outputs"][0]["results"]["message"]["text"] == "first|second"


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "file:///etc/passwd", "nothing.txt"])
def test_a_path_of_the_server_is_no_file(caller: Api, path: str) -> None:
    answer = answer_of(caller, reader(path))
    assert answer.status_code == 500
    assert "There is no uploaded file" in answer.json["detail"]
    assert "root:" not in answer.text


def test_a_flow_cannot_read_somebody_elses_file(caller: Api) -> None:
    theirs = upload(caller.new_user("other"), "/api/v2/files").json["path"]
    answer = answer_of(caller, reader(theirs))
    assert (answer.status_code, "There is no uploaded file" in answer.json["detail"]) == (500, True)


def test_a_caller_may_send_an_uploaded_picture_along_but_no_path(
    caller: Api, provider: Provider, flow_id: str
) -> None:
    caller.post("/variables/", json={"name": "OPENAI_API_KEY", "value": "sk-x", "default_fields": []})
    picture = upload(caller, f"/files/upload/{flow_id}", "a.png", b"\x89PNG\r\n\x1a\nrest").json["file_path"]
    data = flows.chat_with_model(flows.language_model(key=flows.secret(value="OPENAI_API_KEY", variable=True)))
    sent = {"input_value": "what is this", "tweaks": {"ChatInput-probe": {"files": picture}}}
    assert answer_of(caller, data, **sent).status_code == 200
    assert "data:image/png;base64," in str(provider.last.body["messages"])
    for path in ("/etc/passwd", f"{flow_id}/../x", "x.png"):
        refused = answer_of(caller, data, input_value="x", tweaks={"ChatInput-probe": {"files": path}})
        assert (refused.status_code, refused.json["detail"]["fields"]) == (422, ["files"])


def asked_reader(*references: str) -> dict[str, Any]:
    """A flow that reads the file that its caller names; fields hold the references."""
    start, read, end = flows.chat_input(), file_node(*references), flows.chat_output()
    edges = [edge(start, "message", read, "file_path"), edge(read, "message", end, "input_value")]
    return flows.flow([start, read, end], edges)


def stored(api: Api, data: dict[str, Any]) -> str:
    flow_id: str = api.post("/flows/", json={"name": f"f{uuid.uuid4().hex[:6]}", "data": data}).json["id"]
    return flow_id


def read_by(key: Api, flow_id: str, reference: str) -> str | None:
    """What a run of the flow reads; None: it is told that there is no such file."""
    answer = key.post(f"/run/{flow_id}", json={"input_value": reference})
    if answer.status_code != 200:
        assert "There is no uploaded file" in answer.json["detail"]
        return None
    text: str = answer.json["outputs"][0]["outputs"][0]["results"]["message"]["text"]
    return text


class TestAKeyForSomeFlows:
    """Its runs read the files of its flows, and of the owner's own those that the stored flows name."""

    def test_reads_no_file_of_another_flow(self, caller: Api, flow_id: str) -> None:
        theirs, mine = upload(caller, f"/files/upload/{flow_id}").json["file_path"], stored(caller, asked_reader())
        assert read_by(limited(caller, flows=[mine]), mine, theirs) is None
        assert read_by(limited(caller, flows=[mine, flow_id]), mine, theirs) == "hello"
        assert read_by(caller, mine, theirs) == "hello"

    def test_reads_none_of_another_flow_that_the_stored_flow_names(self, caller: Api, flow_id: str) -> None:
        theirs = upload(caller, f"/files/upload/{flow_id}").json["file_path"]
        mine = stored(caller, asked_reader(theirs))
        assert read_by(limited(caller, flows=[mine]), mine, theirs) is None

    def test_reads_a_file_of_its_flow(self, caller: Api) -> None:
        mine = stored(caller, asked_reader())
        reference = upload(caller, f"/files/upload/{mine}").json["file_path"]
        assert read_by(limited(caller, flows=[mine]), mine, reference) == "hello"

    @pytest.mark.parametrize("form", ["path", "id"])
    def test_reads_an_own_file_of_the_owner_only_where_the_stored_flow_names_it(self, caller: Api, form: str) -> None:
        named, other = (upload(caller, "/api/v2/files").json[form] for _ in range(2))
        mine = stored(caller, asked_reader(named))
        key = limited(caller, flows=[mine])
        assert (read_by(key, mine, named), read_by(key, mine, other)) == ("hello", None)
        assert read_by(limited(caller, scopes=["run"]), mine, other) == "hello"

    def test_sends_no_picture_of_another_flow_to_a_model(self, caller: Api, provider: Provider, flow_id: str) -> None:
        caller.post("/variables/", json={"name": "OPENAI_API_KEY", "value": "sk-x", "default_fields": []})
        picture = upload(caller, f"/files/upload/{flow_id}", "a.png", b"\x89PNG\r\n\x1a\nrest").json["file_path"]
        model = flows.language_model(key=flows.secret(value="OPENAI_API_KEY", variable=True))
        mine = stored(caller, flows.chat_with_model(model))
        body = {"input_value": "look", "tweaks": {"ChatInput-probe": {"files": picture}}}
        answer = limited(caller, scopes=["run"], flows=[mine]).post(f"/run/{mine}", json=body)
        assert (answer.status_code, provider.requests) == (500, [])

    def test_reads_in_a_flow_that_runs_inside_what_the_outer_one_has_stored_and_nothing_that_the_caller_names(
        self, caller: Api
    ) -> None:
        named, other = (upload(caller, "/api/v2/files").json["path"] for _ in range(2))
        inner = stored(caller, asked_reader())
        outer = stored(caller, running_with(inner, named))
        key = limited(caller, flows=[inner, outer])
        assert (read_by(key, outer, named), read_by(key, outer, other)) == ("hello", None)

    def test_reads_in_a_flow_that_runs_inside_what_that_one_has_stored(self, caller: Api) -> None:
        named = upload(caller, "/api/v2/files").json["path"]
        inner = stored(caller, reader(named))
        outer = stored(caller, flows.running_another(caller.get(f"/flows/{inner}").json["name"]))
        assert read_by(limited(caller, flows=[inner, outer]), outer, "") == "hello"

    def test_does_not_read_outside_what_only_a_flow_that_runs_inside_has_stored(self, caller: Api) -> None:
        named = upload(caller, "/api/v2/files").json["path"]
        inner, outer = stored(caller, reader(named)), stored(caller, asked_reader())
        assert read_by(limited(caller, flows=[inner, outer]), outer, named) is None


def running_with(inner: str, reference: str) -> dict[str, Any]:
    """A flow that runs another one; a field of it holds the reference."""
    data = flows.running_another("")
    template = next(one for one in data["nodes"] if one["id"] == "RunFlow-r")["data"]["node"]["template"]
    template["flow_id_selected"] = field("flow_id_selected", inner)
    template["File-f~separator"] = field("File-f~separator", reference)
    return data
