from __future__ import annotations

import copy
from typing import Any

import pytest

from service.domain.errors import FlowInvalid, UnknownComponents
from service.engine.graph import parse
from tests.engine.conftest import Runs
from tests.support import flows


def read(data: Any) -> Any:
    return parse(data, max_nodes=100)


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("age", ["1.13", "1.5"])
def test_both_ways_of_writing_edges_are_read(age: str, encoded: bool) -> None:
    graph = read(flows.echo(age=age, encoded=encoded))
    edge = graph.edges[0]
    assert (edge.source, edge.output, edge.target, edge.field) == (0, "message", 1, "input_value")


def test_notes_are_no_nodes() -> None:
    data = flows.echo()
    data["nodes"].insert(0, flows.note())
    assert [node.type for node in read(data).nodes] == ["ChatInput", "ChatOutput"]


def test_the_code_field_is_not_kept() -> None:
    assert read(flows.echo()).nodes[0].fields["code"].value is None


def test_stored_code_is_never_run(runs: Runs) -> None:
    assert runs.text(flows.echo()) == "hello"


def test_a_field_of_type_code_under_another_name_is_not_kept() -> None:
    data = flows.echo()
    data["nodes"][0]["data"]["node"]["template"]["tool_code"] = flows.field("tool_code", "print(1)", kind="code")
    assert read(data).nodes[0].fields["tool_code"].value is None


def test_every_unknown_type_is_named_at_once(runs: Runs) -> None:
    data = flows.echo()
    data["nodes"] += [flows.node(f"{kind}-1", kind, kind, [], {}) for kind in ("AstraDB", "Zep", "AstraDB2")]
    with pytest.raises(UnknownComponents) as caught:
        runs.engine.compile(data)
    assert caught.value.names == ("AstraDB", "AstraDB2", "Zep")


def broken(change: Any) -> Any:
    data = copy.deepcopy(flows.echo())
    change(data)
    return data


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("an edge from nowhere", lambda d: d["edges"][0].update(source="Gone-1")),
        ("an edge to nowhere", lambda d: d["edges"][0].update(target="Gone-1")),
        ("an edge without handles", lambda d: [d["edges"][0].pop(k) for k in ("data", "targetHandle")]),
        ("an edge that is text", lambda d: d["edges"].append("edge")),
        (
            "an edge to a field that is not there",
            lambda d: d["edges"][0]["data"]["targetHandle"].update(fieldName="x"),
        ),
        (
            "an edge from an output that is not there",
            lambda d: d["edges"][0]["data"]["sourceHandle"].update(name="x"),
        ),
        ("an edge of a loop", lambda d: d["edges"][0]["data"].update(targetHandle={"name": "item", "id": "x"})),
        ("two nodes of one id", lambda d: d["nodes"].append(d["nodes"][0])),
        ("a node without an id", lambda d: [d["nodes"][0].pop("id"), d["nodes"][0]["data"].pop("id")]),
        ("a node without a type", lambda d: d["nodes"][0]["data"].pop("type")),
        ("a node without a template", lambda d: d["nodes"][0]["data"]["node"].pop("template")),
        ("a node without a component", lambda d: d["nodes"][0]["data"].pop("node")),
        ("a node that is a number", lambda d: d["nodes"].append(7)),
        ("nodes that are an object", lambda d: d.update(nodes={})),
        ("edges that are text", lambda d: d.update(edges="none")),
        ("no nodes", lambda d: d.pop("nodes")),
    ],
)
def test_a_broken_flow_is_refused_as_invalid(runs: Runs, name: str, change: Any) -> None:
    with pytest.raises(FlowInvalid):
        runs.engine.compile(broken(change))


def test_a_cycle_is_refused_and_names_its_components(runs: Runs) -> None:
    one, two = flows.prompt("Prompt-1", "{a}", {"a": ""}), flows.prompt("Prompt-2", "{a}", {"a": ""})
    two["data"]["node"]["display_name"] = "Second"
    edges = [flows.edge(one, "prompt", two, "a"), flows.edge(two, "prompt", one, "a")]
    with pytest.raises(FlowInvalid, match=r"cycle: Prompt Template, Second"):
        runs.engine.compile(flows.flow([one, two], edges))


def test_a_flow_with_too_many_nodes_is_refused() -> None:
    with pytest.raises(FlowInvalid, match="more than 2 nodes"):
        parse(flows.prompt_chain(1), max_nodes=2)


def test_an_edge_without_an_output_name_takes_the_only_output(runs: Runs) -> None:
    data = flows.echo()
    del data["edges"][0]["data"]["sourceHandle"]["name"]
    assert runs.text(data) == "hello"


ODD: list[Any] = [
    None, True, 0, -1, 1.5, float("nan"), float("inf"), 10**400, 10**5000, "", "œ", "\x00", "\ud800", "x" * 100_000,
    [], {}, [[]], [None], {"": None}, [{"key": "a", "value": 1}], "{œaœ:" * 5000, {"flow": {}},
    {"data": {"nodes": 1}},
]  # fmt: skip


def deep(levels: int, *keys: str) -> Any:
    value: Any = "core"
    for level in range(levels):
        value = {keys[level % len(keys)]: value} if keys else [value]
    return value


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    if isinstance(value, dict):
        return found + [path for key, item in value.items() for path in paths(item, (*at, key))]
    if isinstance(value, list):
        return found + [path for key, item in enumerate(value) for path in paths(item, (*at, key))]
    return found


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(data)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


SMALL = flows.chat_with_model(flows.openai_model())
PATHS = sorted({path for path in paths(SMALL) if "outputs" not in path or path[-1] == "outputs"}, key=str)


@pytest.mark.parametrize(
    "odd",
    [*ODD, deep(900), deep(400, "node", "flow", "data", "proxy")],
    ids=lambda value: type(value).__name__,
)
def test_hostile_values_anywhere_are_refused_as_invalid_or_do_no_harm(runs: Runs, odd: Any) -> None:
    for path in PATHS[::3]:
        data = replaced(SMALL, path, odd)
        try:
            compiled = runs.engine.compile(data)
            compiled.bind({})
        except (FlowInvalid, UnknownComponents):
            continue


def group(inner: list[Any], edges: list[Any], fields: dict[str, Any], outputs: list[Any]) -> Any:
    made = flows.node("Group-1", "GroupNode", "My group", [], {})
    made["data"]["node"]["template"] = fields
    made["data"]["node"]["outputs"] = outputs
    made["data"]["node"]["flow"] = {"data": flows.flow(inner, edges), "name": "inner"}
    return made


def grouped(proxied_output: bool = True) -> Any:
    """Chat Input -> a group of two prompts -> Chat Output; the group sets the second prompt's variable."""
    one = flows.prompt("Prompt-1", "1:{a}", {"a": ""})
    two = flows.prompt("Prompt-2", "{b} 2:{c}", {"b": "", "c": "inner"})
    fields = {
        "a_Prompt-1": flows.field("a_Prompt-1", "", proxy={"id": "Prompt-1", "field": "a"}),
        "c_Prompt-2": flows.field("c_Prompt-2", "outer", proxy={"id": "Prompt-2", "field": "c"}),
    }
    outputs = [{"name": "Prompt-2_prompt", "proxy": {"id": "Prompt-2", "name": "prompt"}}] if proxied_output else []
    box = group([one, two], [flows.edge(one, "prompt", two, "b")], fields, outputs)
    start, end = flows.chat_input(), flows.chat_output()
    into = flows.edge(start, "message", box, "a_Prompt-1")
    into["data"]["targetHandle"]["proxy"] = {"id": "Prompt-1", "field": "a"}
    return flows.flow([start, box, end], [into, flows.edge(box, "Prompt-2_prompt", end, "input_value")])


@pytest.mark.parametrize("proxied_output", [True, False])
def test_a_group_is_opened_and_its_values_win_over_the_inner_ones(runs: Runs, proxied_output: bool) -> None:
    assert runs.text(grouped(proxied_output)) == "1:hello 2:outer"


def test_a_group_in_a_group_is_opened(runs: Runs) -> None:
    inner = flows.prompt("Prompt-1", "1:{a}", {"a": ""})
    proxy = {"id": "Prompt-1", "field": "a"}
    small = group([inner], [], {"a": flows.field("a", "", proxy=proxy)}, [])
    outer = group([small], [], {"x": flows.field("x", "", proxy={"id": "Group-1", "field": "a"})}, [])
    outer["id"] = "Group-2"
    start, end = flows.chat_input(), flows.chat_output()
    edges = [flows.edge(start, "message", outer, "x"), flows.edge(outer, "prompt", end, "input_value")]
    assert runs.text(flows.flow([start, outer, end], edges)) == "1:hello"


def test_groups_that_contain_each_other_without_end_are_refused(runs: Runs) -> None:
    box: Any = flows.prompt("Prompt-1", "x")
    for level in range(20):
        box = group([box], [], {}, [])
        box["id"] = f"Group-{level}"
    with pytest.raises(FlowInvalid, match="nested"):
        runs.engine.compile(flows.flow([box], []))


def test_group_proxies_that_refer_to_each_other_are_refused(runs: Runs) -> None:
    data = grouped()
    box = data["nodes"][1]
    box["data"]["node"]["template"]["c_Prompt-2"]["proxy"] = {"id": "Group-1", "field": "c_Prompt-2"}
    with pytest.raises(FlowInvalid, match="each other"):
        runs.engine.compile(data)
