from __future__ import annotations

import re
from typing import Any

import pytest

from service.chance import new_id
from service.domain.ports import RunContext, TokenUsage
from service.engine.component import Outside, Run
from service.engine.limits import Limits
from service.engine.results import dump
from service.engine.values import STOPPED, Data, Message, ModelChoice, Table, text_of, total_usage

NO_MODELS: Any = {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        (Message("x"), "x"),
        (Data({"text": "x"}), "x"),
        (Data({"body": "x"}, "body"), "x"),
        (Data({}), ""),
        (Table([{"a": "x"}]), "| a   |\n|:----|\n| x   |"),
        ([Message("x"), 1], "['x', '1']"),
        (None, ""),
        (1.5, "1.5"),
    ],
    ids=repr,
)
def test_every_value_has_a_text(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_ids_are_random_uuids_of_version_four() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", i) for i in ids)


def test_a_message_keeps_the_time_that_was_first_asked_for() -> None:
    message = Message("x")
    assert message.stamp() == message.stamp()


def test_usage_adds_up() -> None:
    assert total_usage([TokenUsage(1, 2, 3), TokenUsage(10, 20, 30)]) == TokenUsage(11, 22, 33)


def test_a_model_shows_its_key_neither_in_its_repr_nor_in_an_answer() -> None:
    model = ModelChoice("OpenAI", "gpt-4o", "sk-canary")
    run = Run("f", "s", "r", stream=False, outside=Outside(NO_MODELS), limits=Limits(), context=RunContext())
    assert "canary" not in repr(model) + repr(dump([model], run))


def test_records_and_tables_go_out_as_json() -> None:
    run = Run("f", "s", "r", stream=False, outside=Outside(NO_MODELS), limits=Limits(), context=RunContext())
    assert dump(Table([{"a": 1}]), run) == [{"a": 1}]
    assert dump(Data({"a": 1}), run) == {"text_key": "text", "data": {"a": 1}, "default_value": ""}


def test_a_stopped_output_is_named_in_a_debugger() -> None:
    assert repr(STOPPED) == "STOPPED"
