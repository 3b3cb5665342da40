"""JSON answers, written without detours: runs and whoami answer all day."""

from __future__ import annotations

import json
from typing import Any

from flask import Response

from service.storage.engine import finite

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False, allow_nan=False).encode
_spaced = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def spaced(body: object) -> str:
    """JSON text with blanks after its separators, as Langflow's streams have it."""
    try:
        return _spaced(body)
    except ValueError:
        return _spaced(finite(body))


def json_answer(body: dict[str, Any] | list[dict[str, Any]]) -> Response:
    """Return a body of plain types as a 200 answer."""
    try:
        text = _encode(body)
    except ValueError:  # a fetched page or a file may hold NaN, which no client could read
        text = _encode(finite(body))
    return Response(text.encode("utf-8", "backslashreplace"), mimetype="application/json")
