from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import service
from tests.engine.conftest import Model, Runs

DEMO = Path(service.__file__).parent / "demo"


def demo(name: str) -> Any:
    return json.loads((DEMO / f"{name}.json").read_text(encoding="utf-8"))


def test_the_echo_demo_answers_without_a_model(runs: Runs) -> None:
    assert runs.text(demo("echo")["data"]) == "You said: hello"


def test_the_chat_demo_asks_the_model_with_its_prompt(runs: Runs, model: Model) -> None:
    assert runs.text(demo("chat")["data"]) == "An answer"
    assert [turn.role for turn in model.asked[0].messages] == ["system", "user"]


def test_the_chat_demo_takes_its_key_from_the_variable(runs: Runs) -> None:
    (use,) = runs.engine.compile(demo("chat")["data"]).bind({}).variables
    assert (use.name, use.secret) == ("OPENAI_API_KEY", True)


@pytest.mark.parametrize("name", ["echo", "chat"])
def test_a_demo_has_the_keys_of_an_export(name: str) -> None:
    assert set(demo(name)) == {
        "data",
        "description",
        "endpoint_name",
        "id",
        "is_component",
        "last_tested_version",
        "name",
        "tags",
    }
