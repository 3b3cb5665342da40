"""``POST /responses``: flows for the clients of OpenAI's Responses API, held against the official SDK's models."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.families.routes import forms_of
from tests.http.api.test_key_rights import CARRIERS, limited
from tests.http.api.test_key_rights import ask as ask_by
from tests.http.api.test_runs import model_flow, store, with_credential
from tests.support import flows
from tests.support.client import Api
from tests.support.openai_events import checked_response
from tests.support.provider import USAGE, Provider

PATHS = ("/api/v1/responses", "/v1/responses")
WITH_TOOL = 'please\n!tool evaluate_expression {"expression": "6*7"}'


def ask(
    api: Api, says: object = "Hello", path: str = "/v1/responses", model: str = "flow", **body: Any
) -> TestResponse:
    return api.post(path, json={"model": model, "input": says, **body})


def error_of(answer: TestResponse) -> dict[str, Any]:
    assert set(answer.json) == {"error"}, answer.json
    error = answer.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return dict(error)


def echo(api: Api, name: str = "flow") -> str:
    return store(api, flows.echo(), name)


def last_request(api: Api, provider: Provider, *texts: str) -> list[str]:
    """Have a conversation of several turns with the flow; what the model was sent in the last one."""
    previous = None
    for text in texts:
        answer = ask(api, text, previous_response_id=previous)
        assert answer.status_code == 200, answer.json
        previous = answer.json["id"]
    return [turn["content"] for turn in provider.last.body["messages"] if turn["role"] != "system"]


@pytest.mark.parametrize("path", PATHS)
def test_a_flow_answers_in_the_sdks_shape(mine: Api, path: str) -> None:
    echo(mine)
    answer = ask(mine, path=path)
    response = checked_response(answer.json)
    assert (response.output_text, response.status, response.model) == ("Hello", "completed", "flow")


def test_usage_is_what_the_model_has_used(lite_caller: Api) -> None:
    with_credential(lite_caller)
    store(lite_caller, model_flow())
    usage = checked_response(ask(lite_caller).json).usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == tuple(USAGE.values())


def test_usage_is_null_where_nobody_told(mine: Api) -> None:
    echo(mine)
    assert ask(mine).json["usage"] is None


def test_a_flow_is_found_by_any_spelling_of_its_id(mine: Api) -> None:
    for spelling in forms_of(echo(mine)):
        assert ask(mine, model=spelling).status_code == 200


def test_metadata_comes_back(mine: Api) -> None:
    echo(mine)
    assert ask(mine, metadata={"ticket": "7"}).json["metadata"] == {"ticket": "7"}


def test_what_the_flow_decides_about_may_be_sent(mine: Api) -> None:
    echo(mine)
    ignored = {"temperature": 0.5, "instructions": "Be brief.", "tools": [], "store": True, "background": False,
               "text": {"format": {"type": "text"}}, "reasoning": {"effort": "low"}, "user": None}  # fmt: skip
    assert ask(mine, **ignored).status_code == 200


ITEMS: dict[str, tuple[list[Any], str]] = {
    "a text": ([{"role": "user", "content": "Hello"}], "Hello"),
    "parts": ([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}], "Hello"),
    "two parts": (
        [{"role": "user", "content": [{"type": "input_text", "text": "Hello"},
                                      {"type": "input_text", "text": "World"}]}],
        "Hello\nWorld",
    ),
    "a conversation": (
        [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "No"},
         {"role": "assistant", "content": [{"type": "output_text", "text": "Yes"}]},
         {"role": "user", "content": "Hello"}],
        "Hello",
    ),
    "a conversation with a tool": (
        [{"role": "user", "content": "No"}, {"type": "function_call_output", "call_id": "c", "output": "42"},
         {"role": "user", "content": "Hello"}],
        "Hello",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("items", "said"), ITEMS.values(), ids=ITEMS.keys())
def test_a_list_of_messages_says_what_its_last_one_of_the_user_says(mine: Api, items: list[Any], said: str) -> None:
    echo(mine)
    assert checked_response(ask(mine, items).json).output_text == said


def test_a_header_names_a_value_for_one_run(lite_caller: Api, provider: Provider) -> None:
    store(lite_caller, model_flow())
    headers = {"X-LANGFLOW-GLOBAL-VAR-OPENAI_API_KEY": "sk-of-this-request"}
    lite_caller.post("/v1/responses", json={"model": "flow", "input": "hi"}, headers=headers)
    assert provider.last.headers["authorization"] == "Bearer sk-of-this-request"


# Tools of the flow


def test_a_tool_that_the_flow_has_used_is_a_function_call_before_the_message(lite_caller: Api) -> None:
    with_credential(lite_caller)
    store(lite_caller, flows.agent_with_calculator())
    call, message = checked_response(ask(lite_caller, WITH_TOOL).json).output
    assert (call.type, call.name, json.loads(call.arguments)) == (
        "function_call", "evaluate_expression", {"expression": "6*7"}
    )  # fmt: skip
    assert message.content[0].text == 'Tool said: {"result": "42"}'


def test_results_of_tools_come_in_langflows_shape_where_they_are_asked_for(lite_caller: Api) -> None:
    with_credential(lite_caller)
    store(lite_caller, flows.agent_with_calculator())
    call = ask(lite_caller, WITH_TOOL, include=["tool_call.results"]).json["output"][0]
    assert {name: call[name] for name in ("type", "status", "tool_name", "queries", "results")} == {
        "type": "tool_call", "status": "completed", "tool_name": "evaluate_expression", "queries": ["6*7"],
        "results": {"result": "42"},
    }  # fmt: skip


def test_a_tool_that_has_failed_says_so(lite_caller: Api) -> None:
    with_credential(lite_caller)
    store(lite_caller, flows.agent_with_calculator())
    failing = 'please\n!tool nothing {"a": 1}'
    call = checked_response(ask(lite_caller, failing).json).output[0]
    assert (call.status, "There is no tool nothing" in call.error) == ("incomplete", True)
    shown = ask(lite_caller, failing, include=["tool_call.results"]).json["output"][0]
    assert (shown["status"], shown["results"]) == ("failed", [])


# Conversations


def test_a_conversation_goes_on_by_the_id_of_its_last_response(caller: Api, provider: Provider) -> None:
    with_credential(caller)
    store(caller, flows.agent_with_calculator())
    assert last_request(caller, provider, "I am Ada.", "Who am I?") == [
        "I am Ada.",
        "You said: I am Ada.",
        "Who am I?",
    ]


def test_without_an_id_a_conversation_is_new(lite_caller: Api, provider: Provider) -> None:
    with_credential(lite_caller)
    store(lite_caller, flows.agent_with_calculator())
    last_request(lite_caller, provider, "I am Ada.")
    assert last_request(lite_caller, provider, "Who am I?") == ["Who am I?"]


def test_each_response_has_an_id_of_its_own_and_says_which_one_it_follows(mine: Api) -> None:
    echo(mine)
    first = ask(mine).json
    second = ask(mine, previous_response_id=first["id"]).json
    assert (second["id"] != first["id"], second["previous_response_id"]) == (True, first["id"])


def test_a_session_may_have_a_name_of_the_callers(mine: Api) -> None:
    flow_id = echo(mine)
    first = ask(mine, "one", previous_response_id="session-ada").json
    ask(mine, "two", previous_response_id=first["id"])
    shown = mine.get("/monitor/messages", query_string={"flow_id": flow_id, "session_id": "session-ada"}).json
    assert [line["text"] for line in shown if line["sender"] == "User"] == ["one", "two"]


def test_the_id_of_somebody_elses_response_continues_nothing_of_theirs(caller: Api, provider: Provider) -> None:
    other = caller.new_user("other")
    for api in (caller, other):
        with_credential(api)
        store(api, flows.agent_with_calculator())
    theirs = ask(caller, "The secret is 1234.").json["id"]
    answer = ask(other, "What is the secret?", previous_response_id=theirs)
    sent = [turn["content"] for turn in provider.last.body["messages"]]
    assert (answer.status_code, sent[1:]) == (200, ["What is the secret?"])
    session_id = theirs.rpartition("_")[2]
    shown = caller.get("/monitor/messages", query_string={"session_id": session_id}).json
    assert [line["text"] for line in shown] == ["The secret is 1234.", "You said: The secret is 1234."]


def test_a_session_with_a_name_of_no_sensible_length_is_refused(mine: Api) -> None:
    echo(mine)
    answer = ask(mine, previous_response_id="s" * 300)
    assert (answer.status_code, error_of(answer)["param"]) == (400, "previous_response_id")


# Whose flows


@pytest.mark.parametrize("path", PATHS)
def test_somebody_elses_flow_is_answered_like_one_that_never_existed(mine: Api, theirs: Api, path: str) -> None:
    name = f"n{uuid.uuid4().hex}"
    flow_id = echo(theirs, name)
    never = ask(mine, path=path, model=str(uuid.uuid4()))
    assert (never.status_code, error_of(never)["code"], error_of(never)["param"]) == (404, "model_not_found", "model")
    for spelling in (*forms_of(flow_id), name):
        answer = ask(mine, path=path, model=spelling)
        assert (answer.status_code, answer.json) == (never.status_code, never.json)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_key_for_some_flows_runs_no_others(mine: Api, carrier: str) -> None:
    allowed, other = echo(mine, "allowed"), echo(mine, "other")
    key = limited(mine, flows=[allowed])
    for model, status in ((allowed, 200), ("allowed", 200), (other, 404), ("other", 404), (other.upper(), 404)):
        body = {"model": model, "input": "Hello"}
        assert ask_by(key, carrier, "POST", "/responses", json=body).status_code == status


def test_a_key_that_may_not_run_is_refused(mine: Api) -> None:
    echo(mine)
    answer = ask(limited(mine, scopes=["read"]))
    assert (answer.status_code, error_of(answer)["code"]) == (403, "permission_denied")


def test_null_in_an_option_counts_as_absent(caller: Api) -> None:
    echo(caller)
    answer = ask(caller, text={"format": None})
    assert answer.status_code == 200, answer.json
