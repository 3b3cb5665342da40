"""Where a flow's values come from, and what the mask of a value does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL
from sqlalchemy.orm import Session

from service.storage import Variable
from tests.support import flows
from tests.support.client import Api


def model(variable: str = "OPENAI_API_KEY") -> dict[str, Any]:
    return flows.chat_with_model(flows.openai_model(key=flows.secret(value=variable, variable=True)))


def store(api: Api, data: dict[str, Any]) -> str:
    return str(api.post("/flows/", json={"name": "explained", "endpoint_name": "explained", "data": data}).json["id"])


def variable(api: Api, name: str, value: str, kind: str = "Credential") -> dict[str, Any]:
    body = {"name": name, "value": value, "type": kind, "default_fields": []}
    made = api.post("/variables/", json=body)
    assert made.status_code == 201, made.json
    return dict(made.json)


def explained(api: Api, flow: str) -> dict[str, Any]:
    (found,) = api.get("/variables/explain", query_string={"flow": flow}).json
    return dict(found)


def test_a_variable_that_nobody_has_set_is_named(api: Api) -> None:
    flow = store(api, model())
    assert explained(api, flow) == {
        "node_id": "OpenAIModel-a", "component": "OpenAI", "field": "api_key", "variable": "OPENAI_API_KEY",
        "type": None, "source": None, "header": "X-LANGFLOW-GLOBAL-VAR-OPENAI_API_KEY", "required": True,
        "problem": "not set",
    }  # fmt: skip


def test_a_stored_one_is_found_by_endpoint_name_too(api: Api) -> None:
    store(api, model())
    variable(api, "OPENAI_API_KEY", "canary")
    found = explained(api, "explained")
    assert (found["source"], found["type"], found["problem"]) == ("user", "Credential", None)


def test_no_value_is_shown(api: Api) -> None:
    flow = store(api, model())
    variable(api, "OPENAI_API_KEY", "canary-value")
    assert "canary" not in api.get("/variables/explain", query_string={"flow": flow}).text


def test_one_that_follows_the_environment_says_so(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    api = Api.of_superuser(make_app(sqlite_url, environment={"OPENAI_API_KEY": "x"}))
    assert explained(api, store(api, model()))["source"] == "env"


def test_one_that_is_read_from_the_environment_says_so(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    options = {"environment": {"OPENAI_API_KEY": "x"}, "store_environment_variables": False}
    api = Api.of_superuser(make_app(sqlite_url, fallback_to_env_var=True, **options))
    assert explained(api, store(api, model()))["source"] == "environment"


def test_the_environments_values_are_credentials_that_no_field_shows(
    make_app: Callable[..., Flask], sqlite_url: URL
) -> None:
    options = {"environment": {"OPENAI_API_KEY": "canary"}, "fallback_to_env_var": True}
    api = Api.of_superuser(make_app(sqlite_url, **options)).new_user("somebody")
    shown = flows.text_input(value="OPENAI_API_KEY", load_from_db=True)
    flow = store(api, flows.flow([shown], []))
    found = explained(api, flow)
    assert (found["source"], "would show a Credential" in found["problem"]) == ("environment", True)
    answer = api.post(f"/run/{flow}", json={"output_type": "debug"})
    assert (answer.status_code, "canary" in answer.text) == (422, False)


def test_a_credential_in_a_field_that_shows_it_is_a_problem(api: Api) -> None:
    shown = flows.text_input(value="A_SECRET", load_from_db=True)
    flow = store(api, flows.flow([shown], []))
    variable(api, "A_SECRET", "x")
    assert "would show a Credential" in explained(api, flow)["problem"]


def test_a_field_that_decides_where_a_request_goes_names_no_header(api: Api) -> None:
    one = flows.node("URL-a", "URLComponent", "URL", [flows.field("urls", "SITE", load_from_db=True)], {"data": "m"})
    assert explained(api, store(api, flows.flow([one], [])))["header"] is None


def test_a_flow_that_wants_nothing_has_nothing_to_explain(api: Api) -> None:
    flow = store(api, flows.echo())
    assert api.get("/variables/explain", query_string={"flow": flow}).json == []


def test_somebody_elses_flow_is_like_a_missing_one(api: Api, other: Api) -> None:
    flow = store(api, model())
    answer = other.get("/variables/explain", query_string={"flow": flow})
    assert (answer.status_code, answer.json) == (404, {"detail": f"Flow identifier {flow} not found"})


def test_the_flow_must_be_named(api: Api) -> None:
    assert api.get("/variables/explain").json["detail"][0]["loc"] == ["query", "flow"]


def stored_value(app: Flask, name: str) -> str:
    own = app.extensions["keyturn"]
    with Session(own.engine) as session:
        row = session.query(Variable).filter_by(name=name).one()
        return str(own.vault.decrypt(row.ciphertext))


@pytest.mark.parametrize("mask", ["********", "•••••", "*", "●●●●"])
def test_the_mask_of_a_credential_sent_back_changes_nothing(app: Flask, api: Api, mask: str) -> None:
    made = variable(api, "KEPT", "the value")
    answer = api.patch(f"/variables/{made['id']}", json={"id": made["id"], "name": "KEPT", "value": mask})
    assert (answer.status_code, stored_value(app, "KEPT")) == (200, "the value")


def test_a_mask_does_not_open_a_credential(app: Flask, api: Api) -> None:
    made = variable(api, "KEPT", "the value")
    change = {"id": made["id"], "type": "Generic", "value": "********"}
    assert api.patch(f"/variables/{made['id']}", json=change).status_code == 404


def test_a_generic_value_may_be_stars(api: Api) -> None:
    made = variable(api, "STARS", "before", "Generic")
    assert api.patch(f"/variables/{made['id']}", json={"id": made["id"], "value": "***"}).json["value"] == "***"


def test_a_new_credential_is_no_mask(api: Api) -> None:
    body = {"name": "NEW", "value": "********", "type": "Credential", "default_fields": []}
    answer = api.post("/variables/", json=body)
    assert (answer.status_code, answer.json["detail"]) == (400, "Variable value is a mask of a value, not the value")
