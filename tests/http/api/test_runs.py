"""Running flows over HTTP, with a model provider on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL

from tests.support import flows
from tests.support.client import Api
from tests.support.provider import Provider
from tests.support.site import Page, Site, site

CREDENTIAL = "sk-the-owners-own-credential"


def store(api: Api, data: dict[str, Any], name: str = "flow") -> str:
    made = api.post("/flows/", json={"name": name, "data": data, "endpoint_name": name})
    assert made.status_code == 201, made.json
    return made.json["id"]


def with_credential(api: Api, value: str = CREDENTIAL) -> None:
    body = {"name": "OPENAI_API_KEY", "value": value, "type": "Credential", "default_fields": []}
    assert api.post("/variables/", json=body).status_code == 201


def model_flow() -> dict[str, Any]:
    return flows.chat_with_model(flows.language_model(key=flows.secret(value="OPENAI_API_KEY", variable=True)))


def text_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.json
    return answer.json["outputs"][0]["outputs"][0]["results"]["message"]["text"]


def test_a_model_is_asked_with_the_owners_credential(caller: Api, provider: Provider) -> None:
    with_credential(caller)
    store(caller, model_flow())
    assert text_of(caller.post("/run/flow", json={"input_value": "hi"})) == "You said: hi"
    assert provider.last.headers["authorization"] == f"Bearer {CREDENTIAL}"


def test_a_header_names_a_value_for_one_run(lite_caller: Api, provider: Provider) -> None:
    with_credential(lite_caller)
    store(lite_caller, model_flow())
    headers = {"X-LANGFLOW-GLOBAL-VAR-OPENAI_API_KEY": "sk-of-this-request"}
    lite_caller.post("/run/flow", json={"input_value": "hi"}, headers=headers)
    assert provider.last.headers["authorization"] == "Bearer sk-of-this-request"
    lite_caller.post("/run/flow", json={"input_value": "hi"})
    assert provider.last.headers["authorization"] == f"Bearer {CREDENTIAL}"


@pytest.fixture
def pages() -> Iterator[Site]:
    with site() as running:
        running.pages |= {"/mine": Page(b"{}"), "/theirs": Page(b"{}")}
        yield running


@pytest.mark.parametrize("stored", [True, False])
def test_no_header_says_where_a_stored_credential_goes(
    make_app: Callable[..., Flask], sqlite_url: URL, pages: Site, stored: bool
) -> None:
    api = Api.of_superuser(make_app(sqlite_url, web_allowed_hosts=(f"127.0.0.1:{pages.port}",)))
    rows = [{"key": "Authorization", "value": CREDENTIAL}]
    fields = [flows.field("url_input", "API_BASE", load_from_db=True), flows.field("headers", rows, kind="table")]
    store(
        api, flows.flow([flows.node("APIRequest-a", "APIRequest", "API", fields, {"data": "make_api_request"})], [])
    )
    if stored:
        body = {"name": "API_BASE", "value": f"{pages.url}/mine", "type": "Generic", "default_fields": []}
        assert api.post("/variables/", json=body).status_code == 201
    headers = {"X-LANGFLOW-GLOBAL-VAR-API_BASE": f"{pages.url}/theirs"}
    answer = api.post("/run/flow", json={}, headers=headers)
    assert (answer.status_code, {asked.path for asked in pages.asked}) == (
        (200, {"/mine"}) if stored else (400, set())
    )


def test_a_changed_variable_is_used_by_the_next_run(lite_caller: Api, provider: Provider) -> None:
    with_credential(lite_caller)
    store(lite_caller, model_flow())
    lite_caller.post("/run/flow", json={"input_value": "hi"})
    variable = lite_caller.get("/variables/").json[0]
    lite_caller.patch(f"/variables/{variable['id']}", json={"id": variable["id"], "value": "sk-the-next-one"})
    lite_caller.post("/run/flow", json={"input_value": "hi"})
    assert provider.last.headers["authorization"] == "Bearer sk-the-next-one"


def test_a_missing_credential_is_a_400_that_names_the_variable(lite_caller: Api, provider: Provider) -> None:
    store(lite_caller, model_flow())
    answer = lite_caller.post("/run/flow", json={"input_value": "hi"})
    assert answer.status_code == 400
    assert "OPENAI_API_KEY" in answer.json["detail"]
    assert provider.requests == []


def test_another_users_credential_is_never_used(caller: Api, provider: Provider) -> None:
    with_credential(caller)
    other = caller.new_user("somebody")
    store(other, model_flow())
    assert other.post("/run/flow", json={"input_value": "hi"}).status_code == 400
    assert provider.requests == []


def test_a_providers_refusal_is_a_502_that_names_the_component_and_no_secret(
    lite_caller: Api, provider: Provider
) -> None:
    with_credential(lite_caller)
    store(lite_caller, model_flow())
    provider.failures.append(401)
    provider.reason = f"Incorrect API key provided: {CREDENTIAL}"
    answer = lite_caller.post("/run/flow", json={"input_value": "hi"})
    assert answer.status_code == 502
    assert "Language Model" in json.loads(answer.json["detail"])["message"]
    assert CREDENTIAL not in answer.text


def test_a_flow_with_unknown_components_is_a_422_that_names_them(lite_caller: Api) -> None:
    data = flows.echo()
    data["nodes"].append(flows.node("Astra-1", "AstraDB", "Astra DB", [], {"out": "run"}))
    store(lite_caller, data)
    answer = lite_caller.post("/run/flow", json={"input_value": "hi"})
    assert answer.status_code == 422
    assert "AstraDB" in answer.json["detail"]


def test_a_new_version_of_a_flow_runs_at_once(caller: Api) -> None:
    flow_id = store(caller, flows.echo())
    assert text_of(caller.post("/run/flow", json={"input_value": "hi"})) == "hi"
    caller.patch(f"/flows/{flow_id}", json={"data": flows.prompt_chain(3)})
    assert text_of(caller.post("/run/flow", json={"input_value": "hi"})) != "hi"


def test_a_deleted_flow_is_gone_at_once(caller: Api) -> None:
    flow_id = store(caller, flows.echo())
    caller.post("/run/flow", json={"input_value": "hi"})
    caller.delete(f"/flows/{flow_id}")
    assert caller.post("/run/flow", json={"input_value": "hi"}).status_code == 404


@pytest.mark.parametrize("form", ["{}", "{{{}}}", "urn:uuid:{}"])
def test_another_users_flow_answers_like_a_missing_one(caller: Api, form: str) -> None:
    mine = store(caller, flows.echo())
    other = caller.new_user("somebody")
    identifier = form.format(mine)
    answer = other.post(f"/run/{identifier}", json={"input_value": "hi"})
    assert (answer.status_code, answer.json) == (404, {"detail": f"Flow identifier {identifier} not found"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input_value": 5}, "input_value"),
        ({"input_value": ["a"]}, "input_value"),
        ({"input_type": "bogus"}, "input_type"),
        ({"output_type": 1}, "output_type"),
        ({"tweaks": "x"}, "tweaks"),
        ({"session_id": {}}, "session_id"),
        ({"input_value": "a\x00b"}, "input_value"),
    ],
)
def test_a_wrong_value_is_a_422_that_names_the_field(lite_caller: Api, body: dict[str, Any], field: str) -> None:
    store(lite_caller, flows.echo())
    answer = lite_caller.post("/run/flow", json=body)
    assert answer.status_code == 422
    assert answer.json["detail"][0]["loc"] == ["body", field]


def test_null_counts_as_absent_and_unknown_fields_are_ignored(lite_caller: Api) -> None:
    store(lite_caller, flows.echo())
    body = {"input_value": None, "tweaks": None, "session_id": None, "inputs": {"text": ""}, "data": {"nodes": []}}
    assert text_of(lite_caller.post("/run/flow", json=body)) == "Hello"


def test_a_stream_is_framed_as_langflows_clients_parse_it(lite_caller: Api, provider: Provider) -> None:
    with_credential(lite_caller)
    model = flows.language_model(key=flows.secret(value="OPENAI_API_KEY", variable=True))
    store(lite_caller, flows.chat_with_model(model))
    answer = lite_caller.post("/run/flow?stream=true", json={"input_value": "hi"})
    assert answer.mimetype == "text/event-stream"
    frames = [json.loads(frame) for frame in answer.text.split("\n\n") if frame]
    assert answer.text.endswith("\n\n")
    assert [frame["event"] for frame in frames][-1] == "end"
    assert frames[-1]["data"]["result"]["outputs"][0]["outputs"][0]["results"]["message"]["text"] == "You said: hi"


def test_a_failure_in_a_stream_is_an_error_event(lite_caller: Api, provider: Provider) -> None:
    with_credential(lite_caller)
    store(lite_caller, model_flow())
    provider.failures.extend([400])
    answer = lite_caller.post("/run/flow?stream=true", json={"input_value": "hi"})
    last = json.loads([frame for frame in answer.text.split("\n\n") if frame][-1])
    assert last["event"] == "error"
    assert last["data"]["error"].startswith("502: ")


@pytest.mark.parametrize(
    "tweaks", [{"ChatOutput-probe": {"code": "x"}}, {"Chat Output": {"code": "x"}}, {"code": "x"}]
)
def test_a_code_tweak_is_refused_however_it_is_spelled(lite_caller: Api, tweaks: dict[str, Any]) -> None:
    store(lite_caller, flows.echo())
    answer = lite_caller.post("/run/flow", json={"tweaks": tweaks})
    assert answer.status_code == 422
    assert answer.json["detail"]["code"] == "TWEAKS_REFUSED"
    assert answer.json["detail"]["fields"] == ["code"]


def test_an_input_that_is_given_twice_is_refused(lite_caller: Api) -> None:
    store(lite_caller, flows.echo())
    body = {"input_value": "a", "tweaks": {"ChatInput-probe": {"input_value": "b"}}}
    answer = lite_caller.post("/run/flow", json=body)
    assert answer.status_code == 400
    assert answer.json["detail"].startswith("If you pass an input_value to the chat input")


def test_an_advanced_run_answers_each_input_with_its_own_output(lite_caller: Api) -> None:
    flow_id = store(lite_caller, flows.echo())
    inputs = [{"components": ["ChatInput-probe"], "input_value": text} for text in ("one", "two")]
    answer = lite_caller.post(f"/run/advanced/{flow_id}", json={"inputs": inputs, "outputs": ["Chat Output"]})
    assert answer.status_code == 200
    texts = [one["outputs"][0]["results"]["message"]["text"] for one in answer.json["outputs"]]
    assert texts == ["one", "two"]


def test_an_advanced_run_that_fails_says_so_in_plain_words(lite_caller: Api, provider: Provider) -> None:
    with_credential(lite_caller)
    store(lite_caller, model_flow())
    provider.failures.append(401)
    answer = lite_caller.post("/run/advanced/flow", json={"inputs": [{"input_value": "hi"}]})
    assert answer.status_code == 502
    assert answer.json["detail"].startswith("Error building Component Language Model: ")


@pytest.mark.parametrize(
    ("path", "status"), [("/run/flow/", 200), ("/run/advanced/flow/", 200), ("/webhook/flow/", 202)]
)
def test_a_last_slash_changes_nothing(lite_caller: Api, path: str, status: int) -> None:
    store(lite_caller, flows.echo())
    assert lite_caller.post(path, json={"input_value": "hi"}).status_code == status
    missing = lite_caller.post(path.replace("flow", "none"), json={"a": 1})
    assert (missing.status_code, missing.json) == (404, {"detail": "Flow identifier none not found"})


def test_a_webhook_is_accepted_with_the_owners_key_only(caller: Api) -> None:
    store(caller, flows.echo())
    assert caller.post("/webhook/flow", json={"a": 1}).status_code == 202
    assert caller.new_user("somebody").post("/webhook/flow", json={"a": 1}).status_code == 404
    assert Api(caller.app, None, "").post("/webhook/flow", json={"a": 1}).status_code == 403


def test_stored_code_never_runs(lite_caller: Api) -> None:
    data = flows.echo()
    for node in data["nodes"]:
        node["data"]["node"]["template"]["code"]["value"] = "raise SystemExit('executed')"
    store(lite_caller, data)
    assert text_of(lite_caller.post("/run/flow", json={"input_value": "hi"})) == "hi"


def test_a_compiled_flow_is_kept_until_it_is_changed_or_deleted(caller: Api) -> None:
    own = caller.app.extensions["keyturn"]
    ids = [store(caller, flows.echo(), name) for name in ("kept", "changed", "deleted")]
    for name in ("kept", "changed", "deleted"):
        assert text_of(caller.post(f"/run/{name}", json={"input_value": "hi"})) == "hi"
    caller.patch(f"/flows/{ids[1]}", json={"data": flows.prompt_chain(1)})
    caller.delete(f"/flows/{ids[2]}")
    own.housekeeper.flush()
    assert [str(flow_id) for flow_id, _ in own.runner._compiled] == ids[:1]
