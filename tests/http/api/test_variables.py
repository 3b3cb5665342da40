"""Global variables: kept secret, changed by the path's id, named once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.client import Api

SECRET = "s3cret-value"
FIELDS = [
    "id", "name", "type", "value", "has_value", "default_fields", "is_owner", "can_manage_shares", "validation_error",
    "is_valid",
]  # fmt: skip
NOT_FOUND = (404, {"detail": "Variable not found"})
TAKEN = (400, {"detail": "Variable name already exists"})


def make(api: Api, name: str = "ONE", kind: str = "Generic", value: str = "plain") -> dict[str, Any]:
    made = api.post("/variables/", json={"name": name, "value": value, "type": kind, "default_fields": ["A"]})
    assert made.status_code == 201, made.json
    return made.json


def change(api: Api, variable: dict[str, Any], **changes: object) -> tuple[int, Any]:
    answer = api.patch(f"/variables/{variable['id']}", json={"id": variable["id"], **changes})
    return answer.status_code, answer.json


def stored(api: Api) -> dict[str, Any]:
    return {variable["name"]: variable["value"] for variable in api.get("/variables/").json}


def test_a_variable_has_the_documents_fields_in_their_order(mine: Api) -> None:
    assert list(make(mine)) == FIELDS


def test_the_value_of_a_credential_is_null_in_every_answer(mine: Api) -> None:
    made = make(mine, kind="Credential", value=SECRET)
    listed = mine.get("/variables/")
    assert (made["value"], made["has_value"], listed.json[0]["value"]) == (None, True, None)
    assert SECRET not in listed.text


def test_the_value_of_a_generic_is_readable(mine: Api) -> None:
    assert make(mine, value="plain")["value"] == "plain"
    assert stored(mine) == {"ONE": "plain"}


def test_a_variable_without_a_type_is_a_credential(mine: Api) -> None:
    made = mine.post("/variables/", json={"name": "N", "value": SECRET, "default_fields": []}).json
    assert (made["type"], made["value"]) == ("Credential", None)


def test_variables_are_listed_by_name(mine: Api) -> None:
    for name in ("B", "A", "C"):
        make(mine, name)
    assert list(stored(mine)) == ["A", "B", "C"]


def test_two_users_may_have_variables_of_one_name(mine: Api, theirs: Api) -> None:
    make(mine, value="mine")
    make(theirs, value="theirs")
    assert (stored(mine), stored(theirs)) == ({"ONE": "mine"}, {"ONE": "theirs"})


def test_a_taken_name_is_refused(mine: Api) -> None:
    make(mine)
    answer = mine.post("/variables/", json={"name": "ONE", "value": "x", "default_fields": []})
    assert (answer.status_code, answer.json) == TAKEN
    assert stored(mine) == {"ONE": "plain"}


def test_a_rename_onto_a_taken_name_is_refused_and_changes_nothing(mine: Api) -> None:
    make(mine, "ONE", value="1")
    assert change(mine, make(mine, "TWO", value="2"), name="ONE", value="3") == TAKEN
    assert stored(mine) == {"ONE": "1", "TWO": "2"}


def test_a_rename_onto_its_own_name_is_no_conflict(mine: Api) -> None:
    assert change(mine, make(mine), name="ONE")[0] == 200


def test_the_bodys_id_does_not_move_the_row(mine: Api) -> None:
    one, two = make(mine, "ONE", value="1"), make(mine, "TWO", value="2")
    answer = mine.patch(f"/variables/{one['id']}", json={"id": two["id"], "value": "changed"})
    assert (answer.status_code, answer.json["id"]) == (200, one["id"])
    assert stored(mine) == {"ONE": "changed", "TWO": "2"}


def test_a_change_needs_the_id_in_its_body(mine: Api) -> None:
    answer = mine.patch(f"/variables/{make(mine)['id']}", json={"value": "x"})
    assert answer.status_code == 422
    assert answer.json["detail"] == [{"type": "missing", "loc": ["body", "id"], "msg": "Field required"}]


def test_a_change_without_a_value_keeps_it(mine: Api) -> None:
    status, changed = change(mine, make(mine), name="RENAMED", default_fields=["B"])
    assert (status, changed["value"], changed["default_fields"]) == (200, "plain", ["B"])


def test_a_credential_does_not_become_readable_without_a_new_value(mine: Api) -> None:
    credential = make(mine, kind="Credential", value=SECRET)
    assert change(mine, credential, type="Generic") == NOT_FOUND
    assert change(mine, credential, name="RENAMED")[1]["value"] is None


@pytest.mark.parametrize("kind", ["credential", "CREDENTIAL", "Credential ", ""])
def test_no_spelling_of_a_type_makes_a_credential_readable(mine: Api, kind: str) -> None:
    assert change(mine, make(mine, kind="Credential", value=SECRET), type=kind) == NOT_FOUND


def test_a_credential_becomes_a_generic_with_a_new_value(mine: Api) -> None:
    status, changed = change(mine, make(mine, kind="Credential", value=SECRET), type="Generic", value="open")
    assert (status, changed["value"]) == (200, "open")


@pytest.mark.parametrize("kind", ["Generic", "Credential"])
def test_anothers_variable_looks_like_a_missing_one(mine: Api, theirs: Api, kind: str) -> None:
    variable = make(theirs, kind=kind)
    deleted = mine.delete(f"/variables/{variable['id']}")
    assert change(mine, variable, value="x") == NOT_FOUND
    assert (deleted.status_code, deleted.json) == NOT_FOUND
    assert list(stored(theirs)) == ["ONE"]


def test_a_deleted_variable_is_gone(mine: Api) -> None:
    made = make(mine)
    answer = mine.delete(f"/variables/{made['id']}")
    assert (answer.status_code, answer.data) == (204, b"")
    assert mine.delete(f"/variables/{made['id']}").status_code == 404
    assert stored(mine) == {}


@pytest.mark.parametrize("value", ["gAAAAAx", "  spaces stay  ", "line\nbreak", "schön 🔑", "a" * 10_000])
def test_a_value_comes_back_as_it_was_stored(mine: Api, value: str) -> None:
    assert make(mine, value=value)["value"] == value
    assert stored(mine) == {"ONE": value}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"name": "", "value": ""}, "Variable name and value cannot be empty"),
        ({"name": ""}, "Variable name cannot be empty"),
        ({"name": "  "}, "Variable name cannot be empty"),
        ({"value": ""}, "Variable value cannot be empty"),
    ],
)
def test_an_empty_text_is_refused_in_langflows_words(mine: Api, body: dict[str, Any], text: str) -> None:
    answer = mine.post("/variables/", json={"name": "N", "value": "x", "default_fields": []} | body)
    assert (answer.status_code, answer.json) == (400, {"detail": text})


@pytest.mark.parametrize("changes", [{"name": ""}, {"name": " "}, {"value": ""}])
def test_an_empty_text_is_refused_in_a_change_too(mine: Api, changes: dict[str, str]) -> None:
    assert change(mine, make(mine), **changes)[0] == 400
    assert stored(mine) == {"ONE": "plain"}


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"name": 5}, ["name"]),
        ({"name": None}, ["name"]),
        ({"name": "a\x00"}, ["name"]),
        ({"name": "\ud800"}, ["name"]),
        ({"name": "a" * 256}, ["name"]),
        ({"value": {"a": 1}}, ["value"]),
        ({"value": "\x00"}, ["value"]),
        ({"value": "\udc00"}, ["value"]),
        ({"value": "v" * 1_000_001}, ["value"]),
        ({"type": "t" * 51}, ["type"]),
        ({"type": 1}, ["type"]),
        ({"default_fields": "A"}, ["default_fields"]),
        ({"default_fields": None}, ["default_fields"]),
        ({"default_fields": [1]}, ["default_fields", 0]),
        ({"default_fields": ["\x00"]}, ["default_fields", 0]),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, dict) else "",
)
def test_a_bad_field_is_named_and_nothing_is_stored(mine: Api, body: dict[str, Any], loc: list[Any]) -> None:
    answer = mine.post("/variables/", json={"name": "N", "value": "x", "default_fields": []} | body)
    assert answer.status_code == 422
    assert answer.json["detail"][0]["loc"] == ["body", *loc]
    assert stored(mine) == {}
