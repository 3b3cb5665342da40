"""Tweaks: whatever a caller sends sets open fields, or is refused; it never reaches a closed one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import DomainError, FlowInvalid, Invalid, TweaksRefused, UnknownComponents
from service.domain.ports import RunInput, RunSpec
from service.engine.fields import Field, Unfit, coerce
from service.engine.tweaks import OPEN_TYPES
from tests.engine.conftest import FLOW_ID
from tests.fuzz.strategies import ANY_TEXT, GRAPHS, ODD_VALUES, json_values
from tests.fuzz.test_flow_json import KEYS, engine, stumbles

COMPILED = [engine().compile(graph) for graph in GRAPHS]
KINDS = ["text", "bool", "int", "float", "dict", "nested", "any", "handle", "secret", "url", "file", "code",
    "template",
         "provider", "model", "flow", "headers"]  # fmt: skip


def _nodes(graph: Any) -> list[Any]:
    return [node for node in graph["nodes"] if "node" in node.get("data", {})]


@st.composite
def calls(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """A flow, and tweaks whose names are those of its nodes and fields, or anything."""
    number = draw(st.integers(0, len(GRAPHS) - 1))
    nodes = _nodes(GRAPHS[number])
    names = [node["id"] for node in nodes] + [str(node["data"]["node"].get("display_name")) for node in nodes]
    fields = sorted({name for node in nodes for name in node["data"]["node"]["template"]})
    values = json_values(most=4) | ODD_VALUES
    inner = st.dictionaries(st.sampled_from(fields) | ANY_TEXT, values, max_size=3)
    tweaks = st.dictionaries(st.sampled_from([*names, *fields, "code"]) | ANY_TEXT, inner | values, max_size=3)
    return number, draw(tweaks)


@given(calls())
def test_any_tweaks_are_applied_or_refused(call: tuple[int, dict[str, Any]]) -> None:
    number, tweaks = call
    try:
        COMPILED[number].bind(tweaks)
    except (TweaksRefused, Invalid, FlowInvalid, UnknownComponents) as error:
        assert error.message


@given(calls())
def test_no_tweak_reaches_a_closed_field(call: tuple[int, dict[str, Any]]) -> None:
    number, tweaks = call
    try:
        COMPILED[number].bind(tweaks)
    except DomainError:
        return
    for node in _nodes(GRAPHS[number]):
        wished = tweaks.get(node["id"])
        for name in wished if isinstance(wished, dict) else ():
            stored = node["data"]["node"]["template"].get(name)
            assert name != "code"
            if isinstance(stored, dict) and stored.get("password"):
                raise AssertionError(f"the secret {name} of {node['id']} took a tweak")


@given(calls())
def test_a_tweaked_flow_runs_to_an_end_or_to_a_failure_that_was_foreseen(call: tuple[int, dict[str, Any]]) -> None:
    number, tweaks = call
    with stumbles() as found:
        try:
            bound = COMPILED[number].bind(tweaks)
            values = {use.name: "value" for use in bound.variables} | KEYS
            list(bound.run(RunSpec(FLOW_ID, "session", RunInput("hello", "any")), values))
        except DomainError as error:
            assert error.message
    assert found == []


@given(st.sampled_from(KINDS), json_values() | ODD_VALUES, st.booleans())
def test_any_value_fits_a_field_or_is_said_not_to(kind: Any, value: Any, many: bool) -> None:
    try:
        coerce(Field("field", kind, many=many).kind, value)
    except Unfit as error:
        assert str(value) not in str(error) or len(str(value)) < 3


def test_whatever_is_open_is_no_code() -> None:
    assert not {"code", "password"} & set(OPEN_TYPES)
