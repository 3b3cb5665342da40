"""The list of MCP servers that a user has set up: encrypted, masked, and nobody else's."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL, select

from service.domain.mcp_secrets import MASK
from service.storage import McpServer
from tests.support.client import Api

CONFIG = {
    "url": "https://user:canary-url@mcp.example/sse",
    "headers": {"Authorization": "Bearer canary-header"},
    "env": {"TOKEN": "canary-env"},
    "args": ["--quiet"],
    "transport": "sse",
}
SHOWN = CONFIG | {
    "url": "https://user:********@mcp.example/sse",
    "headers": {"Authorization": "********"},
    "env": {"TOKEN": "********"},
}
PATH = "/api/v2/mcp/servers"


def kept(api: Api, name: str = "weather", config: Any = CONFIG) -> Any:
    return api.post(f"{PATH}/{name}", json=config)


def stored(api: Api) -> dict[str, Any]:
    own = api.app.extensions["keyturn"]
    mine = select(McpServer.ciphertext).where(McpServer.user_id == uuid.UUID(api.user_id))
    with own.engine.connect() as connection:
        rows = connection.execute(mine.order_by(McpServer.created_at)).scalars().all()
    return {"rows": rows, "opened": [own.vault.decrypt(one) for one in rows]}


def test_a_server_is_kept_and_shown_without_its_secrets(mine: Api) -> None:
    answers = kept(mine), mine.get(f"{PATH}/weather")
    assert [(answer.status_code, answer.json) for answer in answers] == [(200, SHOWN), (200, SHOWN)]


def test_nothing_of_a_configuration_stands_in_the_database(mine: Api) -> None:
    kept(mine)
    found = stored(mine)
    assert not [row for row in found["rows"] if "canary" in row or "mcp.example" in row]
    assert all(word in found["opened"][-1] for word in ("canary-url", "canary-header", "canary-env"))


def test_the_list_has_the_names_in_the_shape_of_1_13(mine: Api) -> None:
    kept(mine)
    kept(mine, "a clock")
    assert mine.get(PATH).json == [
        {"name": name, "mode": None, "toolsCount": None} for name in ("a clock", "weather")
    ]


def test_nobody_in_particular_has_no_servers_and_may_keep_none(mine: Api) -> None:
    kept(mine)
    nobody = Api(mine.app, None, "")
    assert (nobody.get(PATH).status_code, nobody.get(PATH).json) == (200, [])
    assert [kept(nobody).status_code, nobody.get(f"{PATH}/weather").status_code] == [403, 403]


def test_a_second_server_of_a_name_is_a_conflict(mine: Api) -> None:
    answers = [kept(mine), kept(mine)]
    assert (answers[1].status_code, answers[1].json) == (409, {"detail": "Server already exists."})


def test_two_users_may_have_servers_of_one_name(mine: Api, theirs: Api) -> None:
    assert [kept(mine).status_code, kept(theirs, config={"command": "uvx"}).status_code] == [200, 200]
    assert theirs.get(f"{PATH}/weather").json == {"command": "uvx"}


def test_a_change_sets_only_the_parts_that_it_names(mine: Api) -> None:
    kept(mine)
    changed = mine.patch(f"{PATH}/weather", json={"args": []})
    assert changed.json == SHOWN | {"args": []}


def test_sending_the_mask_back_changes_nothing(mine: Api) -> None:
    kept(mine)
    before = stored(mine)["opened"]
    mine.patch(f"{PATH}/weather", json=SHOWN)
    assert stored(mine)["opened"] == before


def test_a_mask_that_stands_for_nothing_is_refused(mine: Api) -> None:
    kept(mine)
    answer = mine.patch(f"{PATH}/weather", json={"env": {"NEW": "********"}})
    assert (answer.status_code, answer.json["detail"][0]["loc"]) == (422, ["body", "env"])


#: Where programs take secrets from -> what is shown of it.
ARGUMENTS = {
    ("mcp-proxy", "--headers", "x-api-key", "canary"): ("mcp-proxy", "--headers", "x-api-key", MASK),
    ("--header", "Authorization: Bearer canary"): ("--header", MASK),
    ("run", "-e", "TOKEN=canary", "-e", "DEBUG"): ("run", "-e", f"TOKEN={MASK}", "-e", "DEBUG"),
    ("run", "--env=TOKEN=canary", "-e"): ("run", f"--env=TOKEN={MASK}", "-e"),
    ("--api-key", "canary", "--verbose"): ("--api-key", MASK, "--verbose"),
    ("--token=canary", "--port=80"): (f"--token={MASK}", "--port=80"),
    ("https://mcp.example/?tavilyApiKey=canary&q=1",): (f"https://mcp.example/?tavilyApiKey={MASK}&q=1",),
    ("postgres://user:canary@db/x",): (f"postgres://user:{MASK}@db/x",),
}


@pytest.mark.parametrize("args", ARGUMENTS, ids=" ".join)
def test_a_secret_among_the_arguments_is_masked_and_kept(mine: Api, args: tuple[str, ...]) -> None:
    shown = {"command": "uvx", "args": list(ARGUMENTS[args])}
    assert kept(mine, config={"command": "uvx", "args": list(args)}).json == shown
    changed = mine.patch(f"{PATH}/weather", json={"args": [*shown["args"], "--more"]})
    assert changed.json["args"] == [*shown["args"], "--more"]
    assert json.loads(stored(mine)["opened"][-1])["args"] == [*args, "--more"]


def test_a_secret_in_a_further_field_is_masked(mine: Api) -> None:
    config = {"url": "https://mcp.example", "auth": {"scopes": ["a"], "client_secret": "canary"}, "timeout": 5}
    answer = kept(mine, config=config)
    assert "canary" not in answer.text
    assert (answer.json["timeout"], answer.json["auth"]["client_secret"]) == (5, MASK)


@pytest.mark.parametrize(
    "args", [["x-api-key", MASK], ["--headers", "x-api-key", MASK, "--headers", "x-api-key", MASK], [MASK], [[MASK]]]
)
def test_no_change_brings_a_masked_argument_to_light(mine: Api, args: list[Any]) -> None:
    kept(mine, config={"args": ["--headers", "x-api-key", "canary"]})
    answer = mine.patch(f"{PATH}/weather", json={"args": args})
    assert answer.status_code == 422
    assert "canary" not in answer.text + mine.get(f"{PATH}/weather").text


def test_a_mask_is_not_kept_in_the_place_of_a_value(mine: Api) -> None:
    assert kept(mine, config={"headers": {"Authorization": MASK}}).status_code == 422
    assert mine.get(PATH).json == []


def test_whoever_passes_without_a_credential_reads_and_writes_no_server(
    make_app: Callable[..., Flask], sqlite_url: URL
) -> None:
    app = make_app(sqlite_url, auto_login=True, skip_auth_auto_login=True)
    kept(Api.of_superuser(app))
    nobody = Api(app, None, "")
    assert (nobody.get("/users/whoami").status_code, nobody.get(PATH).json) == (200, [])
    for method in ("GET", "POST", "PATCH", "DELETE"):
        assert nobody.open(method, f"{PATH}/weather", data="junk").status_code == 403


def test_changes_at_once_are_all_kept(mine: Api) -> None:
    kept(mine, config={"command": "uvx"})
    changes = [{f"part {number}": number} for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda part: mine.patch(f"{PATH}/weather", json=part), changes))
    assert {answer.status_code for answer in answers} == {200}
    assert len(mine.get(f"{PATH}/weather").json) == 13


def test_a_deleted_server_is_gone(mine: Api) -> None:
    kept(mine)
    assert mine.delete(f"{PATH}/weather").status_code == 200
    answer = mine.get(f"{PATH}/weather")
    assert (answer.status_code, answer.json) == (404, {"detail": "Server not found."})


def test_the_name_is_that_of_the_path(mine: Api) -> None:
    assert kept(mine, "one", {"name": "two", "command": "uvx"}).status_code == 422
    assert kept(mine, "one", {"name": "one", "command": "uvx"}).json == {"command": "uvx"}


@pytest.mark.parametrize(
    ("name", "config"),
    [("%00", {}), ("a" * 256, {}), ("one", {"env": {"a": 7}}), ("one", {"args": "text"}), ("one", []),
     ("one", {"note": "x" * 70_000}), ("one", {"note": [[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]})],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(mine: Api, name: str, config: Any) -> None:
    assert kept(mine, name, config).status_code in {404, 422}
    assert mine.get(PATH).json == []


SECRETS = {
    "an option": {"args": ["mcp-proxy", "--api-key", "canary", "--port", "80"]},
    "an option with its value": {"args": ["--access-token=canary"]},
    "a header of mcp-proxy": {"args": ["--headers", "x-api-key", "canary", "https://mcp.example"]},
    "a header of mcp-remote": {"args": ["--header", "Authorization: Bearer canary"]},
    "a query": {"url": "https://mcp.example/?api_key=canary&region=eu"},
    "a user without a password": {"url": "https://canary@mcp.example/"},
    "a field": {"apiKey": "canary"},
    "a field in a field": {"oauth": {"client_secret": "canary", "scopes": ["a"]}},
    "a field in a list": {"ways": [{"headers": {"a": "canary"}}]},
    "a field of parts": {"credentials": {"user": "canary"}},
}


@pytest.mark.parametrize("place", SECRETS)
def test_a_secret_is_masked_wherever_it_stands_and_kept_when_its_mask_comes_back(mine: Api, place: str) -> None:
    shown = kept(mine, config=SECRETS[place]).json
    before = stored(mine)["opened"]
    assert "canary" not in str(shown)
    assert mine.patch(f"{PATH}/weather", json=shown).json == shown
    assert (stored(mine)["opened"], "canary" in before[-1]) == (before, True)


def test_what_is_no_secret_is_shown_as_it_is(mine: Api) -> None:
    config = {"command": "uvx", "args": ["--port", "80", "--"], "url": "https://mcp.example/a?b=c%20d", "timeout": 30}
    assert kept(mine, config=config).json == config


def test_a_mask_among_fewer_of_its_kind_is_refused(mine: Api) -> None:
    kept(mine, config={"args": ["-H", "A: one", "-H", "B: two"]})
    answer = mine.patch(f"{PATH}/weather", json={"args": ["-H", "********"]})
    assert (answer.status_code, answer.json["detail"][0]["loc"]) == (422, ["body", "args"])


def test_a_configuration_that_is_nested_too_deeply_is_refused(mine: Api) -> None:
    deep: Any = {}
    for _ in range(400):
        deep = {"a": deep}
    assert kept(mine, config=deep).status_code == 422


def test_where_the_lists_are_locked_only_a_superuser_changes_them(
    make_app: Callable[..., Flask], sqlite_url: URL
) -> None:
    chief = Api.of_superuser(make_app(sqlite_url, mcp_servers_locked=True))
    user = chief.new_user("somebody")
    assert [kept(chief).status_code, user.get(PATH).status_code] == [200, 200]
    refused = [kept(user), user.patch(f"{PATH}/weather", json={}), user.delete(f"{PATH}/weather")]
    assert [answer.status_code for answer in refused] == [403, 403, 403]
    assert user.get("/config").json["mcp_servers_locked"] is True


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_name_that_no_database_can_hold_is_not_found(mine: Api, method: str) -> None:
    body = {} if method == "PATCH" else None
    assert mine.open(method, f"{PATH}/%00", json=body).status_code in {404, 422}
