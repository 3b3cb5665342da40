"""Users: who may see and change whom, and what a body cannot set."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.support.client import PASSWORD, SUPERUSER, USER_PASSWORD, Api

USER_FIELDS = [
    "id", "username", "profile_image", "store_api_key", "is_active", "is_superuser", "create_at", "updated_at",
    "last_login_at", "optins",
]  # fmt: skip
NO_OPTINS = {"github_starred": False, "dialog_dismissed": False, "discord_clicked": False}


def new(**more: object) -> dict[str, Any]:
    return {"username": f"n{uuid.uuid4().hex}", "password": USER_PASSWORD} | more


def names(api: Api) -> list[str]:
    return [user["username"] for user in api.get("/users/").json["users"]]


def test_whoami_answers_with_the_documents_fields_in_their_order(chief: Api) -> None:
    body = json.loads(chief.get("/users/whoami").data)
    assert list(body) == USER_FIELDS
    assert body["optins"] == NO_OPTINS


def test_every_answer_shows_a_user_as_whoami_does(api: Api) -> None:
    shown = api.get("/users/whoami").json
    assert api.get(f"/users/{api.user_id}").json == shown
    assert api.get("/users/").json["users"] == [shown]
    assert api.get("/session").json["user"] == shown


def test_a_new_user_is_made_inactive_and_without_rights(chief: Api) -> None:
    made = chief.post("/users/", json=new())
    assert made.status_code == 201
    assert (made.json["is_active"], made.json["is_superuser"], made.json["last_login_at"]) == (False, False, None)
    assert list(made.json) == USER_FIELDS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "00000000-0000-4000-8000-000000000000"),
        ("is_superuser", True),
        ("is_active", True),
        ("store_api_key", "sk-x"),
        ("create_at", "2000-01-01T00:00:00Z"),
        ("last_login_at", "2000-01-01T00:00:00Z"),
    ],
)
def test_the_body_of_a_new_user_cannot_set(chief: Api, field: str, value: object) -> None:
    made = chief.post("/users/", json=new(**{field: value}))
    assert made.status_code == 201
    assert made.json[field] != value


@pytest.mark.parametrize("field", ["id", "create_at", "last_login_at", "password_hash", "username_key", "user_id"])
def test_the_body_of_a_change_cannot_set(chief: Api, mine: Api, field: str) -> None:
    before = chief.get(f"/users/{mine.user_id}").json
    after = chief.patch(f"/users/{mine.user_id}", json={field: "00000000-0000-4000-8000-000000000000"})
    assert after.status_code == 200
    assert after.json | {"updated_at": None} == before | {"updated_at": None}


def test_an_ordinary_user_cannot_give_themselves_rights(mine: Api) -> None:
    answer = mine.patch(f"/users/{mine.user_id}", json={"is_superuser": True, "profile_image": "x.svg"})
    assert answer.status_code == 403
    assert mine.get("/users/whoami").json["profile_image"] is None


def test_an_ordinary_user_cannot_change_or_see_another(chief: Api, mine: Api) -> None:
    assert mine.patch(f"/users/{chief.user_id}", json={"username": "mine"}).status_code == 403
    assert mine.get(f"/users/{chief.user_id}").status_code == 403


def test_a_user_that_exists_and_one_that_does_not_look_the_same_to_a_stranger(chief: Api, mine: Api) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        real, none = (mine.open(method, f"/users/{one}", json={}) for one in (chief.user_id, uuid.uuid4()))
        assert (real.status_code, real.json) == (none.status_code, none.json)


@pytest.mark.parametrize("username", ["SOMEBODY", "Somebody", "ＳＯＭＥＢＯＤＹ"], ids=["upper", "mixed", "wide"])  # noqa: RUF001
def test_a_name_in_another_case_is_the_same_name(api: Api, other: Api, username: str) -> None:
    answer = api.post("/users/", json=new(username=username))
    assert (answer.status_code, answer.json) == (400, {"detail": "This username is unavailable."})


def test_nobody_can_take_anothers_name_by_a_change(api: Api, other: Api) -> None:
    answer = other.patch(f"/users/{other.user_id}", json={"username": SUPERUSER.upper()})
    assert (answer.status_code, answer.json) == (400, {"detail": "This username is unavailable."})
    assert names(api) == [SUPERUSER, "somebody"]


def test_ones_own_name_may_change_its_case(mine: Api) -> None:
    name = mine.get("/users/whoami").json["username"].upper()
    assert mine.patch(f"/users/{mine.user_id}", json={"username": name}).json["username"] == name


def test_opt_ins_that_a_change_does_not_name_stay(chief: Api) -> None:
    for name in ("github_starred", "discord_clicked"):
        chief.patch(f"/users/{chief.user_id}", json={"optins": {name: True}})
    expected = {"github_starred": True, "dialog_dismissed": False, "discord_clicked": True}
    assert chief.get("/users/whoami").json["optins"] == expected


def test_a_superuser_finds_users_by_a_part_of_the_name(api: Api, other: Api) -> None:
    found = api.get("/users/?search=SOME").json
    assert (found["total_count"], [user["username"] for user in found["users"]]) == (1, ["somebody"])


@pytest.mark.parametrize("search", ["%25", "_", "%5C"])
def test_a_search_takes_no_wildcards(chief: Api, search: str) -> None:
    assert chief.get(f"/users/?search={search}").json["users"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "skip=-1", "skip=x", "skip=99999999999999999999"])
def test_a_page_outside_the_limits_is_refused(chief: Api, query: str) -> None:
    answer = chief.get(f"/users/?{query}")
    assert answer.status_code == 422
    assert answer.json["detail"][0]["loc"] == ["query", query.partition("=")[0]]


def test_a_page_of_users_counts_all_of_them(api: Api, other: Api) -> None:
    page = api.get("/users/?skip=1&limit=1").json
    assert (page["total_count"], len(page["users"]), page["deletion_requests"]) == (2, 1, {})


def test_a_password_is_reset_by_a_session_only(other: Api) -> None:
    body = {"current_password": USER_PASSWORD, "password": "newpw12345"}
    answer = other.patch(f"/users/{other.user_id}/reset-password", json=body)
    assert answer.status_code == 403
    assert answer.json["detail"].startswith("Sign in interactively")


def test_deleting_a_user_ends_their_keys_and_takes_their_flows(chief: Api, mine: Api) -> None:
    flow_id = mine.post("/flows/", json={"name": "theirs", "endpoint_name": "theirs"}).json["id"]
    answer = chief.delete(f"/users/{mine.user_id}")
    assert (answer.status_code, answer.json["detail"]) == (202, "User deletion started")
    assert mine.get("/users/whoami").status_code == 403
    assert chief.put(f"/flows/{flow_id}", json={"name": "mine now"}).status_code == 201


def test_nobody_deletes_themselves(chief: Api) -> None:
    answer = chief.delete(f"/users/{chief.user_id}")
    assert (answer.status_code, answer.json) == (400, {"detail": "You can't delete your own user account"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"username": 5}, "username"),
        ({"username": None}, "username"),
        ({"username": ""}, "username"),
        ({"username": " padded "}, "username"),
        ({"username": "a\nb"}, "username"),
        ({"username": "a\x00b"}, "username"),
        ({"username": "\ud800"}, "username"),
        ({"username": "a" * 151}, "username"),
        ({"password": ["x"]}, "password"),
        ({"password": ""}, "password"),
        ({"password": "\udfff"}, "password"),
        ({"password": "p" * 1025}, "password"),
        ({"optins": "x"}, "optins"),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, dict) else "",
)
def test_a_bad_field_of_a_new_user_is_named_and_nobody_is_made(chief: Api, body: dict[str, Any], field: str) -> None:
    before = chief.get("/users/").json["total_count"]
    answer = chief.post("/users/", json=new(**body))
    assert answer.status_code == 422
    assert answer.json["detail"][0]["loc"][:2] == ["body", field]
    assert chief.get("/users/").json["total_count"] == before


def test_no_answer_about_a_bad_user_repeats_the_password(chief: Api) -> None:
    answer = chief.post("/users/", json={"username": 5, "password": PASSWORD})
    assert PASSWORD not in answer.text


def test_a_name_that_is_too_long_when_its_letters_are_taken_apart_is_refused(chief: Api) -> None:
    answer = chief.post("/users/", json=new(username="\ufdfa" * 150))
    assert (answer.status_code, answer.json["detail"][0]["loc"]) == (422, ["body", "username"])
