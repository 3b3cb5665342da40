"""Lfx's own components: which there are, which of them run code of a flow, and their source.

A flow's JSON brings the source of every component with it. None of that is ever run, unless the operator allows it:
a node gets the source that lfx itself has for its type.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Mapping
from typing import Any

from lfx.interface.components import get_and_cache_all_types_dict
from lfx.services.deps import get_settings_service
from lfx.utils.component_aliases import flatten_components_with_aliases, get_component_type_aliases
from lfx.utils.flow_validation import CODE_EXECUTION_COMPONENT_TYPES

Json = dict[str, Any]

#: Beside those that lfx itself lists: they start programs, read the machine's disk by a path in a field, or run what
#: a field, a model or another server has written.
_RUN_CODE = frozenset(
    {"CustomComponent", "MCPTools", "Directory", "FileSystemTool", "OpenAPIAgent", "Smart Transform"}
)
#: These need Langflow's own database of flows, which is not here.
_NOT_HERE = frozenset({"RunFlow", "SubFlow", "FlowTool"})
_PARTS_OF_CODE = ("PythonREPL", "PythonFunction", "PythonCode", "LambdaFilter", "CodeAct", "CustomComponent")


class Stock:
    """The components of the installed lfx and of the bundles that are installed beside it."""

    def __init__(self) -> None:
        found = asyncio.run(get_and_cache_all_types_dict(get_settings_service()))
        keys = {name: body for group in found.values() for name, body in group.items()}
        self._bodies: Mapping[str, Json] = flatten_components_with_aliases(found)
        own = {id(body): name for name, body in keys.items()}
        #: Every name that a flow may use for a component -> the component's own.
        self.names = {name: own[id(body)] for name, body in self._bodies.items() if name not in _NOT_HERE}
        self.names = {name: key for name, key in self.names.items() if key not in _NOT_HERE}
        self.that_run_code = frozenset(name for name, key in self.names.items() if _runs_code(key, keys[key]))

    def complete(self, kind: str, body: Json) -> None:
        """Give a node the source of its type, and to its fields and outputs what an export left out."""
        own = self._bodies[kind]
        template = body["template"]
        for name, field in template.items():
            known = own["template"].get(name)
            if isinstance(field, dict) and isinstance(known, dict):
                template[name] = {**copy.deepcopy(known), **field}
        template.setdefault("_type", own["template"].get("_type", "Component"))
        template["code"] = copy.deepcopy(own["template"]["code"])
        outputs = {output["name"]: output for output in own["outputs"]}
        body["outputs"] = [{**outputs.get(output.get("name"), {}), **output} for output in body["outputs"]]
        body["base_classes"] = body["base_classes"] or list(own["base_classes"])

    def node(self, kind: str, node_id: str) -> Json:
        """Make a node as lfx has it, with nothing set."""
        body = copy.deepcopy(self._bodies[kind])
        return {"id": node_id, "type": "genericNode", "data": {"id": node_id, "type": kind, "node": body}}

    def name(self, kind: str) -> str:
        """Return lfx's own name for a type."""
        return str(self.names[kind])


def _runs_code(key: str, body: Json) -> bool:
    names = {key, *get_component_type_aliases(key, body), str(body.get("template", {}).get("_type"))}
    if names & (CODE_EXECUTION_COMPONENT_TYPES | _RUN_CODE):
        return True
    return any(part in name.replace(" ", "") for part in _PARTS_OF_CODE for name in names) or any(_code_fields(body))


def _code_fields(body: Json) -> Iterator[str]:
    """Name the fields, beside the component's own source, that hold code."""
    for name, field in body.get("template", {}).items():
        if name != "code" and isinstance(field, dict) and field.get("type") == "code":
            yield name
