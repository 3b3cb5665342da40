"""From a field of a schema to JSON Schema, where apispec cannot know."""

from __future__ import annotations

from typing import Any

from flask_smorest import Api
from marshmallow import fields

from service.http.schemas import fields as own
from service.http.schemas.messages import Stamp
from service.http.schemas.openai import Unsupported, UserText

#: What no database can hold.
NO_NUL = "^[^\\u0000]*$"


def install(api: Api) -> None:
    """Teach the document about this API's own fields."""
    api.register_field(own.Instant, "string", "date-time")
    api.register_field(Stamp, "string", None)
    converter = api.ma_plugin.converter
    for describe in (_text, _names, _bounds, _nothing, _user_text, _nullable, _alternatives):
        converter.add_attribute_function(describe)


def _text(self: Any, field: fields.Field[Any], ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    if not isinstance(field, own.Text):
        return {}
    longest = {} if field.longest is None else {"maxLength": field.longest}
    # Whatever says more than that says this too.
    says_more = ret.keys() & {"pattern", "enum", "format"}
    return longest | ({} if says_more else {"pattern": NO_NUL})


def _names(self: Any, field: fields.Field[Any], ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The names in an object, and how many there may be."""
    if not isinstance(field, fields.Dict):
        return {}
    found: dict[str, Any] = {}
    for theirs, ours in (("minLength", "minProperties"), ("maxLength", "maxProperties")):
        found |= {ours: ret.pop(theirs)} if theirs in ret else {}
    if isinstance(field.key_field, own.Text):
        found["propertyNames"] = self.field2property(field.key_field)
    return found


def _bounds(self: Any, field: fields.Field[Any], **_: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in field.validators:
        if isinstance(one, own.Bound):
            found |= {} if one.least is None else {"minimum": one.least}
            found |= {} if one.most is None else {"maximum": one.most}
    return found


def _nothing(self: Any, field: fields.Field[Any], **_: Any) -> dict[str, Any]:
    return {"enum": list(field.harmless)} if isinstance(field, Unsupported) else {}


def _user_text(self: Any, field: fields.Field[Any], **_: Any) -> dict[str, Any]:
    if not isinstance(field, UserText):
        return {}
    text = {"type": "string", "maxLength": 1_000_000, "pattern": NO_NUL}
    part = {
        "type": "object",
        "properties": {"type": {"enum": ["text", "input_text", "output_text"]}, "text": text},
        "required": ["type", "text"],
    }
    said = {
        "type": "object",
        "properties": {
            "role": {"const": "user"},
            "content": {"anyOf": [text, {"type": "array", "items": part}]},
        },
        "required": ["role", "content"],
    }
    # What came before is not read, so that only the last one has a shape; JSON Schema cannot say "the last".
    return {"anyOf": [text, {"type": "array", "items": said, "minItems": 1}]}


def _alternatives(self: Any, field: fields.Field[Any], ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A format holds for the text alone, where there may be null as well."""
    if not isinstance(ret.get("type"), list) or "null" not in ret["type"] or "format" not in ret:
        return {}
    text = {name: ret.pop(name) for name in ("format", "pattern", "minLength", "maxLength") if name in ret}
    kinds = [one for one in ret.pop("type") if one != "null"]
    return {"anyOf": [{"type": kinds[0], **text}, {"type": "null"}]}


def _nullable(self: Any, field: fields.Field[Any], ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Where null counts as absent, it may be sent for whatever need not be there."""
    if not isinstance(field.parent, own.NullIsAbsent) or field.required:
        return {}
    if "$ref" in ret:
        return {"anyOf": [{"$ref": ret.pop("$ref")}, {"type": "null"}]}
    if "type" not in ret:
        return {}
    kinds = ret["type"] if isinstance(ret["type"], list) else [ret["type"]]
    enum = {"enum": [*ret["enum"], None]} if "enum" in ret and None not in ret["enum"] else {}
    return {"type": [*dict.fromkeys([*kinds, "null"])]} | enum
