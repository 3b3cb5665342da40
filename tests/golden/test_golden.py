"""The embedded engine answers what Langflow's own executor answers.

``cases/`` was recorded with ``lfx`` by ``make golden``; see ``record.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.adapters.providers import providers
from service.domain.ports import RunInput, RunSpec
from service.engine import EmbeddedEngine, Outside
from tests.golden.normal import comparable
from tests.golden.recipes import RECIPES
from tests.support.provider import Provider, serving

CASES = sorted(Path(__file__).with_name("cases").glob("*.json"))
FLOW_ID = "00000000-0000-0000-0000-000000000001"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with serving() as provider:
        yield provider


def answer(case: dict[str, Any], provider: Provider) -> Any:
    """What the embedded engine answers to a recorded request."""
    request = case["request"]
    models = providers(openai_base_url=provider.url)
    bound = EmbeddedEngine(Outside(models)).compile(case["flow"]).bind(request.get("tweaks", {}))
    spec = RunSpec(
        FLOW_ID,
        request.get("session_id", FLOW_ID),
        RunInput(request.get("input_value"), request.get("input_type", "chat")),
        request.get("output_type", "chat"),
        (request["output_component"],) if "output_component" in request else None,
    )
    try:
        *_, last = bound.run(spec, {"OPENAI_API_KEY": "sk-golden"})
    finally:
        models.close()
    return json.loads(json.dumps(last.data["outputs"]))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_answer_is_what_lfx_answers(path: Path, provider: Provider) -> None:
    case = json.loads(path.read_text())
    found = comparable(answer(case, provider))
    if case["uncounted"]:
        found[0]["outputs"][0]["results"]["message"]["properties"]["usage"] = None
    assert found == case["answer"]


def test_every_recipe_is_recorded() -> None:
    assert {json.loads(path.read_text())["name"] for path in CASES} == {recipe.name for recipe in RECIPES}


def test_no_recording_holds_stored_code() -> None:
    assert not [path.name for path in CASES if '"code"' in path.read_text()]
