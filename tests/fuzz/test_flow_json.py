"""Flow JSON: whatever is uploaded is planned, or refused in the domain's words."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import DomainError, FlowInvalid, UnknownComponents
from service.domain.ports import RunInput, RunSpec
from service.engine import EmbeddedEngine, Limits, Outside
from tests.engine.conftest import FLOW_ID, Model
from tests.fuzz.strategies import ANY_TEXT, GRAPHS, NEAR_GRAPHS, json_values, mutated_graphs

KEYS = {"OPENAI_API_KEY": "sk-canary-0123456789"}
LIMITS = Limits(max_steps=60, max_loop_items=20, wall_seconds=20, max_output_bytes=100_000)


def engine() -> EmbeddedEngine:
    return EmbeddedEngine(Outside({"OpenAI": Model()}), LIMITS)


def planned(graph: Any) -> Any:
    """The plan of a graph; None where it is refused as the port says."""
    own = engine()
    try:
        own.check(graph)
        return own.compile(graph)
    except (FlowInvalid, UnknownComponents) as error:
        assert error.message
        return None


@given(json_values())
def test_any_json_is_planned_or_refused(graph: Any) -> None:
    planned(graph)


@given(NEAR_GRAPHS)
def test_anything_that_looks_like_a_flow_is_planned_or_refused(graph: Any) -> None:
    planned(graph)


@given(mutated_graphs())
def test_a_real_flow_with_changes_is_planned_or_refused(graph: Any) -> None:
    planned(graph)


@pytest.mark.parametrize("number", range(len(GRAPHS)))
def test_a_real_flow_is_planned(number: int) -> None:
    assert planned(GRAPHS[number]) is not None


@given(mutated_graphs(most=3), ANY_TEXT, st.booleans())
def test_a_changed_flow_runs_to_an_end_or_to_a_failure_that_was_foreseen(
    graph: Any, said: str, is_filled: bool
) -> None:
    compiled = planned(graph)
    if compiled is None:
        return
    spec = RunSpec(FLOW_ID, "session", RunInput(said, "chat"))
    with stumbles() as found:
        try:
            bound = compiled.bind({})
            if is_filled:
                bound = bound.filled({(one.node_id, one.field): "FILLER" for one in bound.empty})
            events = list(bound.run(spec, {use.name: "value" for use in bound.variables} | KEYS))
        except DomainError as error:
            assert error.message
        else:
            json.dumps(events[-1].data["outputs"])
    assert found == []


class stumbles(logging.Handler):  # noqa: N801 - used as a word
    """What the engine had to translate: an exception that no component meant to raise."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())

    def __enter__(self) -> list[str]:
        logging.getLogger("service.engine.runner").addHandler(self)
        return self.found

    def __exit__(self, *_: object) -> None:
        logging.getLogger("service.engine.runner").removeHandler(self)


@given(st.integers(1, 2000))
def test_groups_in_groups_are_opened_or_refused(depth: int) -> None:
    graph: Any = {"nodes": [], "edges": []}
    for number in range(depth):
        node = {"id": f"g{number}", "data": {"type": "Group", "node": {"flow": {"data": graph}, "template": {}}}}
        graph = {"nodes": [node], "edges": []}
    planned(graph)
