"""What the tools of MCP take, read from the exported graphs of their flows."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.storage.flows import Flow

_MOST_SHAPES = 1024

_INPUTS = frozenset({"ChatInput", "TextInput", "Webhook"})
_TYPES = {
    "str": "string", "int": "integer", "integer": "integer", "float": "number", "number": "number",
    "slider": "number", "bool": "boolean", "boolean": "boolean", "dict": "object", "NestedDict": "object",
}  # fmt: skip
_LISTS = {"sortableList": "object", "table": "object", "tools": "object", "model": "object", "actionPicker": "string"}
_JSON: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "string": ("a string", (str,)), "integer": ("a whole number", (int,)), "number": ("a number", (int, float)),
    "boolean": ("true or false", (bool,)), "object": ("an object", (dict,)),
}  # fmt: skip
_SESSION = {
    "type": "string",
    "description": "Name of the conversation, to go on with it in a later call. Leave it out to begin a new one.",
}


@dataclass(frozen=True, slots=True)
class Argument:
    """A field that is an argument.

    Args:
        schema: JSON Schema of its type.
        is_bare: a tweak holds the value as it is; else it stands under ``value``.
    """

    schema: Mapping[str, Any]
    is_bare: bool = False

    def tweak(self, value: object) -> object:
        """Return the tweak that sets the field to exactly this, whatever settings of a field the value looks like."""
        return value if self.is_bare else {"value": value}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a tool takes.

    Args:
        schema: JSON Schema of its arguments.
        fields: node id -> the fields of it that are arguments, by name; those of two nodes may differ in type.
        input_type: which input components get ``input_value``.
    """

    schema: Mapping[str, Any]
    fields: Mapping[str, Mapping[str, Argument]]
    input_type: str = "chat"


@dataclass(slots=True)
class Shapes:
    """Shapes of flows by version, so that listing tools does not read whole graphs each time."""

    _kept: OrderedDict[tuple[uuid.UUID, uuid.UUID | None], Shape] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, session: Session, versions: Mapping[uuid.UUID, uuid.UUID | None]) -> dict[uuid.UUID, Shape]:
        """Return the shapes of flows, by id; ``versions`` are their version tokens."""
        with self._lock:
            found = {one: self._kept[one, token] for one, token in versions.items() if (one, token) in self._kept}
        # One at a time: graphs are large, and a page of tools has many.
        for flow_id in versions.keys() - found.keys():
            data = session.scalar(select(Flow.data).where(Flow.id == flow_id))
            found[flow_id] = shape_of(data)
            self._keep((flow_id, versions[flow_id]), found[flow_id])
        return found

    def _keep(self, key: tuple[uuid.UUID, uuid.UUID | None], shape: Shape) -> None:
        with self._lock:
            self._kept[key] = shape
            while len(self._kept) > _MOST_SHAPES:
                self._kept.popitem(last=False)


def shape_of(data: Any) -> Shape:
    """Return what a flow takes, read from its exported graph, which may hold anything."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    fields: dict[str, dict[str, Argument]] = {}
    kinds = set()
    inputs = list(_input_nodes(data))
    marked = any(item.get("api_editable") is True for _, _, template in inputs for _, item in _items(template))
    for node_id, kind, template in inputs:
        kinds.add(kind)
        for name, item in _items(template):
            if not _is_offered(name, item, marked=marked):
                continue
            schema = _type_of(item)
            properties[name] = schema | {"description": str(item.get("info") or f"Input for {name}")[:1000]}
            if item.get("required") is True and name not in required:
                required.append(name)
            if name not in {"input_value", "session_id"}:
                fields.setdefault(node_id, {})[name] = Argument(schema, item.get("type") == "NestedDict")
    properties.setdefault("session_id", _SESSION)
    whole = {"type": "object", "properties": properties, "required": required}
    return Shape(whole, fields, "chat" if "ChatInput" in kinds else "any")


def fault_in(value: object, schema: Mapping[str, Any]) -> str | None:
    """Say what a value has to be, where it is not of a type that this module writes; None: it is."""
    kind = schema["type"]
    if kind == "array":
        if not isinstance(value, list):
            return "a list"
        fault = next(filter(None, (fault_in(item, schema["items"]) for item in value)), None)
        return fault and f"a list in which each item is {fault}"
    words, types = _JSON[kind]
    # To Python a truth value is a number, and to JSON Schema a number without a fraction is a whole one.
    fits = isinstance(value, types) and (kind == "boolean" or not isinstance(value, bool))
    if kind == "integer" and isinstance(value, float):
        fits = value.is_integer()
    return None if fits else words


def _input_nodes(data: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    nodes = data.get("nodes") if isinstance(data, dict) else None
    for node in nodes if isinstance(nodes, list) else ():
        inner = node.get("data") if isinstance(node, dict) else None
        if not isinstance(inner, dict) or str(inner.get("type")) not in _INPUTS:
            continue
        body = inner.get("node")
        template = body.get("template") if isinstance(body, dict) else None
        if isinstance(template, dict):
            yield str(inner.get("id") or node.get("id")), inner["type"], template


def _items(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, item) for name, item in template.items() if isinstance(item, dict))


def _is_offered(name: str, item: dict[str, Any], *, marked: bool) -> bool:
    """Langflow's rule: what the form shows; where the author has marked fields for callers, those and the input."""
    if item.get("show") is not True or item.get("advanced") is True or item.get("type") == "code":
        return False
    return not marked or name == "input_value" or item.get("api_editable") is True


def _type_of(item: dict[str, Any]) -> dict[str, Any]:
    kind = str(item.get("type"))
    if kind in _LISTS:
        return {"type": "array", "items": {"type": _LISTS[kind]}}
    plain = {"type": _TYPES.get(kind, "string")}
    return {"type": "array", "items": plain} if item.get("list") is True else plain
