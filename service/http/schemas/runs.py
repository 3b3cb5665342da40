"""Bodies of runs (contract 1.8)."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, pre_load, validate

from service.http.schemas.fields import Flag, NullIsAbsent, Text, WireSchema

_INPUT_TYPES = ("chat", "text", "any")
_OUTPUT_TYPES = ("chat", "text", "any", "debug")


def _one_of(values: tuple[str, ...]) -> validate.OneOf:
    quoted = ", ".join(f"'{value}'" for value in values)
    return validate.OneOf(values, error=f"Input should be one of {quoted}")


class RunBodySchema(NullIsAbsent):
    """The body of a run. Null counts as absent; unknown fields, such as the documents' old ``inputs``, too."""

    input_value = Text(longest=1_000_000)
    input_type = Text(validate=_one_of(_INPUT_TYPES), load_default="chat")
    output_type = Text(validate=_one_of(_OUTPUT_TYPES), load_default="chat")
    output_component = Text(longest=1000)
    tweaks = fields.Dict(keys=fields.String(), load_default=dict)
    session_id = Text(longest=255)
    stream = Flag(load_default=False)
    background = Flag(load_default=False)

    @pre_load
    def without_nulls(self, data: Any, **kwargs: Any) -> Any:
        """Take 1.13's ``{"input_request": {...}}`` too, and drop nulls."""
        inner = data.get("input_request") if isinstance(data, dict) else None
        body = inner if isinstance(inner, dict) else data
        if isinstance(inner, dict) and "background" in data:
            body = {"background": data["background"], **inner}
        return super().without_nulls(body, **kwargs)


class AdvancedInputSchema(WireSchema):
    """One input of an advanced run."""

    components = fields.List(Text(), load_default=list)
    input_value = Text(longest=1_000_000, load_default="")
    type = Text(validate=_one_of(_INPUT_TYPES), load_default="any")


class AdvancedBodySchema(NullIsAbsent):
    """The body of an advanced run."""

    inputs = fields.List(fields.Nested(AdvancedInputSchema), load_default=list)
    outputs = fields.List(Text(), load_default=list)
    tweaks = fields.Dict(keys=fields.String(), load_default=dict)
    stream = Flag(load_default=False)
    session_id = Text(load_default=None, longest=255)
