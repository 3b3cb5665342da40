"""A flow as another executor reads it: Langflow's own JSON, opened groups, and no code unless that is wanted.

What goes out is put together anew from what ``graph`` and ``groups`` have understood, so that both engines and the
rules for tweaks speak of the same nodes, fields and edges.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from service.engine.graph import Graph, Node
from service.engine.groups import Link, RawNode, flatten

Json = dict[str, Any]

#: What of a node an executor reads; the rest is for editors, or says which stored result to use instead of a run.
_BODY = (
    "display_name",
    "description",
    "outputs",
    "base_classes",
    "icon",
    "tool_mode",
    "custom_fields",
    "field_order",
)


def exported(data: Mapping[str, object], graph: Graph, *, max_nodes: int, with_code: bool) -> Json:
    """The flow's nodes and edges; fields that want a variable are empty, and files are named as uploads only later.

    Args:
        data: the stored flow.
        graph: the same, parsed.
        max_nodes: as for ``graph.parse``.
        with_code: keep the source that the flow brings for its components.
    """
    flat = flatten(data, max_nodes=max_nodes)
    nodes = {
        node.id: _node(raw, node, with_code=with_code) for raw, node in zip(flat.nodes, graph.nodes, strict=True)
    }
    return {"nodes": list(nodes.values()), "edges": [_edge(link, nodes) for link in flat.links]}


def template_of(node: Json) -> Json:
    """The fields of an exported node."""
    template: Json = node["data"]["node"]["template"]
    return template


def _node(raw: RawNode, node: Node, *, with_code: bool) -> Json:
    template: Json = {}
    stored = raw.body.get("template")
    for name, field in stored.items() if isinstance(stored, Mapping) else ():
        if name == "_type" and isinstance(field, str):
            template[name] = field
        elif name in node.fields and isinstance(field, Mapping):
            template[name] = _field(name, field, node, with_code=with_code)
    if not with_code:
        template.pop("code", None)
    body = {key: raw.body[key] for key in _BODY if key in raw.body}
    body |= {"display_name": node.display_name, "template": template}
    body.setdefault("outputs", [])
    body.setdefault("base_classes", [])
    return {"id": node.id, "type": "genericNode", "data": {"id": node.id, "type": node.type, "node": body}}


def _field(name: str, raw: Mapping[str, object], node: Node, *, with_code: bool) -> Json:
    field = dict(raw)
    known = node.fields[name]
    field["load_from_db"] = False
    if with_code and (name == "code" or known.type == "code"):
        return field
    if known.type == "file":
        field["value"] = field["file_path"] = ""
    else:
        field["value"] = "" if known.from_variable else known.value
    return field


def _edge(link: Link, nodes: Mapping[str, Json]) -> Json:
    source, target = nodes[link.source]["data"], nodes[link.target]["data"]
    outputs = {o["name"]: o for o in source["node"]["outputs"] if isinstance(o, Mapping) and "name" in o}
    name = link.output or (next(iter(outputs)) if len(outputs) == 1 else "")
    types = outputs.get(name, {}).get("types") or ["Data"]
    start = {"dataType": source["type"], "id": source["id"], "name": name, "output_types": types}
    field = target["node"]["template"].get(link.field)
    if isinstance(field, Mapping):
        end = {"fieldName": link.field, "id": target["id"], "inputTypes": field.get("input_types") or types,
               "type": field.get("type", "")}  # fmt: skip
    else:  # the way back into a loop leads to an output
        end = {"dataType": target["type"], "id": target["id"], "name": link.field, "output_types": types}
    return {
        "id": f"{source['id']}-{name}-{target['id']}-{link.field}",
        "source": source["id"],
        "target": target["id"],
        "data": {"sourceHandle": start, "targetHandle": end},
        "sourceHandle": _handle(start),
        "targetHandle": _handle(end),
    }


def _handle(end: Json) -> str:
    return json.dumps(end).replace('"', "œ")
