"""Variables that fill empty fields by themselves ("Apply to fields"), over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL, event

from tests.support import flows
from tests.support.client import Api
from tests.support.provider import Provider

Json = dict[str, Any]


def store(api: Api, data: Json, name: str = "flow") -> str:
    made = api.post("/flows/", json={"name": name, "data": data, "endpoint_name": name})
    assert made.status_code == 201, made.json
    return str(made.json["id"])


def variable(api: Api, name: str, value: str, *fields: str, kind: str = "Generic") -> str:
    made = api.post("/variables/", json={"name": name, "value": value, "type": kind, "default_fields": list(fields)})
    assert made.status_code == 201, made.json
    return str(made.json["id"])


def nameless() -> Json:
    """A chat whose answer names nobody."""
    data = flows.echo()
    data["nodes"][-1]["data"]["node"]["template"]["sender_name"]["value"] = ""
    return data


def keyless() -> Json:
    """A chat with a model, as an export without keys has it."""
    return flows.chat_with_model(flows.language_model(key=flows.secret() | {"display_name": "OpenAI API Key"}))


def run(api: Api, flow: str = "flow", **more: Any) -> Any:
    return api.post(f"/run/{flow}", json={"input_value": "hi", **more.pop("body", {})}, **more)


def sender(answer: Any) -> str:
    assert answer.status_code == 200, answer.json
    return str(answer.json["outputs"][0]["outputs"][0]["results"]["message"]["sender_name"])


def explained(api: Api, flow: str = "flow") -> list[Json]:
    return list(api.get("/variables/explain", query_string={"flow": flow}).json)


def test_a_variable_fills_the_empty_fields_that_it_lists(mine: Api) -> None:
    store(mine, nameless())
    variable(mine, "NAME", "Robo", "Sender Name")
    assert sender(run(mine)) == "Robo"


def test_a_credential_fills_an_empty_key(caller: Api, provider: Provider) -> None:
    store(caller, keyless())
    variable(caller, "MYKEY", "sk-of-the-owner", "OpenAI API Key", kind="Credential")
    answer = run(caller)
    assert (answer.status_code, "sk-of-the-owner" in answer.text) == (200, False)
    assert provider.last.headers["authorization"] == "Bearer sk-of-the-owner"


def test_a_stored_value_stays(mine: Api) -> None:
    store(mine, flows.echo())
    variable(mine, "NAME", "Robo", "Sender Name")
    assert sender(run(mine)) == "AI"


def test_a_header_wins_over_the_variable_that_fills(mine: Api) -> None:
    store(mine, nameless())
    variable(mine, "NAME", "Robo", "Sender Name")
    assert sender(run(mine, headers={"X-LANGFLOW-GLOBAL-VAR-NAME": "Sent"})) == "Sent"


def test_a_tweak_wins_over_the_variable_that_fills(mine: Api) -> None:
    store(mine, nameless())
    variable(mine, "NAME", "Robo", "Sender Name")
    assert sender(run(mine, body={"tweaks": {"Chat Output": {"sender_name": "Mine"}}})) == "Mine"


@pytest.mark.parametrize("names", [("A", "B"), ("B", "A")])
def test_of_two_that_list_a_field_the_last_by_name_fills_it(mine: Api, names: tuple[str, str]) -> None:
    store(mine, nameless())
    for name in names:
        variable(mine, name, name.lower(), "Sender Name")
    assert sender(run(mine)) == "b"


def test_a_credential_does_not_fill_a_field_that_shows_it(mine: Api) -> None:
    store(mine, nameless())
    variable(mine, "SECRET", "canary", "Sender Name", kind="Credential")
    answer = run(mine)
    assert (sender(answer), "canary" in answer.text) == ("", False)


def test_another_variable_fills_it_then(mine: Api) -> None:
    store(mine, nameless())
    variable(mine, "Z_SECRET", "canary", "Sender Name", kind="Credential")
    variable(mine, "NAME", "Robo", "Sender Name")
    assert sender(run(mine)) == "Robo"


def test_another_users_variable_fills_nothing(mine: Api, theirs: Api) -> None:
    store(mine, nameless())
    variable(theirs, "NAME", "Robo", "Sender Name")
    assert sender(run(mine)) == ""


def test_what_is_changed_counts_for_the_next_run(mine: Api) -> None:
    store(mine, nameless())
    assert sender(run(mine)) == ""
    made = variable(mine, "NAME", "Robo", "Sender Name")
    assert sender(run(mine)) == "Robo"
    mine.patch(f"/variables/{made}", json={"id": made, "default_fields": ["Another"]})
    assert sender(run(mine)) == ""
    mine.patch(f"/variables/{made}", json={"id": made, "default_fields": ["Sender Name"], "value": "Next"})
    assert sender(run(mine)) == "Next"
    mine.delete(f"/variables/{made}")
    assert sender(run(mine)) == ""


def test_the_flows_that_a_flow_runs_are_filled_too(mine: Api) -> None:
    inner = flows.flow([flows.text_input(display_name="Greeting"), flows.text_output()], [])
    inner["edges"] = [flows.edge(inner["nodes"][0], "text", inner["nodes"][1], "input_value")]
    store(mine, inner, "inner")
    store(mine, flows.running_another("inner"), "outer")
    variable(mine, "GREETING", "good morning", "Greeting")
    assert "good morning" in run(mine, "outer").text


def test_a_job_is_filled_too(mine: Api) -> None:
    store(mine, keyless())
    answer = run(mine, body={"background": True})
    assert (answer.status_code, "OPENAI_API_KEY" in answer.text) == (400, True)
    variable(mine, "MYKEY", "sk-of-the-owner", "OpenAI API Key", kind="Credential")
    assert run(mine, body={"background": True}).status_code == 202


@contextmanager
def statements(app: Flask) -> Iterator[list[str]]:
    """The statements of the requests within, those of look-ups and of logs apart."""
    said: list[str] = []

    def note(*args: Any) -> None:
        said.append(args[2])

    engine = app.extensions["keyturn"].engine
    event.listen(engine, "before_cursor_execute", note)
    yield said
    event.remove(engine, "before_cursor_execute", note)


def reads(said: list[str]) -> int:
    return sum(" FROM variable" in one.replace("\n", " ") for one in said)


def test_who_has_no_variable_that_fills_is_not_asked(mine: Api) -> None:
    store(mine, nameless())
    variable(mine, "NAME", "Robo")
    run(mine)
    with statements(mine.app) as said:
        assert sender(run(mine)) == ""
    assert reads(said) == 0


def test_what_fills_and_what_is_asked_for_is_read_at_once(caller: Api) -> None:
    data = keyless()
    data["nodes"][-1]["data"]["node"]["template"]["sender_name"] |= {"value": "NAME", "load_from_db": True}
    store(caller, data)
    variable(caller, "NAME", "Robo")
    variable(caller, "MYKEY", "sk-1", "OpenAI API Key", kind="Credential")
    run(caller)
    with statements(caller.app) as said:
        assert sender(run(caller)) == "Robo"
    assert reads(said) == 1


def test_langflow_1_5_fills_in_its_editor_alone(make_app: Callable[..., Flask], database_url: URL) -> None:
    api = Api.of_superuser(make_app(database_url, langflow_version="1.5.1"))
    store(api, nameless())
    variable(api, "NAME", "Robo", "Sender Name")
    assert sender(run(api)) == ""
    assert explained(api) == []


def test_it_is_explained(mine: Api) -> None:
    store(mine, keyless())
    variable(mine, "MYKEY", "canary-value", "OpenAI API Key", kind="Credential")
    (found,) = explained(mine)
    assert found | {"node_id": ""} == {
        "node_id": "", "component": "Language Model", "field": "api_key", "variable": "MYKEY", "type": "Credential",
        "source": "user", "header": "X-LANGFLOW-GLOBAL-VAR-MYKEY", "required": True, "problem": None,
    }  # fmt: skip


def test_a_credential_that_is_kept_out_is_explained(mine: Api) -> None:
    store(mine, nameless())
    variable(mine, "SECRET", "canary", "Sender Name", kind="Credential")
    (found,) = explained(mine)
    assert (found["field"], found["variable"], found["required"]) == ("sender_name", "SECRET", False)
    assert "would show a Credential" in found["problem"]
