"""Which fields a caller may set, and what a tweak means.

A tweak is addressed by node id, by display name, or, as a scalar at the top, to every node that has the field; the
component's type is no address. Whether a field may be set is decided by what kind of field it is, never by how the
tweak is spelled: only kinds known to be harmless are open, everything else is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.domain.errors import TweaksRefused
from service.engine.component import Component, Draft, Setting
from service.engine.fields import Field
from service.engine.graph import Graph, Node, NodeField
from service.engine.groups import Group, resolve
from service.engine.limits import Policy

#: Exported types whose values are plain data. Code, files, prompts, links, tools and what is not yet known stay shut.
OPEN_TYPES = frozenset(
    {
        "str",
        "int",
        "float",
        "bool",
        "dict",
        "NestedDict",
        "slider",
        "table",
        "tab",
        "sortableList",
        "model",
        "other",
        "",
    }
)
_CLOSED_INPUT = re.compile(r"Secret|Code|File|PromptInput|Link|Auth|Connect|Query|Tools|Mcp|Password", re.IGNORECASE)
#: Names of fields that no component declares here but whose meaning their name gives away.
_CLOSED_NAME = re.compile(
    r"(^|_)(code|urls?|uri|endpoint|host|hostname|port|proxy|api_base|server|path|paths|file|files|directory"
    r"|password|passwd|secret|token|credentials?|api_?key|apikey|access_key|headers|command|sql|query)(_|$)",
    re.IGNORECASE,
)
_VALUE_TYPES = frozenset({"dict", "NestedDict"})

#: node index -> field name -> what the tweak asks for
Requests = dict[int, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Who can be addressed, by id and by display name; of several nodes with one display name it is the last."""

    nodes: Mapping[str, Node]
    groups: Mapping[str, Group]
    index: Mapping[str, int]
    all_groups: Mapping[str, Group]

    @classmethod
    def of(cls, graph: Graph) -> Addresses:
        """Built once for a request, so that its cost does not grow with tweaks times nodes."""
        nodes = {node.display_name: node for node in graph.nodes} | {node.id: node for node in graph.nodes}
        groups = {group.display_name: group for group in graph.groups.values()} | dict(graph.groups)
        return cls(nodes, groups, {node.id: node.index for node in graph.nodes}, graph.groups)


@dataclass(frozen=True, slots=True)
class Target:
    """One node as tweaks see it: its stored state and what its component declares."""

    draft: Draft
    component: type[Component]
    declared: Mapping[str, Field]


def settings(
    graph: Graph, targets: Sequence[Target], tweaks: Mapping[str, object], policy: Policy = "permissive"
) -> Mapping[int, Mapping[str, Setting]]:
    """What the tweaks set, by node index and field. Nodes that no tweak reaches are left out.

    Raises:
        TweaksRefused: names every field that only the flow's author may set; nothing is applied then.
    """
    addresses = Addresses.of(graph)
    wanted = _requests(graph, addresses, tweaks)
    refused = {
        name
        for index, fields in wanted.items()
        for name, value in fields.items()
        if not _allowed(targets[index], name, value)
    }
    refused |= _unplaced(addresses, targets, tweaks)
    if policy == "off" and any(wanted.values()):
        # One answer for all fields: trying them one by one must not tell which ones are protected anyway.
        raise TweaksRefused((name for fields in wanted.values() for name in fields), TweaksRefused.OFF)
    if refused:
        raise TweaksRefused(refused)
    undeclared = _undeclared(graph, wanted) if policy == "declared" else set()
    if undeclared:
        raise TweaksRefused(undeclared, TweaksRefused.UNDECLARED)
    return {index: _settings_of(targets[index].draft.node, fields) for index, fields in wanted.items() if fields}


def _undeclared(graph: Graph, wanted: Requests) -> set[str]:
    """The fields that the author has not marked, in a flow in which any field is."""
    if not any(field.editable for node in graph.nodes for field in node.fields.values()):
        return set()
    return {
        name
        for index, fields in wanted.items()
        for name in fields
        if name in graph.nodes[index].fields and not graph.nodes[index].fields[name].editable
    }


def tweaked_directly(graph: Graph, tweaks: Mapping[str, object]) -> frozenset[int]:
    """Nodes whose ``input_value`` a tweak sets by the node's own id or display name."""
    addresses = Addresses.of(graph)
    placed = (
        pair for key, value in tweaks.items() if isinstance(value, Mapping) for pair in _placed(addresses, key, value)
    )
    return frozenset(index for index, fields in placed if fields.get("input_value") is not None)


def _requests(graph: Graph, addresses: Addresses, tweaks: Mapping[str, object]) -> Requests:
    """Sort the tweaks by node; scalars at the top come last and win, as in Langflow."""
    wanted: Requests = {}
    everywhere: dict[str, object] = {}
    for key, value in tweaks.items():
        if not isinstance(value, Mapping):
            everywhere[key] = value
            continue
        for index, fields in _placed(addresses, key, value):
            wanted.setdefault(index, {}).update(fields)
    for node in graph.nodes if everywhere else ():
        present = {name: everywhere[name] for name in (*node.fields, "code") if name in everywhere}
        if present:
            wanted.setdefault(node.index, {}).update(present)
    return wanted


def _has(node: Node, name: str) -> bool:
    """A node has the fields of its export, and always a ``code`` field, exported or not."""
    return name in node.fields or name == "code"


def _placed(addresses: Addresses, key: str, fields: Mapping[str, object]) -> Iterator[tuple[int, dict[str, object]]]:
    """The node that ``key`` addresses, with the fields of it that exist; a group leads to its inner nodes."""
    node, group = addresses.nodes.get(key), addresses.groups.get(key)
    if node is not None:
        yield node.index, {name: value for name, value in fields.items() if _has(node, name)}
    elif group is not None:
        for name in fields.keys() & group.fields.keys():
            inner, field = resolve(group.fields[name], addresses.all_groups)
            if inner in addresses.index:
                yield addresses.index[inner], {field: fields[name]}


def _unplaced(addresses: Addresses, targets: Sequence[Target], tweaks: Mapping[str, object]) -> set[str]:
    """Closed fields that are spelled like a node: ``{"code": {"value": ...}}`` at the top.

    Such a tweak would reach nothing; it is refused so that one rule holds for every spelling.
    """
    lost = {key: value for key, value in tweaks.items() if isinstance(value, Mapping)}
    lost = {key: value for key, value in lost.items() if key not in addresses.nodes and key not in addresses.groups}
    return {
        key
        for target in targets
        if lost
        for key in (*target.draft.node.fields, "code")
        if key in lost and not _allowed(target, key, lost[key])
    }


def _allowed(target: Target, name: str, value: object) -> bool:
    stored = target.draft.node.fields.get(name)
    declared = target.declared.get(name)
    if stored is not None and stored.type == "file" and declared is not None and declared.kind == "file":
        return target.component.accepts_reference(declared, setting(stored, value).value)
    if name == "code" or stored is None or not _open_type(stored):
        # The declared provider and model fields judge the value themselves; nothing else opens a closed type.
        return False
    if declared is None:
        return is_open_field(stored, name)
    wished = setting(stored, value)
    if wished.from_variable and declared.kind in ("provider", "model"):
        return False
    return target.component.accepts_tweak(target.draft, declared, wished.value)


def is_open_field(stored: NodeField, name: str) -> bool:
    """Whether a field that no component here declares is harmless, by its type and its name."""
    return _open_type(stored) and _CLOSED_NAME.search(name) is None


def _open_type(stored: NodeField) -> bool:
    return stored.type in OPEN_TYPES and not stored.password and _CLOSED_INPUT.search(stored.input_type) is None


def _settings_of(node: Node, fields: Mapping[str, object]) -> dict[str, Setting]:
    return {name: setting(node.fields[name], value) for name, value in fields.items() if name in node.fields}


def setting(stored: NodeField, value: object) -> Setting:
    """What a tweak sets a field to.

    Of a dict only ``value`` and ``load_from_db`` count, except for fields that hold dicts: there it is the value.
    """
    if stored.type == "NestedDict":
        return Setting(_unpacked(value))
    if not isinstance(value, Mapping):
        return Setting(value)
    if stored.type in _VALUE_TYPES:
        return Setting(value["value"] if set(value) == {"value"} else dict(value))
    return Setting(value.get("value", stored.value), value.get("load_from_db") is True)


def _unpacked(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
