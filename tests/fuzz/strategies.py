"""What the properties are tried with."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.support import flows

#: Any text that JSON can carry, NUL and halves of surrogate pairs included.
ANY_TEXT = st.text(max_size=30)
#: Any text without halves of surrogate pairs, which HTTP and UTF-8 cannot carry.
SOUND_TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | ANY_TEXT


def json_values(leaves: st.SearchStrategy[Any] = SCALARS, most: int = 12) -> st.SearchStrategy[Any]:
    """Any JSON."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
        max_leaves=most,
    )


def _graphs() -> list[dict[str, Any]]:
    """Real flows: the recorded ones of Langflow, the demo's, and those of the tests."""
    cases = Path(__file__).parents[1] / "golden" / "cases"
    found = [json.loads(case.read_text("utf-8"))["flow"] for case in sorted(cases.glob("*.json"))]
    demo = resources.files("service").joinpath("demo")
    found += [json.loads(demo.joinpath(name).read_text("utf-8")) for name in ("echo.json", "chat.json")]
    return [flow.get("data", flow) for flow in found]


GRAPHS = [*_graphs(), flows.echo(), flows.chat_with_model()]
#: Values that sit well in the place of others: of another type, too large, too deep, or with a meaning.
ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**63, 10**400, "", "\x00", "\ud800", "NaN", "{", "{}", "[]", "{{x}}", "{a[0]}",
    "x" * 5000, [], {}, [[]], {"": {}}, [None], {"value": None}, {"value": {}, "load_from_db": True},
    [{"key": "a", "value": 1}], {"nodes": [], "edges": []}, "ChatInput", "code",
]  # fmt: skip
#: By number: hypothesis writes down what it samples from, and these are long.
ODD_VALUES = st.integers(0, len(ODD) - 1).map(lambda at: copy.deepcopy(ODD[at]))


def _places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a document."""
    if path:
        yield path
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


PLACES = [list(_places(graph)) for graph in GRAPHS]


@st.composite
def mutated_graphs(draw: st.DrawFn, most: int = 4) -> Any:
    """A real flow in which some places hold something else, or nothing, or one thing twice."""
    number = draw(st.integers(0, len(GRAPHS) - 1))
    graph = copy.deepcopy(GRAPHS[number])
    for _ in range(draw(st.integers(1, most))):
        _mutate(graph, draw(st.sampled_from(PLACES[number])), draw)
    return graph


def _mutate(graph: Any, path: tuple[Any, ...], draw: st.DrawFn) -> None:
    above = graph
    for key in path[:-1]:
        try:
            above = above[key]
        except (LookupError, TypeError):
            return  # an earlier change took it away
    act, key = draw(st.sampled_from(["replace", "odd", "remove", "double"])), path[-1]
    try:
        above[key]
    except (LookupError, TypeError):
        return
    if act == "remove":
        del above[key]
    elif act == "double" and isinstance(above, list):
        above.append(copy.deepcopy(above[key]))
    else:
        above[key] = draw(ODD_VALUES) if act == "odd" else draw(json_values(most=5))


#: What looks like a flow, and is made of anything.
NEAR_GRAPHS = st.fixed_dictionaries({"nodes": json_values(), "edges": json_values()}) | st.fixed_dictionaries(
    {
        "nodes": st.lists(
            st.fixed_dictionaries(
                {
                    "id": ANY_TEXT,
                    "data": st.fixed_dictionaries(
                        {
                            "type": st.sampled_from(["ChatInput", "ChatOutput", "Prompt", "GroupNode"]) | ANY_TEXT,
                            "node": st.fixed_dictionaries(
                                {"template": json_values()},
                                optional={"flow": json_values(), "outputs": json_values()},
                            ),
                        }
                    ),
                }
            ),
            max_size=4,
        ),
        "edges": st.lists(json_values(), max_size=3),
    }
)
