"""Pieces of JSON Schema that the document repeats."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
FLAG: Json = {"type": "boolean"}
NUMBER: Json = {"type": "integer"}
UUID: Json = {"type": "string", "format": "uuid"}
ANYTHING: Json = {}
BYTES: Json = {"type": "string", "format": "binary"}


def listed(items: Json, **limits: int) -> Json:
    """A list."""
    return {"type": "array", "items": items, **limits}


def mapped(values: Json) -> Json:
    """An object with names of any kind."""
    return {"type": "object", "additionalProperties": values}


def exactly(**properties: Json) -> Json:
    """An object with these properties, all of them, and no others."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def either(*schemas: Json) -> Json:
    """One of several shapes."""
    return {"anyOf": list(schemas)}


def or_null(schema: Json) -> Json:
    """A shape, or null."""
    return either(schema, {"type": "null"})


def const(value: object) -> Json:
    """This value alone."""
    return {"const": value}


def ref(name: str) -> Json:
    """A shape of ``components``."""
    return {"$ref": f"#/components/schemas/{name}"}


#: Shapes that routes share, by name.
SHARED: dict[str, Json] = {
    "Refusal": exactly(detail=TEXT),
    "Problem": {
        "type": "object",
        "properties": {
            "type": TEXT,
            "loc": listed({"type": ["string", "integer"]}),
            "msg": TEXT,
            "ctx": {"type": "object"},
        },
        "required": ["type", "loc", "msg"],
        "additionalProperties": False,
    },
    "Invalid": exactly(detail=listed(ref("Problem"), minItems=1)),
    "TooMany": {
        "type": "object",
        "properties": {"detail": TEXT, "retry_after": {"type": "string", "pattern": "^[0-9]+$"}},
        "required": ["detail", "retry_after"],
        "additionalProperties": False,
    },
    #: What stops a run: names of components, a flow that cannot be read, refused tweaks.
    "NotRunnable": exactly(
        detail=either(
            TEXT,
            listed(ref("Problem"), minItems=1),
            exactly(error=TEXT, code=TEXT, message=TEXT, fields=listed(TEXT)),
        )
    ),
    "OpenAIError": exactly(
        error=exactly(message=TEXT, type=TEXT, param={"type": ["string", "null"]}, code={"type": ["string", "null"]})
    ),
    "WorkflowRefusal": exactly(
        detail=either(TEXT, listed(ref("Problem"), minItems=1), {"type": "object", "required": ["error", "code"]})
    ),
    "RunResult": exactly(session_id=TEXT, outputs=listed({"type": "object"})),
}
