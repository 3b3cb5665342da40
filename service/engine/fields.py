"""What a component declares about its fields, and how stored values become usable ones."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Literal

from service.engine.values import Data, Message, Table, text_of

Kind = Literal[
    "text", "bool", "int", "float", "dict", "nested", "any", "handle",
    "secret", "url", "file", "code", "template", "provider", "model", "flow", "headers",
]  # fmt: skip

#: Kinds that a caller's tweak may set. Whatever is not here is refused.
OPEN_KINDS: frozenset[Kind] = frozenset({"text", "bool", "int", "float", "dict", "nested", "any", "handle"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field that a component reads.

    Args:
        name: the key in the exported template.
        kind: decides how a stored value is read and whether a tweak may set it.
        default: value when the export has none, or an empty one where emptiness means "not set".
        many: collects every incoming edge in a list.
        tool: description of the argument for an agent, which may set the field when the component is its tool.
    """

    name: str
    kind: Kind = "text"
    default: object = None
    many: bool = False
    tool: str | None = None


class Unfit(ValueError):
    """A value does not fit its field; the text says what was expected, never the value."""


def fitted(declared: Field, value: object) -> object:
    """A value for a field; of a field that takes many, a list's items one by one.

    Raises:
        Unfit: the value cannot be read as what the field declares.
    """
    if declared.many and isinstance(value, list):
        return [coerce(declared.kind, item) for item in value]
    return coerce(declared.kind, value, declared.default)


def coerce(kind: Kind, value: object, default: object = None) -> object:
    """Turn a stored or tweaked value into what a component reads.

    Raises:
        Unfit: the value cannot be read as ``kind``.
    """
    if isinstance(value, Message | Data | Table):
        return value
    try:
        return _coerced(kind, value, default)
    except RecursionError:
        raise Unfit("the value is nested too deeply") from None
    except Unfit:
        raise
    except ValueError:  # for example an integer with too many digits to be written down
        raise Unfit("the value cannot be read") from None


def _coerced(kind: Kind, value: object, default: object) -> object:
    if kind == "text":
        return default if value is None else _text(value)
    if kind in ("secret", "url", "template", "provider"):
        return default if value is None else text_of(value)
    if kind == "bool":
        return _bool(value, default)
    if kind in ("int", "float"):
        return _number(kind, value, default)
    if kind in ("dict", "nested"):
        return _mapping(value, default)
    return default if value is None else value


def _text(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\\n", "\n")
    if isinstance(value, list):
        return [_text(item) for item in value]
    if isinstance(value, dict):
        return _serialised_text(value).replace("\\n", "\n")
    return str(value) if isinstance(value, bool | int | float) else text_of(value)


def _serialised_text(value: dict[str, object]) -> str:
    """The text of a message that was saved in the field as JSON."""
    inner = value.get("data")
    text = value.get("text", inner.get("text", "") if isinstance(inner, dict) else "")
    return text if isinstance(text, str) else ""


def _bool(value: object, default: object) -> object:
    if value is None or value == "":
        return default
    if isinstance(value, str):
        return value.strip().lower() not in ("false", "0", "no", "off")
    return bool(value)


def _number(kind: Kind, value: object, default: object) -> object:
    if value is None or value == "":
        return default
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unfit(f"a number was expected, not {type(value).__name__}")
    try:
        number = int(value) if kind == "int" else float(value)
    except (ValueError, OverflowError):
        raise Unfit("a whole number was expected" if kind == "int" else "a number was expected") from None
    if isinstance(number, float) and not math.isfinite(number):
        raise Unfit("a finite number was expected")
    if isinstance(number, int) and abs(number) >= 2**63:
        raise Unfit("the number is too large")
    return number


def _mapping(value: object, default: object) -> object:
    """A dict; also Langflow's list of ``{"key", "value"}`` pairs, and JSON text."""
    if value is None or value == "":
        return default if default is not None else {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Unfit("JSON was expected") from None
    if isinstance(value, list):
        return _merged(value)
    if not isinstance(value, dict):
        raise Unfit("a JSON object was expected")
    return value


def _merged(items: list[object]) -> dict[str, object]:
    merged: dict[str, object] = {}
    for item in items:
        if not isinstance(item, dict):
            raise Unfit("a list of JSON objects was expected")
        if "key" in item and "value" in item:
            merged[str(item["key"])] = item["value"]
        else:
            merged.update(item)
    return merged
