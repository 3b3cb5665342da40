"""Chat messages: stored with a run, and shown to their owner."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.support import flows
from tests.support.client import Api
from tests.support.flows import edge, field, node


def stored_flow(api: Api, data: dict[str, Any] | None = None, name: str = "echo") -> str:
    made = api.post("/flows/", json={"name": name, "data": data or flows.echo(), "endpoint_name": name})
    assert made.status_code == 201, made.json
    flow_id: str = made.json["id"]
    return flow_id


def said(api: Api, **query: str) -> list[tuple[str, str]]:
    return [(m["sender"], m["text"]) for m in api.get("/monitor/messages", query_string=query).json]


@pytest.fixture
def talk(caller: Api) -> str:
    """A flow that has been spoken to in two sessions."""
    flow_id = stored_flow(caller)
    for session_id, text in (("one", "hello"), ("two", "good day"), ("one", "bye")):
        assert caller.post(f"/run/{flow_id}", json={"input_value": text, "session_id": session_id}).status_code == 200
    return flow_id


def test_a_run_leaves_what_was_said_in_its_session(caller: Api, talk: str) -> None:
    assert said(caller, session_id="one") == [
        ("User", "hello"),
        ("Machine", "hello"),
        ("User", "bye"),
        ("Machine", "bye"),
    ]
    assert caller.get("/monitor/messages/sessions").json == ["one", "two"]


def test_a_message_has_the_shape_of_langflow(caller: Api, talk: str) -> None:
    message = caller.get("/monitor/messages", query_string={"session_id": "two"}).json[1]
    assert set(message) == {
        "id", "flow_id", "timestamp", "sender", "sender_name", "session_id", "context_id", "text", "files", "edit",
        "duration", "properties", "category", "content_blocks", "session_metadata",
    }  # fmt: skip
    assert (message["flow_id"], message["files"], message["timestamp"][-4:]) == (talk, "[]", " UTC")
    assert message["properties"]["source"]["display_name"] == "Chat Input"


def test_a_streamed_run_leaves_the_same_messages(caller: Api) -> None:
    flow_id = stored_flow(caller)
    caller.post(f"/run/{flow_id}?stream=true", json={"input_value": "hello", "session_id": "s"}).get_data()
    assert said(caller) == [("User", "hello"), ("Machine", "hello")]


def test_what_was_said_before_a_failure_stays(caller: Api) -> None:
    nodes = [flows.chat_input(), flows.language_model(), flows.chat_output()]
    data = flows.flow(nodes, [edge(nodes[0], "message", nodes[1], "input_value"),
                              edge(nodes[1], "text_output", nodes[2], "input_value")])  # fmt: skip
    flow_id = stored_flow(caller, data)
    caller.post("/variables/", json={"name": "OPENAI_API_KEY", "value": "sk-x", "default_fields": []})
    assert caller.post(f"/run/{flow_id}", json={"input_value": "!401", "session_id": "s"}).status_code == 502
    assert said(caller) == [("User", "!401")]


def test_a_run_without_a_session_speaks_in_that_of_the_flow(caller: Api) -> None:
    flow_id = stored_flow(caller)
    caller.post(f"/run/{flow_id}", json={"input_value": "hello"})
    assert caller.get("/monitor/messages/sessions", query_string={"flow_id": flow_id}).json == [flow_id]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"sender": "User"}, 3),
        ({"sender_name": "AI"}, 3),
        ({"limit": "2"}, 2),
        ({"limit": "4", "offset": "4"}, 2),
        ({"session_id": "nobody"}, 0),
        ({"flow_id": str(uuid.uuid4())}, 0),
        ({"session_id": "one\x00"}, 0),
        ({"sender": "User\x00"}, 0),
        ({"sender_name": "AI\x00"}, 0),
    ],
)
def test_messages_are_filtered(caller: Api, talk: str, query: dict[str, str], count: int) -> None:
    assert len(said(caller, **query)) == count


def test_the_newest_messages_are_chosen_and_the_oldest_of_them_comes_first(caller: Api, talk: str) -> None:
    assert said(caller, limit="2") == [("User", "bye"), ("Machine", "bye")]
    assert said(caller, limit="2", order="DESC") == [("Machine", "bye"), ("User", "bye")]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"order": "sideways"}, 400),
        ({"order_by": "password"}, 400),
        ({"limit": "-1"}, 422),
        ({"limit": "many"}, 422),
        ({"flow_id": "x"}, 422),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(caller: Api, query: dict[str, str], status: int) -> None:
    assert caller.get("/monitor/messages", query_string=query).status_code == status


def test_a_message_can_be_edited_and_says_so(caller: Api, talk: str) -> None:
    first = caller.get("/monitor/messages").json[0]
    edited = caller.put(f"/monitor/messages/{first['id']}", json={"text": "Hello!", "id": "ignored"})
    assert (edited.status_code, edited.json["text"], edited.json["edit"]) == (200, "Hello!", True)
    assert said(caller, session_id="one")[0] == ("User", "Hello!")


def test_a_session_can_get_another_name(caller: Api, talk: str) -> None:
    moved = caller.patch("/monitor/messages/session/one", query_string={"new_session_id": "three"})
    assert (moved.status_code, len(moved.json)) == (200, 4)
    assert caller.get("/monitor/messages/sessions").json == ["three", "two"]


def test_messages_and_sessions_can_be_deleted(caller: Api, talk: str) -> None:
    first = caller.get("/monitor/messages").json[0]
    assert caller.delete("/monitor/messages", json=[first["id"]]).status_code == 204
    assert caller.delete("/monitor/messages/session/two").status_code == 204
    assert len(said(caller)) == 3
    gone = caller.delete("/monitor/messages/sessions", json=["one", "two"])
    assert gone.json == {"message": "Messages deleted successfully for 1 session", "deleted_count": 1}
    assert said(caller) == []


def test_nothing_of_somebody_else_is_seen_or_touched(caller: Api, talk: str) -> None:
    other = caller.new_user("other")
    mine = caller.get("/monitor/messages").json[0]
    assert said(other) == said(other, flow_id=talk) == []
    assert other.get("/monitor/messages/sessions").json == []
    assert other.put(f"/monitor/messages/{mine['id']}", json={"text": "x"}).status_code == 404
    assert other.patch("/monitor/messages/session/one?new_session_id=x").status_code == 404
    other.delete("/monitor/messages", json=[mine["id"]])
    other.delete("/monitor/messages/session/one")
    assert other.delete("/monitor/messages/sessions", json=["one"]).json["deleted_count"] == 0
    assert len(said(caller)) == 6


def test_messages_go_with_their_flow(caller: Api, talk: str) -> None:
    caller.delete(f"/flows/{talk}")
    assert said(caller) == []


def test_an_unknown_message_or_session_is_not_found(caller: Api) -> None:
    assert caller.put(f"/monitor/messages/{uuid.uuid4()}", json={"text": "x"}).status_code == 404
    assert caller.patch("/monitor/messages/session/nobody?new_session_id=x").status_code == 404
    assert caller.patch("/monitor/messages/session/nobody").status_code == 422


@pytest.mark.parametrize("name", ["one\x00", "one\ud800"])
def test_a_session_that_no_database_can_hold_is_not_there(caller: Api, talk: str, name: str) -> None:
    gone = caller.delete("/monitor/messages/sessions", json=[name])
    assert (gone.status_code, gone.json["deleted_count"]) == (200, 0)
    assert caller.delete("/monitor/messages/session/one%00").status_code == 204
    assert caller.patch("/monitor/messages/session/one%00?new_session_id=x").status_code == 404
    assert len(said(caller)) == 6


@pytest.mark.parametrize("name", ["", "a%00b", "x" * 1001])
def test_a_session_is_not_given_a_name_that_cannot_be_stored(caller: Api, talk: str, name: str) -> None:
    answer = caller.patch(f"/monitor/messages/session/one?new_session_id={name}")
    assert (answer.status_code, answer.json["detail"][0]["loc"]) == (422, ["query", "new_session_id"])
    assert caller.get("/monitor/messages/sessions").json == ["one", "two"]


def with_memory() -> dict[str, Any]:
    """A flow that answers with what was said before."""
    memory = node(
        "Memory-m", "Memory", "Message History",
        [field("session_id"), field("n_messages", 100, kind="int"), field("template", "{sender_name}: {text}")],
        {"messages_text": "retrieve_messages_as_text"},
    )  # fmt: skip
    prompt = node("Prompt-p", "Prompt", "Prompt",
                  [field("template", "[{memory}] {asked}", kind="prompt"), field("memory"), field("asked")],
                  {"prompt": "build_prompt"})  # fmt: skip
    start, end = flows.chat_input(), flows.chat_output()
    return flows.flow([memory, start, prompt, end], [
        edge(memory, "messages_text", prompt, "memory"), edge(start, "message", prompt, "asked"),
        edge(prompt, "prompt", end, "input_value"),
    ])  # fmt: skip


def test_a_memory_remembers_its_own_session_of_its_own_flow_only(caller: Api) -> None:
    stored_flow(caller, with_memory(), "one")
    stored_flow(caller, with_memory(), "two")

    def answer(flow: str, session_id: str) -> str:
        made = caller.post(f"/run/{flow}", json={"input_value": "hi", "session_id": session_id})
        text: str = made.json["outputs"][0]["outputs"][0]["results"]["message"]["text"]
        return text

    assert answer("one", "a") == "[] hi"
    assert answer("one", "a") == "[User: hi\nAI: [] hi] hi"
    assert answer("one", "b") == answer("two", "a") == "[] hi"


def test_what_no_database_can_hold_does_not_lose_the_run(caller: Api) -> None:
    flow_id = stored_flow(caller)
    long = "x" * 3000
    tweaks = {"ChatInput-probe": {"sender_name": long}, "ChatOutput-probe": {"sender_name": "a\x00b"}}
    answer = caller.post(f"/run/{flow_id}", json={"input_value": "hi", "tweaks": tweaks})
    assert answer.status_code == 200, answer.json
    assert [len(m["sender_name"]) for m in caller.get("/monitor/messages").json] == [1000, 2]


def test_a_session_to_delete_is_named_by_a_text(caller: Api) -> None:
    answer = caller.delete("/monitor/messages/sessions", json=[{}])
    assert (answer.status_code, answer.json["detail"][0]["type"]) == (422, "string_type")
