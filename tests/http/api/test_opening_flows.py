"""What opens a flow to callers without a key, which no limit of a key would bind any more."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL, text
from werkzeug.test import TestResponse

from tests.http.api.test_key_rights import limited
from tests.support import flows
from tests.support.client import Api
from tests.support.mcp import STRANGER, Mcp
from tests.support.waiting import until

OPEN = {"access_type": "PUBLIC", "mcp_enabled": True}
LIMITS: dict[str, dict[str, Any]] = {
    "manage": {"scopes": ["manage"]},
    "run and manage": {"scopes": ["run", "manage"]},
    "network": {"networks": ["127.0.0.0/8"]},
    "rate": {"rate_limit": {"requests": 1000, "window_seconds": 60}},
    "runs": {"max_parallel_runs": 5},
    "end": {"expires_at": "2999-01-01T00:00:00Z"},
}


def file_of(content: object) -> dict[str, Any]:
    return {"data": {"file": (io.BytesIO(json.dumps(content).encode()), "file.json")}}


def stored(api: Api, **fields: object) -> dict[str, Any]:
    made = api.post("/flows/", json={"name": f"f{uuid.uuid4().hex}", "data": flows.echo(), **fields})
    assert made.status_code == 201, made.json
    return dict(made.json)


#: Each is told the key, a new open flow, and a private one of the owner that has half of what opens it.
ROUTES: dict[str, Callable[[Api, dict[str, Any], dict[str, Any]], TestResponse]] = {
    "create": lambda key, new, _: key.post("/flows/", json=new),
    "batch": lambda key, new, _: key.post("/flows/batch/", json={"flows": [{"name": "private"}, new]}),
    "upload": lambda key, new, _: key.post("/flows/upload/", **file_of(new)),
    "upload of a project": lambda key, new, _: key.post(
        "/projects/upload/", **file_of({"folder_name": "p", "folder_description": "", "flows": [new]})
    ),
    "put of a new one": lambda key, new, _: key.put(f"/flows/{uuid.uuid4()}", json=new),
    "put": lambda key, new, half: key.put(f"/flows/{half['id']}", json=new),
    "change": lambda key, _, half: key.patch(f"/flows/{half['id']}", json={"mcp_enabled": True}),
    "settings of the project": lambda key, _, half: key.patch(
        f"/mcp/project/{half['folder_id']}", json={"settings": [{"id": half["id"], "mcp_enabled": True}]}
    ),
    "settings of the project, by the other name": lambda key, _, half: key.patch(
        f"/mcp-projects/{half['folder_id']}", json={"settings": [{"id": half["id"], "mcp_enabled": True}]}
    ),
}


def opened(api: Api) -> list[str]:
    """The names of the owner's flows that everybody may run."""
    listed = api.get("/flows/").json
    return [one["name"] for one in listed if one["access_type"] == "PUBLIC" and one["mcp_enabled"]]


@pytest.mark.parametrize("route", ROUTES)
def test_a_limited_key_opens_no_flow_on_any_route(mine: Api, route: str) -> None:
    new = {"name": f"n{uuid.uuid4().hex}", "data": flows.echo(), **OPEN}
    half = stored(mine, access_type="PUBLIC")
    answer = ROUTES[route](limited(mine, scopes=["manage"]), new, half)
    assert (answer.status_code, answer.headers["x-langflow-error-code"]) == (403, "more_than_itself")
    assert (opened(mine), len(mine.get("/flows/").json)) == ([], 1)
    assert ROUTES[route](mine, new, half).status_code in {200, 201}
    assert len(opened(mine)) == 1


@pytest.mark.parametrize("limit", LIMITS)
def test_whatever_limits_a_key_it_opens_no_flow(mine: Api, limit: str) -> None:
    flow = stored(mine)
    answer = limited(mine, **LIMITS[limit]).patch(f"/flows/{flow['id']}", json=OPEN)
    assert (answer.status_code, answer.headers["x-langflow-error-code"]) == (403, "more_than_itself")
    assert flow["name"] not in Mcp(mine.app, address=STRANGER).tools()


@pytest.mark.parametrize("half", [{"access_type": "PUBLIC"}, {"mcp_enabled": True}, OPEN | {"is_component": True}])
def test_what_opens_nothing_is_a_limited_keys_to_change(mine: Api, half: dict[str, Any]) -> None:
    key, flow = limited(mine, scopes=["manage"]), stored(mine)
    assert key.patch(f"/flows/{flow['id']}", json=half).status_code == 200
    assert key.patch(f"/flows/{flow['id']}", json=OPEN | {"is_component": False}).status_code == 403


def test_a_flow_that_is_open_already_is_a_limited_keys_to_change_and_to_close_but_not_to_open_again(
    mine: Api,
) -> None:
    key, path = limited(mine, scopes=["manage"]), f"/flows/{stored(mine, **OPEN)['id']}"
    changes: list[dict[str, Any]] = [OPEN | {"description": "changed"}, {"access_type": "PRIVATE"}, OPEN]
    assert [key.patch(path, json=change).status_code for change in changes] == [200, 200, 403]


@pytest.mark.postgresql
def test_two_changes_at_once_open_no_flow_of_which_each_has_half(
    make_app: Callable[..., Flask], postgresql_url: URL
) -> None:
    mine = Api.of_superuser(make_app(postgresql_url))
    flow, key = stored(mine), limited(mine, scopes=["manage"])
    waits = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    engine = mine.app.extensions["keyturn"].engine
    with ThreadPoolExecutor(1) as pool, engine.connect() as other:
        other.execute(text("UPDATE flow SET access_type = 'PUBLIC' WHERE id = :id"), {"id": flow["id"]})
        answer = pool.submit(key.patch, f"/flows/{flow['id']}", json={"mcp_enabled": True})
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watcher:
            until(lambda: watcher.execute(waits).scalar())
        other.commit()
        assert answer.result(20).status_code == 403
    assert opened(mine) == []
