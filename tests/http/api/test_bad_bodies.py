"""Bodies that are no good: each is a JSON answer that says so, and nothing of it is stored."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tests.support.client import Api

JSON = "application/json"
PATHS = ["/users/", "/api_key/", "/variables/", "/flows/", "/flows/batch/", "/api_key/store"]


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def graph(node: str) -> str:
    return f'{{"name": "n", "data": {{"nodes": [{node}], "edges": []}}}}'


def counts(api: Api) -> list[int]:
    """How much there is of everything that a body can make."""
    totals = [api.get(path).json["total_count"] for path in ("/users/", "/api_key/")]
    return totals + [len(api.get(path).json) for path in ("/variables/", "/flows/")]


def problems(answer: Any) -> list[tuple[str, list[Any]]]:
    assert answer.status_code == 422, answer.text
    assert all(set(one) <= {"type", "loc", "msg", "ctx"} for one in answer.json["detail"])
    return [(one["type"], one["loc"]) for one in answer.json["detail"]]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [b'{"name": ', b"nonsense", b'{"name": "\xff"}', b"{'name': 1}", b"[" * 100_000, b'{"a":' * 5_000,
     b'{"name": NaN}', b'{"name": -Infinity}', b'{"name": 1e999}', b'{"name": ' + b"9" * 5_000 + b"}"],
    ids=["cut", "nonsense", "bytes", "quotes", "list", "object", "nan", "infinity", "large", "long"],
)  # fmt: skip
def test_what_is_no_json_is_refused(chief: Api, path: str, body: bytes) -> None:
    before = counts(chief)
    found = problems(chief.post(path, data=body, content_type=JSON))
    assert [(kind, loc[0]) for kind, loc in found] == [("json_invalid", "body")]
    assert counts(chief) == before


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [[], [1], "text", 5, True, None])
def test_json_that_is_no_object_is_refused(chief: Api, path: str, body: object) -> None:
    before = counts(chief)
    sent = chief.post(path, data=json.dumps(body), content_type=JSON)
    assert problems(sent) == [("model_attributes_type", ["body"])]
    assert counts(chief) == before


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]
)
def test_a_body_of_another_type_is_refused(chief: Api, path: str, kind: str) -> None:
    before = counts(chief)
    answer = chief.post(path, data=b'{"name": "n"}', content_type=kind)
    assert (answer.status_code, answer.json) == (415, {"detail": "Content-Type must be application/json"})
    assert counts(chief) == before


@pytest.mark.parametrize("path", [*PATHS, "/flows/upload/", "/run/nothing", "/webhook/nothing"])
def test_a_body_over_the_limit_is_refused(chief: Api, path: str) -> None:
    answer = chief.post(path, data=b'"' + b"a" * 17 * 1024 * 1024, content_type=JSON)
    assert answer.status_code in ({413, 400} if path == "/flows/upload/" else {413})
    assert set(answer.json) == {"detail"}


def test_a_body_over_the_limit_is_refused_also_when_it_does_not_say_its_length(chief: Api) -> None:
    stream = {
        "input_stream": io.BytesIO(b"a" * 17 * 1024 * 1024),
        "environ_overrides": {"wsgi.input_terminated": True},
    }
    answer = chief.post("/flows/", content_type=JSON, **stream)
    assert (answer.status_code, answer.json) == (413, {"detail": "Request Entity Too Large"})


@pytest.mark.parametrize("path", ["/flows/{}", "/flows/{}?x=1", "/users/{}", "/variables/{}", "/api_key/{}"])
@pytest.mark.parametrize("text", ["not-a-uuid", "1", "%00", "'", "00000000-0000-4000-8000-00000000000g", "a" * 2000])
def test_a_bad_id_in_a_path_is_named(chief: Api, path: str, text: str) -> None:
    method = "PATCH" if path.startswith(("/users", "/variables")) else "DELETE"
    body = {"json": {"id": "00000000-0000-4000-8000-000000000000"}} if method == "PATCH" else {}
    ((kind, loc),) = problems(chief.open(method, path.format(text), **body))
    assert (kind, loc[0]) == ("uuid_parsing", "path")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 5), ("name", None), ("name", ""), ("name", "  "), ("name", "a\x00b"), ("name", "\ud800"),
        ("name", "a" * 256), ("description", ["x"]), ("description", "d" * 100_001), ("description", "\udfff"),
        ("endpoint_name", 1), ("data", "text"), ("data", []), ("data", {"nodes": []}), ("data", {"edges": []}),
        ("data", {"nodes": {}, "edges": []}), ("data", {"nodes": [], "edges": None}), ("locked", "yes"),
        ("locked", 1), ("tags", "x"), ("tags", ["\x00"]), ("folder_id", "x"), ("access_type", "OPEN"),
        ("icon", "i" * 256), ("action_name", "\x00"),
    ],
)  # fmt: skip
def test_a_bad_field_of_a_flow_is_named(mine: Api, field: str, value: object) -> None:
    found = problems(mine.post("/flows/", json={"name": "n", field: value}))
    assert [loc[:2] for _, loc in found] == [["body", field]]
    assert mine.get("/flows/").json == []


@pytest.mark.parametrize("levels", [200, 900, 960, 970])
def test_a_flow_that_is_nested_too_deeply_is_refused(mine: Api, levels: int) -> None:
    assert problems(mine.post("/flows/", data=graph(nested(levels)), content_type=JSON))
    assert mine.get("/flows/").json == []


def test_a_flow_of_many_levels_is_stored_and_listed(mine: Api) -> None:
    assert mine.post("/flows/", data=graph(nested(150)), content_type=JSON).status_code == 201
    assert len(mine.get("/flows/").json) == 1


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_number_that_json_does_not_have_is_refused_in_a_flow(mine: Api, number: str) -> None:
    assert problems(mine.post("/flows/", data=graph(number), content_type=JSON))[0][0] == "json_invalid"
    assert mine.get("/flows/").json == []


@pytest.mark.parametrize("body", [{}, "x", [5], ["not-a-uuid"], [None], None])
@pytest.mark.parametrize(("method", "path"), [("DELETE", "/flows/"), ("POST", "/flows/download/")])
def test_ids_that_are_none_are_refused(mine: Api, method: str, path: str, body: object) -> None:
    assert problems(mine.open(method, path, json=body))[0][1] == ["body"]


@pytest.mark.parametrize("path", ["/users/?search=%00", "/users/?username=%00", "/users/?limit=%00"])
def test_a_nul_in_a_query_is_refused(chief: Api, path: str) -> None:
    assert problems(chief.get(path))[0][1][0] == "query"


def test_one_bad_field_keeps_the_good_ones_of_a_change_out(mine: Api) -> None:
    flow = mine.post("/flows/", json={"name": "n"}).json
    answer = mine.patch(f"/flows/{flow['id']}", json={"description": "new", "locked": "yes"})
    assert problems(answer) == [("bool_type", ["body", "locked"])]
    assert mine.get(f"/flows/{flow['id']}").json == flow
