"""Opening of groups: a node that holds a whole flow is replaced by the nodes inside it.

A group's template fields and outputs are proxies for fields and outputs of inner nodes. Their stored values win over
the inner ones, and edges to or from the group are led to the inner node.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from service.domain.errors import FlowInvalid

MAX_DEPTH = 8
MAX_EDGES_PER_NODE = 20
MAX_HANDLE = 20_000
MAX_ID = 200

Raw = Mapping[str, object]
Proxy = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RawNode:
    """A node that is one component: its id, its ``data`` and its ``data.node``."""

    id: str
    data: Raw = field(repr=False)
    body: Raw = field(repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """One edge by names: source node and output, target node and field."""

    source: str
    output: str
    target: str
    field: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group that was opened: what its fields and outputs stand for, as (inner id, inner name)."""

    id: str
    display_name: str
    fields: Mapping[str, Proxy]
    outputs: Mapping[str, Proxy]
    members: tuple[str, ...]
    sink: str | None


@dataclass(slots=True)
class Flat:
    """A flow without groups. ``values`` has the group fields that set a field of an inner node."""

    nodes: list[RawNode] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    groups: dict[str, Group] = field(default_factory=dict)
    values: dict[Proxy, Raw] = field(default_factory=dict)


def flatten(data: Raw, *, max_nodes: int) -> Flat:
    """Read nodes and edges and open every group.

    Raises:
        FlowInvalid: unreadable nodes or edges, groups nested too deeply, too many nodes.
    """
    flat = Flat()
    _collect(data, flat, 0, max_nodes)
    flat.links = [_redirected(link, flat.groups) for link in flat.links]
    flat.values = {resolve(proxy, flat.groups): raw for proxy, raw in flat.values.items()}
    return flat


def resolve(proxy: Proxy, groups: Mapping[str, Group]) -> Proxy:
    """Follow a field through nested groups to the node that has it."""
    for _ in range(MAX_DEPTH + 1):
        group = groups.get(proxy[0])
        if group is None:
            return proxy
        if proxy[1] not in group.fields:
            raise FlowInvalid(f"The group {group.display_name} has no field {proxy[1]}.")
        proxy = group.fields[proxy[1]]
    raise FlowInvalid("The groups of this flow refer to each other.")


def _collect(data: Raw, flat: Flat, depth: int, max_nodes: int) -> list[str]:
    """Add the nodes and edges of one level; return the ids of its nodes."""
    nodes, edges = data.get("nodes"), data.get("edges", [])
    if not isinstance(nodes, list) or not isinstance(edges, list):
        raise FlowInvalid("A flow has to have a list of nodes and a list of edges.")
    if depth > MAX_DEPTH:
        raise FlowInvalid(f"Groups are nested more than {MAX_DEPTH} deep.")
    read = [node for node in map(_read_node, nodes) if node is not None]
    for node in sorted(read, key=_is_group):  # what was inside a group comes last, as in Langflow
        _add(node, flat, depth, max_nodes)
    if len(edges) + len(flat.links) > max_nodes * MAX_EDGES_PER_NODE:
        raise FlowInvalid("The flow has too many edges.")
    flat.links.extend(_read_edge(raw) for raw in edges)
    return [node.id for node in read]


def _is_group(node: RawNode) -> bool:
    return bool(node.body.get("flow"))


def _add(node: RawNode, flat: Flat, depth: int, max_nodes: int) -> None:
    if _is_group(node):
        _open(node, flat, depth, max_nodes)
        return
    if len(flat.nodes) >= max_nodes:
        raise FlowInvalid(f"The flow has more than {max_nodes} nodes, which is the limit of this server.")
    flat.nodes.append(node)


def _open(node: RawNode, flat: Flat, depth: int, max_nodes: int) -> None:
    flow = node.body.get("flow")
    data = flow.get("data") if isinstance(flow, Mapping) else None
    if not isinstance(data, Mapping):
        raise FlowInvalid(f"The group {node.id} cannot be read.")
    if node.id in flat.groups or len(flat.groups) >= max_nodes:
        raise FlowInvalid(f"Two groups have the id {node.id}, or there are too many groups.")
    flat.groups[node.id] = Group(node.id, "", {}, {}, (), None)  # holds the place: an inner group may not reuse it
    before = len(flat.links)
    members = _collect(data, flat, depth + 1, max_nodes)
    sources = {link.source for link in flat.links[before:]}
    sink = next((member for member in members if member not in sources), None)
    fields = dict(_field_proxies(node, flat))
    outputs = dict(_output_proxies(node))
    name = node.body.get("display_name")
    display_name = name if isinstance(name, str) and len(name) <= MAX_ID else node.id
    flat.groups[node.id] = Group(node.id, display_name, fields, outputs, tuple(members), sink)


def _field_proxies(node: RawNode, flat: Flat) -> Iterator[tuple[str, Proxy]]:
    template = node.body.get("template")
    for name, raw in template.items() if isinstance(template, Mapping) else ():
        proxy = _proxy(raw, "field")
        if proxy and isinstance(raw, Mapping):
            flat.values[proxy] = raw
            yield name, proxy


def _output_proxies(node: RawNode) -> Iterator[tuple[str, Proxy]]:
    outputs = node.body.get("outputs")
    for raw in outputs if isinstance(outputs, list) else ():
        proxy = _proxy(raw, "name") or _proxy(raw, "field")
        name = raw.get("name") if isinstance(raw, Mapping) else None
        if proxy and isinstance(name, str):
            yield name, proxy


def _proxy(raw: object, key: str) -> Proxy | None:
    proxy = raw.get("proxy") if isinstance(raw, Mapping) else None
    if not isinstance(proxy, Mapping):
        return None
    inner, name = proxy.get("id"), proxy.get(key)
    return (inner, name) if isinstance(inner, str) and isinstance(name, str) else None


def _redirected(link: Link, groups: Mapping[str, Group]) -> Link:
    source, output = _source(link.source, link.output, groups)
    target, name = resolve((link.target, link.field), groups)
    return Link(source, output, target, name)


def _source(node: str, output: str, groups: Mapping[str, Group]) -> Proxy:
    for _ in range(MAX_DEPTH + 1):
        group = groups.get(node)
        if group is None:
            return node, output
        node, output = group.outputs.get(output) or _prefixed(group, output)
    raise FlowInvalid("The groups of this flow refer to each other.")


def _prefixed(group: Group, output: str) -> Proxy:
    """Older groups name an output ``<inner id>_<name>``, or have only one last node."""
    for member in sorted(group.members, key=len, reverse=True):
        if output.startswith(f"{member}_"):
            return member, output.removeprefix(f"{member}_")
    if group.sink is None:
        raise FlowInvalid(f"The group {group.display_name} has no output {output}.")
    return group.sink, output


def _read_node(raw: object) -> RawNode | None:
    """One node, or None for a note."""
    if not isinstance(raw, Mapping):
        raise FlowInvalid("A node of the flow is not an object.")
    if raw.get("type") == "noteNode":
        return None
    data = raw.get("data")
    body = data.get("node") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(body, Mapping):
        raise FlowInvalid("A node of the flow has no component in it.")
    if data.get("type") in ("note", "noteNode", "undefined"):
        return None
    node_id = raw.get("id", data.get("id"))
    if not isinstance(node_id, str) or not 0 < len(node_id) <= MAX_ID:
        raise FlowInvalid("A node of the flow has no id.")
    return RawNode(node_id, data, body)


def _read_edge(raw: object) -> Link:
    if not isinstance(raw, Mapping):
        raise FlowInvalid("An edge of the flow is not an object.")
    source, target = raw.get("source"), raw.get("target")
    if not isinstance(source, str) or not isinstance(target, str) or max(len(source), len(target)) > MAX_ID:
        raise FlowInvalid("An edge of the flow does not say which nodes it connects.")
    start, end = _handle(raw, "sourceHandle"), _handle(raw, "targetHandle")
    output, name = start.get("name", ""), end.get("fieldName")
    proxy = _proxy(end, "field")
    if proxy:
        target, name = proxy
    if name is None:
        name = end.get("name")  # the way back of a loop leads into an output
    if not isinstance(name, str) or not isinstance(output, str) or max(len(name), len(output)) > MAX_HANDLE:
        raise FlowInvalid(f"The edge from {source} to {target} does not say which fields it connects.")
    return Link(source, output, target, name)


def _handle(edge: Raw, key: str) -> Raw:
    """One end of an edge, from ``edge.data`` or from its encoded text."""
    data = edge.get("data")
    inner = data.get(key) if isinstance(data, Mapping) else None
    for candidate in (inner, edge.get(key)):
        if isinstance(candidate, Mapping) and candidate:
            return candidate
        if isinstance(candidate, str) and candidate:
            return _decoded(candidate)
    raise FlowInvalid("An edge of the flow does not say which fields it connects.")


def _decoded(text: str) -> Raw:
    if len(text) > MAX_HANDLE:
        raise FlowInvalid("An edge of the flow cannot be read.")
    try:
        handle = json.loads(text.replace("œ", '"'))
    except (ValueError, RecursionError):
        raise FlowInvalid("An edge of the flow cannot be read.") from None
    if not isinstance(handle, dict):
        raise FlowInvalid("An edge of the flow cannot be read.")
    return handle
