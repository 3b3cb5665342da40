"""The half of ``benchmarks.engine`` that runs in lfx's own environment: the flows, and how long lfx takes.

Prints one JSON object: for each flow its slim export and the seconds of CPU and of time that one run takes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import pairwise
from typing import Any

from tests.golden.recipes import AGENT, CHAT, TALK, Recipe
from tests.golden.record import _stay_on_loopback, answer, export, stripped, templates_of_1_13

RUNS = {"chat": 20, "chain": 10, "agent": 5}


def chain(length: int) -> Recipe:
    """A chat whose message goes through ``length`` prompts."""
    names = [f"p{number}" for number in range(length)]
    nodes = {**CHAT, **{name: ("Prompt Template", {"template": "{text}."}) for name in names}}
    edges = [f"in.message > {names[0]}.text", f"{names[-1]}.prompt > out.input_value"]
    edges += [f"{one}.prompt > {two}.text" for one, two in pairwise(names)]
    return Recipe("chain", nodes, edges)


def recipes() -> dict[str, Recipe]:
    """The flows that are compared."""
    tools = ("sum", "now")
    edges = ["in.message > agent.input_value", "agent.response > out.input_value"]
    edges += [f"{name}.component_as_tool > agent.tools" for name in tools]
    nodes = {**CHAT, "agent": ("Agent", AGENT), "sum": ("CalculatorComponent", {}), "now": ("CurrentDate", {})}
    asked = '!tool evaluate_expression {"expression": "2*3"}\n!tool get_current_date {}'
    return {
        "chat": Recipe("chat", CHAT, TALK),
        "chain": chain(8),  # ten nodes with the two ends
        "agent": Recipe("agent", nodes, edges, {"input_value": asked}, tools=tools),
    }


async def timed(data: Any, request: Any, runs: int) -> dict[str, float]:
    """Seconds for one run, the first one left out."""
    await answer(data, request)
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(runs):
        await answer(data, request)
    return {"cpu": (time.process_time() - cpu) / runs, "time": (time.perf_counter() - wall) / runs}


def main() -> None:
    """Time lfx, and print what was timed."""
    _stay_on_loopback(sys.argv[1])
    bodies = templates_of_1_13()
    found: dict[str, Any] = {}
    for name, recipe in recipes().items():
        data = export(recipe, bodies)
        seconds = asyncio.run(timed(data, recipe.request, RUNS[name]))
        found[name] = {"flow": stripped(data), "request": recipe.request, **seconds}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
