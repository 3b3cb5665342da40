"""Exported flow JSON -> a checked, immutable graph. Nothing in it is executed, ever.

The shapes are Langflow's exports of 1.5 and 1.13: edges name their ends either in ``edge.data`` as objects or in
``sourceHandle``/``targetHandle`` as JSON text with ``œ`` for the quotation marks. The value of a ``code``
field is not even kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from service.domain.errors import FlowInvalid
from service.engine import groups

MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class NodeField:
    """One field of an exported node's template.

    Args:
        type: Langflow's ``type`` (``str``, ``prompt``, ``code``, ...).
        input_type: Langflow's ``_input_type`` (``SecretStrInput``, ...), "" in older exports.
        value: as stored; None for code fields.
        from_variable: ``load_from_db``: the value is a variable's name.
        hidden: ``show`` is off: the stored value does not count.
        editable: the author has marked it for callers (Langflow's ``api_editable``).
        label: Langflow's ``display_name``; of a field that a group shows, the group's.
    """

    name: str
    type: str
    input_type: str
    value: object = field(repr=False)
    from_variable: bool
    many: bool
    password: bool
    hidden: bool
    editable: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One component of a flow. ``index`` is its place in the export, which orders the outputs."""

    index: int
    id: str
    type: str
    display_name: str
    fields: Mapping[str, NodeField]
    outputs: tuple[str, ...]
    icon: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """One connection; ends are indices of nodes. ``output`` is "" where an old export does not say."""

    source: int
    output: str
    target: int
    field: str


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in export order, edges in export order, and the groups that were opened."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    groups: Mapping[str, groups.Group]


def parse(data: object, *, max_nodes: int) -> Graph:
    """Read ``{"nodes": [...], "edges": [...]}``.

    Raises:
        FlowInvalid: anything that cannot be read, is named twice, or dangles.
    """
    if not isinstance(data, Mapping):
        raise FlowInvalid("A flow has to be an object with nodes and edges.")
    flat = groups.flatten(data, max_nodes=max_nodes)
    nodes = tuple(_node(index, raw, flat) for index, raw in enumerate(flat.nodes))
    index = _by_id(nodes)
    edges = tuple(_edge(link, nodes, index) for link in flat.links)
    return Graph(nodes, edges, MappingProxyType(flat.groups))


def _by_id(nodes: Sequence[Node]) -> dict[str, int]:
    index: dict[str, int] = {}
    for node in nodes:
        if index.setdefault(node.id, node.index) != node.index:
            raise FlowInvalid(f"Two nodes have the id {node.id}.")
    return index


def _node(index: int, raw: groups.RawNode, flat: groups.Flat) -> Node:
    kind = raw.data.get("type")
    if not isinstance(kind, str) or not 0 < len(kind) <= MAX_NAME:
        raise FlowInvalid(f"The node {raw.id} does not say which component it is.")
    name = raw.body.get("display_name")
    display_name = name if isinstance(name, str) and 0 < len(name) <= MAX_NAME else kind
    template = raw.body.get("template")
    if not isinstance(template, Mapping):
        raise FlowInvalid(f"The node {raw.id} has no template.")
    fields = {
        key: _field(key, value, flat.values.get((raw.id, key)))
        for key, value in template.items()
        if isinstance(value, Mapping) and isinstance(key, str) and not key.startswith("_")
    }
    icon = raw.body.get("icon")
    return Node(
        index,
        raw.id,
        kind,
        display_name,
        MappingProxyType(fields),
        _output_names(raw),
        icon if isinstance(icon, str) and len(icon) <= MAX_NAME else "",
    )


def _field(name: str, raw: Mapping[str, object], outer: Mapping[str, object] | None) -> NodeField:
    """One template field; ``outer`` is the field of an enclosing group that sets its value."""
    kind = raw.get("type")
    kind = kind if isinstance(kind, str) else ""
    stored = raw if outer is None else outer
    is_code = kind == "code" or name == "code"
    input_type, label = raw.get("_input_type"), stored.get("display_name")
    return NodeField(
        name=name,
        type=kind,
        input_type=input_type if isinstance(input_type, str) else "",
        value=None if is_code else stored.get("file_path" if kind == "file" else "value"),
        from_variable=stored.get("load_from_db") is True,
        many=raw.get("list") is True,
        password=raw.get("password") is True or stored.get("password") is True,
        hidden=raw.get("show", True) is not True and raw.get("override_skip") is not True,
        editable=stored.get("api_editable") is True,
        label=label if isinstance(label, str) else "",
    )


def _output_names(raw: groups.RawNode) -> tuple[str, ...]:
    outputs = raw.body.get("outputs")
    if not isinstance(outputs, list):
        return ()
    names = (item.get("name") for item in outputs if isinstance(item, Mapping))
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def _edge(link: groups.Link, nodes: Sequence[Node], index: Mapping[str, int]) -> Edge:
    for end in (link.source, link.target):
        if end not in index:
            raise FlowInvalid(f"An edge leads to the node {end}, which is not in the flow.")
    source, target = nodes[index[link.source]], nodes[index[link.target]]
    return Edge(source.index, link.output, target.index, link.field)
