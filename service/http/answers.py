"""JSON answers, written without detours: runs and whoami answer all day."""

from __future__ import annotations

import json
from typing import Any

from flask import Response

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def json_answer(body: dict[str, Any]) -> Response:
    """Return a body of plain types as a 200 answer."""
    return Response(_encode(body).encode("utf-8", "backslashreplace"), mimetype="application/json")
