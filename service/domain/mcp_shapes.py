"""What the tools of MCP take, read from the exported graphs of their flows."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
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
_SESSION = {
    "type": "string",
    "description": "Name of the conversation, to go on with it in a later call. Leave it out to begin a new one.",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a tool takes.

    Args:
        schema: JSON Schema of its arguments.
        fields: node id -> the fields of it that are arguments.
        input_type: which input components get ``input_value``.
    """

    schema: Mapping[str, Any]
    fields: Mapping[str, Sequence[str]]
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
    fields: dict[str, list[str]] = {}
    kinds = set()
    inputs = list(_input_nodes(data))
    marked = any(item.get("api_editable") is True for _, _, template in inputs for _, item in _items(template))
    for node_id, kind, template in inputs:
        kinds.add(kind)
        for name, item in _items(template):
            if not _is_offered(name, item, marked=marked):
                continue
            properties[name] = _type_of(item) | {"description": str(item.get("info") or f"Input for {name}")[:1000]}
            if item.get("required") is True and name not in required:
                required.append(name)
            if name not in {"input_value", "session_id"}:
                fields.setdefault(node_id, []).append(name)
    properties.setdefault("session_id", _SESSION)
    schema = {"type": "object", "properties": properties, "required": required}
    return Shape(schema, fields, "chat" if "ChatInput" in kinds else "any")


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
