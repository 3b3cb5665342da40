"""What can be said of the document's shapes once all of them are there."""

from __future__ import annotations

import json
import re
from typing import Any

from apispec import APISpec

from service.http.openapi.shapes import TEXT, Json, exactly
from service.http.schemas.flows import FlowDownloadSchema, FlowHeaderSchema
from service.http.schemas.jobs import StartedJobSchema
from service.http.schemas.projects import ProjectWithFlowsSchema

_REF = re.compile(r'"#/components/schemas/([^"]+)"')
_JOB_LINKS: Json = exactly(job=TEXT, cancel=TEXT)
#: Who may do what with a flow that its owner has made public.
_ACCESS: Json = exactly(can_read={"type": "boolean"}, can_execute={"type": "boolean"})


def complete(spec: APISpec) -> None:
    """Say of what only goes out that all of it is always there, and nothing else."""
    for name, schema in _NAMED_BY_TABLES.items():
        spec.components.schema(name, schema=schema)
    schemas: dict[str, Json] = spec.components.schemas
    _variants_of_flows(schemas)
    for name in ("StartedJob", "ListedJob", "Job"):
        schemas[name]["properties"]["links"] = _JOB_LINKS
    for name in _only_answered(spec):
        shape = schemas[name]
        if shape.get("properties"):
            shape |= {"required": list(shape["properties"]), "additionalProperties": False}
    for operation in _operations(spec):
        _allow_no_body(operation.get("requestBody"), schemas)
    for name, part in _SOMETIMES.items():
        schemas[name]["required"] = [one for one in schemas[name]["required"] if one not in part]


#: Shapes that no view hands to the document.
_NAMED_BY_TABLES = {
    "FlowDownload": FlowDownloadSchema,
    "FlowHeader": FlowHeaderSchema,
    "ProjectWithFlows": ProjectWithFlowsSchema,
    "StartedJob": StartedJobSchema,
}
#: What is not in every answer.
_SOMETIMES = {"Problem": {"ctx"}}


def _variants_of_flows(schemas: dict[str, Json]) -> None:
    flow = schemas["Flow"]["properties"]
    of_nobody: Json = {name: {"type": "null"} for name in ("user_id", "folder_id")}
    schemas["FlowOfServer"] = {"type": "object", "properties": flow | of_nobody}
    schemas["PublicFlow"] = {"type": "object", "properties": flow | of_nobody | {"public_access": _ACCESS}}


def _allow_no_body(body: Json | None, schemas: dict[str, Json]) -> None:
    """An empty body counts as an empty object, so that it may be absent where nothing has to be in it."""
    name = _REF.search(json.dumps(body["content"].get("application/json"))) if body else None
    if body and name and not schemas[name[1]].get("required"):
        body["required"] = False


def _only_answered(spec: APISpec) -> set[str]:
    """Names of the shapes that no request refers to, themselves or through another one."""
    schemas: dict[str, Json] = spec.components.schemas
    asked = _reached(schemas, [one.get("requestBody") for one in _operations(spec)])
    return _reached(schemas, [one["responses"] for one in _operations(spec)]) - asked


def _operations(spec: APISpec) -> list[Json]:
    paths = spec.to_dict()["paths"].values()
    return [operation for path in paths for method, operation in path.items() if method != "parameters"]


def _reached(schemas: dict[str, Any], roots: list[Any]) -> set[str]:
    found: set[str] = set()
    rest = set(_REF.findall(json.dumps(roots)))
    while rest:
        name = rest.pop()
        if name not in found and name in schemas:
            found.add(name)
            rest |= set(_REF.findall(json.dumps(schemas[name])))
    return found
