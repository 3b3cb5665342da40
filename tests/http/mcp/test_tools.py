"""Tools as they are listed and called: names, arguments, what comes back, and what runs at once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL

from service.domain import mcp as tools
from service.domain import mcp_shapes
from service.engine.component import Setting
from service.engine.graph import parse
from service.engine.tweaks import setting
from tests.http.mcp.conftest import HIDDEN, PUBLIC, Owner, store
from tests.support import flows
from tests.support.client import Api
from tests.support.mcp import BOTH, STRANGER, Mcp, events_of, request_of
from tests.support.provider import Provider

KEY = {"name": "OPENAI_API_KEY", "value": "sk-of-nobody", "type": "Credential", "default_fields": []}
TOKEN = {"_meta": {"progressToken": "p"}}


@pytest.fixture
def app(make_app: Callable[..., Flask], sqlite_url: URL, provider: Provider) -> Flask:
    """A server whose models are on loopback."""
    return make_app(sqlite_url, openai_base_url=provider.url)


@pytest.fixture
def api(app: Flask) -> Api:
    """Somebody with a model behind the public tool "chat"."""
    caller = Api.of_superuser(app)
    assert caller.post("/variables/", json=KEY).status_code == 201
    store(caller, "chat", flows.chat_with_model(), **PUBLIC)
    return caller


@pytest.mark.parametrize(("name", "expected"), [
    ("My Flow", "my_flow"),
    ("  Résumé, Maker (v2)! ", "resume_maker_v2"), ("7 steps", "_7_steps"), ("a--b__c", "a_b_c"),
    ("x" * 50, "x" * 30), ("流程", "unnamed"), ("🚀", "unnamed"), ("ALL CAPS", "all_caps"), ("a;b\nc", "ab_c"),
])  # fmt: skip
def test_a_name_is_made_of_what_every_model_provider_takes(name: str, expected: str) -> None:
    assert tools.tool_name(name) == expected


def test_the_action_name_wins_over_the_flows_own(owner: Owner) -> None:
    store(owner.api, "one", action_name="Other Name", **HIDDEN)
    assert "other_name" in owner.mcp().tools()


def test_a_taken_name_gets_a_number_and_the_older_flow_keeps_its_name(owner: Owner) -> None:
    first = store(owner.api, "Same name", **HIDDEN)
    long = "a" * 40
    for name in ("same_name", "Same-Name"):
        store(owner.api, name, **HIDDEN)
    for name in (long, f"{long}b"):
        store(owner.api, name, action_name=long, **HIDDEN)
    assert owner.mcp().tools()[2:] == ["same_name", "same_name_1", "same_name_2", "a" * 30, "a" * 28 + "_1"]
    owner.api.patch(f"/flows/{first['id']}", json={"description": "changed"})
    assert owner.mcp().tools()[2] == "same_name"


@pytest.mark.parametrize(("fields", "expected"), [
    ({}, "Tool generated from flow: said"), ({"description": "A flow."}, "A flow."),
    ({"description": "A flow.", "action_description": "A tool."}, "A tool."),
    ({"description": "x" * 9000}, "x" * 4000),
])  # fmt: skip
def test_a_tool_is_described_by_its_settings_or_its_flow(owner: Owner, fields: dict[str, str], expected: str) -> None:
    store(owner.api, "said", **HIDDEN, **fields)
    assert owner.mcp().ask("tools/list")["tools"][-1]["description"] == expected


def test_the_arguments_are_what_the_form_of_the_input_shows() -> None:
    start = flows.chat_input()
    for name in ("should_store_message", "sender", "sender_name", "session_id", "context_id", "files"):
        start["data"]["node"]["template"][name]["advanced"] = True
    schema = mcp_shapes.shape_of(flows.flow([start, flows.chat_output()], [])).schema
    assert list(schema["properties"]) == ["input_value", "session_id"]
    assert (schema["type"], schema["required"]) == ("object", [])


def test_where_the_author_has_marked_fields_only_those_are_arguments() -> None:
    start = flows.chat_input()
    start["data"]["node"]["template"]["sender_name"]["api_editable"] = True
    shape = mcp_shapes.shape_of(flows.flow([start], []))
    assert list(shape.schema["properties"]) == ["input_value", "sender_name", "session_id"]


@pytest.mark.parametrize("data", [
    None, [], {}, {"nodes": 1}, {"nodes": [1, None, {}]}, {"nodes": [{"data": {"type": "ChatInput", "node": 1}}]},
    {"nodes": [{"data": {"type": "ChatInput", "node": {"template": {"a": 1, "b": {"show": True, "type": []}}}}}]},
    {"nodes": [{"data": {"type": ["ChatInput"]}}]},
], ids=str)  # fmt: skip
def test_a_graph_of_any_form_has_a_shape(data: Any) -> None:
    assert "session_id" in mcp_shapes.shape_of(data).schema["properties"]


def test_a_changed_flow_has_its_new_arguments_at_once(owner: Owner) -> None:
    made = store(owner.api, "changing", flows.flow([flows.text_input()], []), **HIDDEN)
    before = owner.mcp().ask("tools/list")["tools"][-1]["inputSchema"]["properties"]
    owner.api.patch(f"/flows/{made['id']}", json={"data": flows.echo()})
    after = owner.mcp().ask("tools/list")["tools"][-1]["inputSchema"]["properties"]
    assert ("sender" in before, "sender" in after) == (False, True)


def test_many_tools_come_in_pages(owner: Owner) -> None:
    bodies = {"flows": [{"name": f"t{at}", "data": flows.echo(), "mcp_enabled": True} for at in range(101)]}
    assert owner.api.post("/flows/batch/", json=bodies).status_code == 201
    first = owner.mcp().ask("tools/list")
    second = owner.mcp().ask("tools/list", {"cursor": first["nextCursor"]})
    assert (len(first["tools"]), len(second["tools"]), "nextCursor" in second) == (100, 3, False)


def test_an_input_reaches_the_flow_and_its_text_comes_back(owner: Owner) -> None:
    store(owner.api, "echo", **HIDDEN)
    assert owner.mcp().said("echo", {"input_value": "Grüße, 世界"}) == (False, "Grüße, 世界")


def test_an_input_reaches_a_flow_whose_only_input_is_a_text(owner: Owner) -> None:
    start, end = flows.text_input(), flows.text_output()
    store(owner.api, "plain", flows.flow([start, end], [flows.edge(start, "text", end, "input_value")]), **HIDDEN)
    assert owner.mcp().said("plain", {"input_value": "Hello"}) == (False, "Hello")


def test_each_text_comes_back_once() -> None:
    results = {"message": {"text": "same"}, "data": {"a": 1}, "plain": "same"}
    outputs = [{"outputs": [{"messages": [{"message": "same"}], "results": results}]}]
    assert tools.texts_of(outputs, repr) == ["same", "{'a': 1}"]


def test_a_text_of_several_lines_comes_back_once_and_as_it_was(owner: Owner) -> None:
    store(owner.api, "echo", **HIDDEN)
    content = owner.mcp().call("echo", {"input_value": "one\ntwo\n\nthree"})["content"]
    assert [item["text"] for item in content] == ["one\ntwo\n\nthree"]


def test_an_argument_that_the_tool_lists_sets_the_components_field(owner: Owner) -> None:
    store(owner.api, "echo", **PUBLIC)
    caller = Mcp(owner.api.app, path=f"/api/v1/mcp/project/{owner.project}/streamable")
    session = f"public-{uuid.uuid4()}"
    caller.call("echo", {"input_value": "a", "sender_name": "Ada", "session_id": session.removeprefix("public-")})
    assert "Ada" in [line["sender_name"] for line in said_in(owner.api, session)]


@pytest.mark.parametrize("who", ["stranger", "key holder"])
def test_an_argument_is_a_value_and_names_no_variable(owner: Owner, who: str) -> None:
    store(owner.api, "echo", **PUBLIC)
    note = {"name": "NOTE", "value": "of the owner", "type": "Generic", "default_fields": []}
    assert owner.api.post("/variables/", json=note).status_code == 201
    path = f"/api/v1/mcp/project/{owner.project}/streamable"
    caller = owner.mcp(path) if who == "key holder" else Mcp(owner.api.app, path=path, address=STRANGER)
    said = caller.said("echo", {"input_value": "a", "sender_name": {"value": "NOTE", "load_from_db": True}})
    assert said == (True, "Error executing the echo tool. Error: sender_name has to be a string")


def offering(*fields: dict[str, Any]) -> dict[str, Any]:
    """A flow with Chat Inputs of which each offers one of the fields."""
    nodes = [flows.chat_input(f"ChatInput-{at}") for at in range(len(fields))]
    for one, field in zip(nodes, fields, strict=True):
        one["data"]["node"]["template"]["extra"] = field
    return flows.flow(nodes, [])


def asked(data: dict[str, Any], value: object) -> dict[str, Any]:
    """The tweaks that the argument ``extra`` becomes."""
    arguments = {"extra": value}
    return dict(tools.request_of(mcp_shapes.shape_of(data), arguments, tools.Audience(None), stream=False).tweaks)


@pytest.mark.parametrize(("kind", "more", "good", "bad"), [
    ("str", {}, ["", "text"], [1, True, ["text"], {"value": "x"}]),
    ("int", {}, [1, 2.0], ["1", 1.5, True, [1]]), ("float", {}, [1, 1.5], ["1", False]),
    ("bool", {}, [True, False], [0, "true"]), ("dict", {}, [{}, {"a": 1}], ["{}", [{}]]),
    ("str", {"list": True}, [[], ["a", "b"]], ["a", ["a", 1], [["a"]], [{"value": "x"}]]),
    ("table", {}, [[{"a": 1}]], [{"a": 1}, ["a"]]), ("new in 2.0", {}, ["text"], [{}]),
])  # fmt: skip
def test_an_argument_is_of_the_type_that_the_tool_lists(
    kind: str, more: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    data = offering(flows.field("extra", kind=kind, **more))
    for value in good:
        assert asked(data, value) == {"ChatInput-0": {"extra": {"value": value}}}
    for value in bad:
        with pytest.raises(tools.ArgumentInvalid, match="extra has to be"):
            asked(data, value)


def test_a_null_is_as_good_as_absent() -> None:
    assert asked(offering(flows.field("extra", kind="int")), None) == {}


def test_where_two_inputs_differ_in_the_type_of_an_argument_it_has_to_fit_both() -> None:
    text, record = flows.field("extra"), flows.field("extra", kind="dict")
    for data in (offering(text, record), offering(record, text)):
        with pytest.raises(tools.ArgumentInvalid):
            asked(data, {"value": "NOTE", "load_from_db": True})


@pytest.mark.parametrize("kind", ["dict", "NestedDict"])
@pytest.mark.parametrize("value", [{"value": {"a": 1}}, {"value": "NOTE", "load_from_db": True}, {"a": 1}])
def test_an_object_is_a_value_even_if_it_looks_like_the_settings_of_a_field(kind: str, value: Any) -> None:
    data = offering(flows.field("extra", kind=kind))
    stored = parse(data, max_nodes=9).nodes[0].fields["extra"]
    assert setting(stored, asked(data, value)["ChatInput-0"]["extra"]) == Setting(value)


def test_another_argument_of_a_key_holder_is_a_tweak(owner: Owner) -> None:
    store(owner.api, "echo", **HIDDEN)
    arguments = {"ChatOutput-probe": {"sender_name": "Ada"}, "session_id": f"s{uuid.uuid4()}"}
    owner.mcp().call("echo", arguments)
    assert "Ada" in [line["sender_name"] for line in said_in(owner.api, arguments["session_id"])]


def test_another_argument_of_nobody_in_particular_counts_for_nothing(owner: Owner) -> None:
    store(owner.api, "echo", **PUBLIC)
    session = str(uuid.uuid4())
    arguments = {"ChatOutput-probe": {"sender_name": "Ada"}, "session_id": session}
    Mcp(owner.api.app, path=f"/api/v1/mcp/project/{owner.project}/streamable").call("echo", arguments)
    assert "Ada" not in [line["sender_name"] for line in said_in(owner.api, f"public-{session}")]


def test_a_tweak_that_only_the_author_may_set_is_refused(owner: Owner) -> None:
    store(owner.api, "echo", **HIDDEN)
    failed, text = owner.mcp().said("echo", {"ChatInput-probe": {"code": "raise SystemExit"}})
    assert failed
    assert "protected" in text


def test_a_conversation_of_nobody_in_particular_is_apart_from_those_with_a_key(owner: Owner) -> None:
    store(owner.api, "echo", **PUBLIC)
    session = f"s{uuid.uuid4()}"
    Mcp(owner.api.app, path=f"/api/v1/mcp/project/{owner.project}/streamable").call(
        "echo", {"input_value": "from a stranger", "session_id": session}
    )
    assert said_in(owner.api, session) == []
    assert len(said_in(owner.api, f"public-{session}")) == 2


def test_a_call_without_a_session_has_one_of_its_own(owner: Owner) -> None:
    flow = store(owner.api, "echo", **HIDDEN)
    for _ in range(2):
        owner.mcp().call("echo", {"input_value": "a"})
    owner.api.app.extensions["keyturn"].messages.flush()
    assert len(owner.api.get("/monitor/messages/sessions", query_string={"flow_id": flow["id"]}).json) == 2


@pytest.mark.parametrize("arguments", [
    {"input_value": 1}, {"input_value": ["a"]}, {"session_id": {}}, {"session_id": "x" * 201},
    {"input_value": "x" * 1_000_001}, {"input_value": "a\x00"}, {"session_id": "\x00"},
], ids=lambda arguments: str(arguments)[:30])  # fmt: skip
def test_an_argument_of_the_wrong_form_is_an_error_that_a_model_can_read(owner: Owner, arguments: Any) -> None:
    assert owner.mcp().said(owner.mcp().tools()[0], arguments)[0]


def test_half_of_a_surrogate_pair_is_refused(owner: Owner) -> None:
    message = request_of("tools/call", {"name": owner.mcp().tools()[0], "arguments": {"input_value": "HALF"}})
    body = json.dumps(message).replace("HALF", "\\ud800")
    answer = owner.api.post("/mcp/streamable", data=body, content_type="application/json")
    assert answer.json["result"]["isError"]


def test_a_failed_run_is_an_error_with_its_reason_and_nothing_else(api: Api, provider: Provider) -> None:
    provider.failures.append(400)
    failed, text = Mcp(api.app, api.key).said("chat", {"input_value": "Hello"})
    assert failed
    assert text.startswith("Error executing the chat tool. Error: ")
    assert provider.reason in text
    assert not any(word in text for word in ("Traceback", "sk-of-nobody", provider.url))


def test_a_stranger_is_not_told_what_the_provider_said(api: Api, provider: Provider) -> None:
    provider.failures.append(400)
    failed, text = Mcp(api.app, address=STRANGER).said("chat", {"input_value": "Hello"})
    assert (failed, provider.reason in text) == (True, False)


def test_progress_grows_and_the_answer_comes_last(api: Api, provider: Provider) -> None:
    provider.pieces = ("one ", "two ", "three")
    answer = Mcp(api.app, api.key).post(
        request_of("tools/call", {"name": "chat", "arguments": {"input_value": "Hello"}, **TOKEN}, "seven"),
        headers={"Accept": BOTH},
    )
    *progress, last = events_of(answer)
    assert answer.mimetype == "text/event-stream"
    assert {one["method"] for one in progress} == {"notifications/progress"}
    numbers = [one["params"]["progress"] for one in progress]
    assert numbers == sorted(set(numbers))
    assert {one["params"]["progressToken"] for one in progress} == {"p"}
    assert (last["id"], last["result"]["content"][0]["text"]) == ("seven", "one two three")


def test_there_is_no_progress_for_whoever_did_not_ask(owner: Owner) -> None:
    store(owner.api, "echo", **HIDDEN)
    answer = owner.mcp().post(request_of("tools/call", {"name": "echo"}), headers={"Accept": BOTH})
    assert [one["id"] for one in events_of(answer)] == [1]


def test_a_client_that_goes_away_ends_the_providers_stream(api: Api, provider: Provider) -> None:
    answer = begin_long(Mcp(api.app, api.key), provider)
    answer.close()
    provider.go_on.set()
    assert provider.abandoned.wait(10)


def test_a_cancelled_call_ends_without_an_answer_on_whichever_worker_it_runs(
    api: Api, provider: Provider, make_app: Callable[..., Flask], sqlite_url: URL
) -> None:
    elsewhere = Mcp(make_app(sqlite_url), api.key)
    session = {"Mcp-Session-Id": "one"}
    answer = begin_long(Mcp(api.app, api.key), provider, **session)
    elsewhere.post(request_of("notifications/cancelled", {"requestId": 5}, None), headers=session)
    assert [one for one in events_of(answer) if "id" in one] == []
    provider.go_on.set()
    assert provider.abandoned.wait(10)


def test_a_cancelled_call_that_is_not_streamed_says_so(api: Api, provider: Provider) -> None:
    provider.go_on.clear()
    session = {"Mcp-Session-Id": "one"}
    message = request_of("tools/call", {"name": "chat", "arguments": {"input_value": "Hello"}, **TOKEN}, 5)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(Mcp(api.app, api.key).post, message, headers=session)
        assert provider.arrived.wait(10)
        Mcp(api.app, api.key).post(request_of("notifications/cancelled", {"requestId": 5}, None), headers=session)
        error = answer.result(20).json["error"]
    assert (error["code"], error["message"]) == (-32000, "The request was cancelled")


def test_a_failure_of_the_server_has_the_requests_id(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "tools_of", lambda *_: 1 / 0)
    error = {"code": -32603, "message": "Internal error"}
    for headers in ({}, {"Accept": BOTH}):
        for method in ("tools/list", "tools/call"):
            answer = Mcp(api.app, api.key).post(request_of(method, {"name": "chat"}, "seven"), headers=headers)
            assert answer.json == {"jsonrpc": "2.0", "id": "seven", "error": error}


@pytest.mark.parametrize(("caller", "session", "number"), [
    ("key", "other", 5), ("key", "one", "5"), ("key", "one", 6), ("stranger", "one", 5), ("other key", "one", 5),
    ("key", None, 5),
])  # fmt: skip
def test_nobody_cancels_a_call_that_is_not_theirs(
    api: Api, provider: Provider, caller: str, session: str | None, number: Any
) -> None:
    provider.go_on.clear()
    answer = begin(Mcp(api.app, api.key), number=5, **{"Mcp-Session-Id": "one"})
    assert provider.arrived.wait(10)
    other = api.post("/api_key/", json={"name": "other"}).json["api_key"]
    key = {"key": api.key, "stranger": None, "other key": other}[caller]
    headers = {"Mcp-Session-Id": session} if session else {}
    Mcp(api.app, key).post(request_of("notifications/cancelled", {"requestId": number}, None), headers=headers)
    provider.go_on.set()
    assert [one["id"] for one in events_of(answer) if "id" in one] == [5]


def test_a_call_leaves_no_row_behind(api: Api) -> None:
    own = api.app.extensions["keyturn"]
    assert events_of(begin(Mcp(api.app, api.key), **{"Mcp-Session-Id": "one"}))[-1]["id"] == 1
    with own.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM mcp_call").scalar() == 0


def test_the_runs_of_a_key_at_once_are_held_to_their_number(api: Api, provider: Provider) -> None:
    provider.go_on.clear()
    made = api.post("/api_key/", json={"name": "one at once", "max_parallel_runs": 1}).json["api_key"]
    answer = begin(Mcp(api.app, made))
    assert provider.arrived.wait(10)
    failed, text = Mcp(api.app, made).said("chat")
    answer.close()
    assert failed
    assert "as many runs going on as it may" in text


def test_strangers_occupy_a_part_of_a_worker_and_one_address_half_of_that(api: Api, provider: Provider) -> None:
    provider.go_on.clear()
    addresses = ["203.0.113.1", "203.0.113.1", "203.0.113.2", "203.0.113.2"]
    opened = []
    for number, address in enumerate(addresses):
        opened.append(begin(Mcp(api.app, address=address), number=number))
        if number == 1:
            assert Mcp(api.app, address=address).said("chat")[0]
    assert Mcp(api.app, address="203.0.113.3").said("chat")[0]
    provider.go_on.set()
    assert [events_of(answer)[-1]["result"]["isError"] for answer in opened] == [False] * 4
    assert Mcp(api.app, address="203.0.113.3").said("chat", {"input_value": "a"}) == (False, "You said: a")


def test_strangers_do_not_keep_key_holders_out(api: Api, provider: Provider) -> None:
    provider.go_on.clear()
    opened = [begin(Mcp(api.app, address=f"203.0.113.{number}"), number=number) for number in range(4)]
    answer = begin(Mcp(api.app, api.key))
    provider.go_on.set()
    assert [events_of(one)[-1]["result"]["isError"] for one in (*opened, answer)] == [False] * 5


def begin(caller: Mcp, number: Any = 1, **headers: str) -> Any:
    """A call that goes on; its answer is a stream that has begun."""
    message = request_of("tools/call", {"name": "chat", "arguments": {"input_value": "Hello"}, **TOKEN}, number)
    return caller.post(message, headers={"Accept": BOTH} | headers)


def begin_long(caller: Mcp, provider: Provider, **headers: str) -> Any:
    """Call number 5, which waits in the middle of an answer that is too long for any buffer on the way."""
    provider.go_on.clear()
    provider.pieces = ("first",) + ("x" * 4000,) * 2000
    answer = begin(caller, 5, **headers)
    assert provider.arrived.wait(10)
    return answer


def said_in(api: Api, session: str) -> list[dict[str, Any]]:
    """The lines of a conversation."""
    api.app.extensions["keyturn"].messages.flush()
    return list(api.get("/monitor/messages", query_string={"session_id": session}).json)
