"""What another executor is told of a flow, and what becomes of what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from service.domain.errors import (
    CodeRefused,
    EngineFailed,
    InputConflict,
    RunTooLarge,
    TweaksRefused,
    UnknownComponents,
    VariableMissing,
)
from service.domain.ports import Cancellation, Event, Lacking, RunContext, RunInput, RunSpec, StoredMessage
from service.engine import EmbeddedEngine, Limits, Outside
from service.engine.either import EitherEngine
from service.engine.elsewhere import ElsewhereEngine
from tests.support import flows
from tests.support.history import Memory

FLOW_ID = "00000000-0000-4000-8000-000000000001"
END = {"end": {"outputs": [{"inputs": {}, "outputs": []}], "tokens": None}}
CODE = "the code of the flow"


class Stranger:
    """An executor that only listens, and says what it is told to."""

    def __init__(self) -> None:
        self.orders: list[Mapping[str, Any]] = []
        self.says: list[Mapping[str, Any]] = [END]
        self.lacks = Lacking()
        self.allow_code = False
        self.closed = 0

    def lacking(self, types: frozenset[str]) -> Lacking:
        return self.lacks

    def run(self, order: Mapping[str, Any], cancellation: Cancellation) -> Generator[Mapping[str, Any], None, None]:
        self.orders.append(json.loads(json.dumps(order)))
        return self._lines()

    def _lines(self) -> Generator[Mapping[str, Any], None, None]:
        try:
            yield from self.says
        finally:
            self.closed += 1


class NoModels:
    def get(self, name: str) -> None:
        return None


@pytest.fixture
def stranger() -> Stranger:
    return Stranger()


@pytest.fixture
def engine(stranger: Stranger) -> ElsewhereEngine:
    limits = Limits(max_steps=3, max_input_bytes=100)
    return ElsewhereEngine(stranger, Outside(NoModels()), limits, "nobody has")


@pytest.fixture
def run(engine: ElsewhereEngine) -> Callable[..., list[Event]]:
    """Run a flow; ``values`` are those of variables, the rest goes into the ``RunSpec``."""

    def go(
        data: flows.Json, value: str | None = "hi", values: Mapping[str, str] | None = None,
        tweaks: Mapping[str, Any] | None = None, context: RunContext | None = None, **more: Any,
    ) -> list[Event]:  # fmt: skip
        spec = RunSpec(FLOW_ID, "s", more.pop("given", RunInput(value)), **more)
        return list(engine.compile(data).bind(tweaks or {}).run(spec, values or {}, context))

    return go


def strange(*fields: flows.Json) -> flows.Json:
    """A chat with a component that is not known here."""
    start, end = flows.chat_input(), flows.chat_output()
    middle = flows.node("Strange-s", "Strange", "Strange", [flows.field("input_value"), *fields], {"out": "go"})
    edges = [flows.edge(start, "message", middle, "input_value"), flows.edge(middle, "out", end, "input_value")]
    return flows.flow([start, middle, end], edges)


def field_of(order: Mapping[str, Any], node: str, name: str) -> Any:
    found = next(one for one in order["flow"]["nodes"] if one["id"] == node)
    return found["data"]["node"]["template"][name]["value"]


def secret(value: str) -> flows.Json:
    return flows.field("secret", value, load_from_db=True, password=True, _input_type="SecretStrInput")


def test_a_field_that_wants_a_variable_gets_its_value(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    run(strange(secret("MINE")), values={"MINE": "sk-1", "OTHER": "sk-2"})
    assert field_of(stranger.orders[0], "Strange-s", "secret") == "sk-1"
    assert "sk-2" not in str(stranger.orders[0])


def test_no_field_of_an_order_asks_for_a_variable(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    run(strange(secret("MINE"), flows.field("hidden", "OTHER", load_from_db=True, show=False)), values={"MINE": "x"})
    assert "OTHER" not in str(stranger.orders[0])
    assert '"load_from_db": true' not in json.dumps(stranger.orders[0])


def test_a_secret_field_may_have_a_credential_and_another_may_not(engine: ElsewhereEngine) -> None:
    bound = engine.compile(strange(secret("A"), flows.field("shown", "B", load_from_db=True))).bind({})
    assert {use.name: use.secret for use in bound.variables} == {"A": True, "B": False}


def test_a_variable_without_a_value_is_missing(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    with pytest.raises(VariableMissing, match="MINE"):
        run(strange(secret("MINE")))
    assert stranger.orders == []


def test_no_code_goes_out(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    run(strange(flows.field("function", CODE, kind="code")))
    assert CODE not in str(stranger.orders[0])
    assert flows.CODE not in str(stranger.orders[0])


def test_code_goes_out_where_the_operator_allows_it(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    stranger.allow_code = True
    run(strange())
    assert field_of(stranger.orders[0], "Strange-s", "code") == flows.CODE


def test_nobodys_name_goes_out(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    run(strange())
    assert set(stranger.orders[0]) == {
        "flow", "flow_id", "session_id", "run_id", "input", "output_type", "outputs", "stream", "trace", "history",
        "files", "allow_code",
    }  # fmt: skip


def test_a_path_of_the_server_does_not_go_out(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    run(strange(flows.field("path", "", kind="file", file_path="/etc/passwd")))
    assert "/etc/passwd" not in str(stranger.orders[0])


def test_a_memory_gets_the_messages_of_its_session_alone(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    history = Memory()
    for session in ("s", "another"):
        history.add(StoredMessage(f"{session}-1", session, f"said in {session}", "User", "User", datetime.now(UTC)))
    run(strange(flows.field("n_messages", 5, kind="int")), context=RunContext(history))
    assert [one["text"] for one in stranger.orders[0]["history"]] == ["said in s"]


def test_a_flow_without_a_memory_gets_no_history(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    history = Memory()
    history.add(StoredMessage("1", "s", "said before", "User", "User", datetime.now(UTC)))
    run(strange(), context=RunContext(history))
    assert stranger.orders[0]["history"] == []


def test_a_tweak_by_the_rules_is_applied(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    run(strange(flows.field("colour", "red")), tweaks={"Strange-s": {"colour": "blue"}})
    assert field_of(stranger.orders[0], "Strange-s", "colour") == "blue"


@pytest.mark.parametrize("name", ["code", "secret", "base_url", "file_path"])
def test_a_tweak_against_the_rules_is_refused(run: Callable[..., list[Event]], name: str) -> None:
    data = strange(flows.field("secret", "", password=True), flows.field("base_url"), flows.field("file_path"))
    with pytest.raises(TweaksRefused):
        run(data, tweaks={"Strange-s": {name: "x"}})


def test_an_input_that_comes_twice_is_a_conflict(run: Callable[..., list[Event]]) -> None:
    with pytest.raises(InputConflict):
        run(strange(), tweaks={flows.chat_input()["id"]: {"input_value": "tweaked"}})


def test_an_input_beyond_the_limit_is_refused(run: Callable[..., list[Event]]) -> None:
    with pytest.raises(RunTooLarge):
        run(strange(), "x" * 101)


def test_what_it_lacks_is_told_before_it_runs(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    stranger.lacks = Lacking(frozenset({"Strange"}))
    with pytest.raises(UnknownComponents, match="nobody has: Strange"):
        run(strange())
    stranger.lacks = Lacking(frozenset(), frozenset({"Strange"}))
    with pytest.raises(CodeRefused, match="Strange"):
        run(strange())
    assert stranger.orders == []


@pytest.mark.parametrize("time", ["yesterday", "0001-01-01 00:00:00+14:00"])
def test_messages_go_into_the_history_with_times_and_ids_of_their_own(
    run: Callable[..., list[Event]], stranger: Stranger, time: str
) -> None:
    odd = {"id": "no-uuid", "text": "hello", "sender": "User", "timestamp": time, "files": [1, "a"]}
    stranger.says = [{"store": odd}, END]
    history = Memory()
    run(strange(), context=RunContext(history))
    [kept] = history.load("s")
    assert (kept.text, kept.sender, kept.files) == ("hello", "User", ("", "a"))
    assert len(kept.id) == 36


def test_more_messages_than_a_run_may_have_steps_end_it(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    stranger.says = [{"store": {"text": "x"}}] * 4
    with pytest.raises(RunTooLarge):
        run(strange(), context=RunContext(Memory()))
    assert stranger.closed == 1


def test_events_are_shown_in_a_stream_only(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    stranger.says = [{"event": "token", "data": {"chunk": "a"}}, {"event": "sent_elsewhere", "data": {}}, END]
    assert [event.name for event in run(strange(), stream=True)] == ["token", "end"]
    assert [event.name for event in run(strange())] == ["end"]


def test_an_event_has_all_keys_that_streams_are_made_of(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    odd = {"content_blocks": 1, "properties": [], "text": {}}
    stranger.says = [{"event": "token", "data": 1}, {"event": "add_message", "data": odd}, END]
    token, message, _ = run(strange(), stream=True)
    assert token.data == {"id": "", "chunk": ""}
    assert message.data == {"id": "", "text": "", "properties": {"state": "complete"}, "content_blocks": []}


@pytest.mark.parametrize(
    "end", [1, None, {}, {"outputs": 1}, {"outputs": [1]}, {"outputs": [{"outputs": {"a": 1}}]}], ids=str
)
def test_results_that_are_none_are_a_failure(run: Callable[..., list[Event]], stranger: Stranger, end: Any) -> None:
    stranger.says = [{"end": end}]
    with pytest.raises(EngineFailed):
        run(strange())


def test_a_result_has_all_keys_that_answers_are_made_of(run: Callable[..., list[Event]], stranger: Stranger) -> None:
    told = {"outputs": {"message": 1}, "messages": [1], "results": {"message": {"text": "x", "content_blocks": [1]}}}
    stranger.says = [{"end": {"outputs": [{"outputs": [told]}]}}]
    [event] = run(strange())
    [result] = event.data["outputs"][0]["outputs"]  # type: ignore[index]
    assert result["outputs"] == {"message": {"message": None, "type": ""}}
    assert result["results"] == {"message": {"text": "x", "data": {}, "content_blocks": []}}
    assert (result["messages"], result["component_id"]) == ([{"message": None}], "")


def test_a_known_flow_stays_embedded_and_an_unknown_one_goes_elsewhere(
    engine: ElsewhereEngine, stranger: Stranger
) -> None:
    either = EitherEngine(EmbeddedEngine(Outside(NoModels())), engine, always_elsewhere=False)
    for data in (flows.echo(), strange()):
        list(either.compile(data).bind({}).run(RunSpec(FLOW_ID, "s", RunInput("hi")), {}))
    assert [len(order["flow"]["nodes"]) for order in stranger.orders] == [3]


def test_every_flow_goes_elsewhere_where_the_operator_wants_it(engine: ElsewhereEngine, stranger: Stranger) -> None:
    either = EitherEngine(EmbeddedEngine(Outside(NoModels())), engine, always_elsewhere=True)
    list(either.compile(flows.echo()).bind({}).run(RunSpec(FLOW_ID, "s", RunInput("hi")), {}))
    assert len(stranger.orders) == 1
