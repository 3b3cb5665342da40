"""JSON text that every client and every database takes: the one place where plain data becomes text.

orjson writes it, thirty times as fast as the standard library; what it refuses (numbers beyond 64 bits, keys that are
no text, half of a surrogate pair, deep nesting), the standard library writes. NaN and the infinities, which JSON does
not have, become null: a fetched page or a tool's result may hold them, and an answer that was paid for must not be
lost for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import orjson

# Only plain types are written; of others the caller says what becomes of them.
_PLAIN = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_spaced = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def encoded(value: object, default: Callable[[Any], Any] | None = None) -> bytes:
    """Compact JSON as UTF-8; half of a surrogate pair is escaped.

    Args:
        value: plain data.
        default: makes plain data of what is none; without it such a value is a TypeError.
    """
    try:
        return orjson.dumps(value, default, _PLAIN)
    except TypeError:
        encoder = _compact if default is None else _with(default)
        return _written(encoder, value).encode("utf-8", "backslashreplace")


def stored(value: object) -> str:
    """JSON text for a column; what JSON does not know becomes text."""
    return encoded(value, str).decode()


def spaced(value: object) -> str:
    """JSON text with blanks after its separators, as Langflow's streams have it."""
    return _written(_spaced, value)


def finite(value: object) -> object:
    """Plain data with null for every number that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _with(default: Callable[[Any], Any]) -> json.JSONEncoder:
    return json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=default)


def _written(encoder: json.JSONEncoder, value: object) -> str:
    try:
        return encoder.encode(value)
    except ValueError:
        return encoder.encode(finite(value))
