"""One compiled flow, many threads: no run sees anything of another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from service.domain.ports import ModelChunk, ModelRequest, RunInput, RunSpec, ToolCall
from service.engine import EmbeddedEngine, Outside
from tests.engine.components.test_agents import agent, chat
from tests.engine.conftest import FLOW_ID, KEYS
from tests.engine.test_loops import looping
from tests.support import flows


class Adder:
    """A model that adds the number in its input to itself with the calculator, and says what came out."""

    def complete(self, request: ModelRequest) -> Iterator[ModelChunk]:
        last = request.messages[-1]
        if last.role == "tool":
            yield ModelChunk(json.loads(last.text)["result"])
        else:
            expression = json.dumps({"expression": f"{last.text}+{last.text}"})
            yield ModelChunk(tool_calls=(ToolCall("1", "evaluate_expression", expression),))


def texts(data: Any, inputs: list[str], tweaks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Text and sender of each run, all of one compiled flow."""
    compiled = EmbeddedEngine(Outside({"OpenAI": Adder()})).compile(data)  # type: ignore[dict-item]

    def one(value: str, changes: dict[str, Any]) -> tuple[str, str]:
        *_, last = compiled.bind(changes).run(RunSpec(FLOW_ID, FLOW_ID, RunInput(value)), KEYS)
        message: Any = last.data["outputs"][0]["outputs"][0]["results"]["message"]  # type: ignore[index]
        return message["text"], message["sender_name"]

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(one, inputs, tweaks))


def test_agents_at_once_keep_their_tools_and_answers_apart() -> None:
    numbers = [str(number) for number in range(200)]
    tweaks = [{"ChatOutput-probe": {"sender_name": f"for {number}"}} for number in numbers]
    found = texts(chat(agent()), numbers, tweaks)
    assert found == [(str(2 * int(number)), f"for {number}") for number in numbers]


def test_loops_at_once_keep_their_items_apart() -> None:
    inputs = [json.dumps([{"n": number}, {"n": -number}]) for number in range(200)]
    found = texts(flows.flow(*looping()), inputs, [{}] * 200)
    assert [text for text, _ in found] == [f"<{number}>,<{-number}>" for number in range(200)]
