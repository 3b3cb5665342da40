"""Uploaded files as resources."""

from __future__ import annotations

import base64
import io
import uuid
from typing import Any

import pytest
from sqlalchemy import update

from service.storage import UploadedFileRow
from tests.http.mcp.conftest import Owner
from tests.support.mcp import Mcp


def upload(owner: Owner, kind: str | None = None, name: str = "notes, 1.txt", content: bytes = b"content") -> None:
    """Upload a file of a flow, or of the user."""
    path = f"/api/v1/files/upload/{owner.ids[kind]}" if kind else "/api/v2/files/"
    made = owner.api.post(path, data={"file": (io.BytesIO(content), name)})
    assert made.status_code == 201, made.json


def of_project(owner: Owner) -> str:
    return f"/api/v1/mcp/project/{owner.project}/streamable"


def listed(client: Mcp) -> list[dict[str, Any]]:
    return list(client.ask("resources/list")["resources"])


def test_the_owners_files_are_listed_and_read(owner: Owner) -> None:
    upload(owner, "public")
    upload(owner, None, "mine.png", b"\x89PNG")
    flow_file, own_file = listed(owner.mcp())
    assert (flow_file["mimeType"], flow_file["size"]) == ("text/plain", 7)
    assert (own_file["name"], own_file["mimeType"]) == ("mine.png", "image/png")
    content = owner.mcp().ask("resources/read", {"uri": own_file["uri"]})["contents"][0]
    assert base64.b64decode(content["blob"]) == b"\x89PNG"


def test_a_file_is_read_by_langflows_uri_too(owner: Owner) -> None:
    upload(owner, "public")
    end = listed(owner.mcp())[0]["uri"].removeprefix("keyturn://files/")
    uri = f"http://localhost:7860/api/v1/files/download/{end}"
    assert owner.mcp().ask("resources/read", {"uri": uri})["contents"][0]["uri"] == uri


def test_a_project_has_the_files_of_its_flows_only(owner: Owner) -> None:
    upload(owner, "public")
    upload(owner, None)
    assert len(listed(owner.mcp(of_project(owner)))) == 1
    mine = listed(owner.mcp())[1]["uri"]
    assert owner.mcp(of_project(owner)).ask("resources/read", {"uri": mine})["code"] == -32002


def test_a_key_for_some_flows_has_the_files_of_those_only(owner: Owner) -> None:
    upload(owner, "public")
    upload(owner, "hidden", "other.txt")
    upload(owner, None, "mine.txt")
    client = owner.limited(flows=[owner.ids["hidden"]])
    assert [one["name"] for one in listed(client)] == ["other.txt"]
    uris = [one["uri"] for one in listed(owner.mcp())]
    assert [client.ask("resources/read", {"uri": uri}).get("code") for uri in uris] == [-32002, None, -32002]


def test_a_key_that_may_not_read_has_none(owner: Owner) -> None:
    upload(owner)
    uri = listed(owner.mcp())[0]["uri"]
    client = owner.limited(scopes=["run"])
    assert (listed(client), client.ask("resources/read", {"uri": uri})["code"]) == ([], -32002)


@pytest.mark.parametrize("who", ["stranger", "neighbour"])
def test_nobody_else_has_them(owner: Owner, neighbour: Owner, who: str) -> None:
    upload(owner, "public")
    uri = listed(owner.mcp())[0]["uri"]
    client = {"stranger": Mcp(owner.api.app), "neighbour": neighbour.mcp()}[who]
    assert (listed(client), client.ask("resources/read", {"uri": uri})["code"]) == ([], -32002)


@pytest.mark.parametrize("uri", [
    "", "x", "file:///etc/passwd", "keyturn://files/../../etc/passwd", "keyturn://files/a%00/b", "http://[::1",
    "a/%2e%2e",
])  # fmt: skip
def test_nothing_else_is_a_resource(owner: Owner, uri: str) -> None:
    assert owner.mcp().ask("resources/read", {"uri": uri})["code"] == -32002


def test_a_missing_resource_is_invalid_params_where_each_request_stands_alone(owner: Owner) -> None:
    answer = owner.mcp().stateless(
        "resources/read", {"uri": "keyturn://files/a/b"}, **{"Mcp-Name": "keyturn://files/a/b"}
    )
    assert (answer.status_code, answer.json["error"]["code"]) == (400, -32602)


def test_a_file_that_would_not_fit_is_not_read(owner: Owner) -> None:
    upload(owner, "public")
    with owner.api.app.extensions["keyturn"].engine.begin() as connection:
        of_flow = UploadedFileRow.flow_id == uuid.UUID(owner.ids["public"])
        connection.execute(update(UploadedFileRow).where(of_flow).values(size=10_000_001))
    uri = listed(owner.mcp())[0]["uri"]
    assert "more than 10000000 bytes" in owner.mcp().ask("resources/read", {"uri": uri})["message"]


def test_many_files_come_in_pages(owner: Owner) -> None:
    for number in range(101):
        upload(owner, "public", f"{number}.txt")
    first = owner.mcp().ask("resources/list")
    second = owner.mcp().ask("resources/list", {"cursor": first["nextCursor"]})
    assert (len(first["resources"]), len(second["resources"]), "nextCursor" in second) == (100, 1, False)
