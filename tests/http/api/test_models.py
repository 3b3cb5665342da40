"""``GET /models``: a caller's flows as models, by the names that run them."""

from __future__ import annotations

import uuid
from typing import Any

from tests.families.routes import forms_of
from tests.http.api.test_key_rights import limited
from tests.http.api.test_responses import ask, echo, error_of
from tests.support import flows
from tests.support.client import Api


def listed(api: Api) -> dict[str, Any]:
    answer = api.get("/v1/models").json
    assert answer["object"] == "list"
    return {one["id"]: one for one in answer["data"]}


def test_flows_are_listed_by_the_name_that_runs_them(mine: Api) -> None:
    echo(mine, "named")
    unnamed = mine.post("/flows/", json={"name": "unnamed", "data": flows.echo()}).json["id"]
    found = listed(mine)
    assert set(found) == {"named", unnamed}
    assert all(ask(mine, model=name).status_code == 200 for name in found)


def test_a_name_that_reads_as_an_id_runs_nothing_and_is_not_listed(mine: Api) -> None:
    flow_id = echo(mine, uuid.uuid4().hex)
    assert set(listed(mine)) == {flow_id}


def test_what_cannot_be_run_is_not_listed(mine: Api) -> None:
    mine.post("/flows/", json={"name": "empty"})
    mine.post("/flows/", json={"name": "component", "data": flows.echo(), "is_component": True})
    assert listed(mine) == {}


def test_a_model_is_found_by_name_and_id_and_only_by_its_owner(mine: Api, theirs: Api) -> None:
    flow_id = echo(mine, "named")
    for spelling in ("named", *forms_of(flow_id)):
        assert mine.get(f"/v1/models/{spelling}").json["id"] == "named"
        refused = theirs.get(f"/v1/models/{spelling}")
        assert (refused.status_code, error_of(refused)["code"]) == (404, "model_not_found")
    assert listed(theirs) == {}


def test_a_key_for_some_flows_sees_no_others(mine: Api) -> None:
    allowed = echo(mine, "allowed")
    echo(mine, "other")
    key = limited(mine, flows=[allowed])
    assert set(listed(key)) == {"allowed"}
    assert key.get("/v1/models/other").status_code == 404
