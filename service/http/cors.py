"""Answers that pages of other origins may read: none, unless the operator lists them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from flask import Flask, Response, request

from service.http.db import services

_METHODS = "GET, POST, PUT, PATCH, DELETE"
_HEADERS = (
    "authorization", "content-type", "x-api-key",
    "last-event-id", "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id",
)  # fmt: skip
#: Names that a preflight may ask for at once (gunicorn takes as many fields), and the characters of all of them.
_MOST_NAMES, _LONGEST = 100, 4096
#: RFC 9110, 5.6.2. A star is a token too, and in the answer it would stand for every name.
_TOKEN = re.compile(r"(?!\*$)[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def install(app: Flask) -> None:
    """Add the headers where they are due."""
    app.after_request(_allow)


def _allow(response: Response) -> Response:
    origin = request.headers.get("Origin")
    settings = services().settings
    is_open = "*" in settings.cors_origins
    if not is_open:
        # On refusals and on requests of programs too: a cache must hand neither to a page that may read answers.
        response.vary.add("Origin")
    if origin is None:
        return response
    if origin in settings.cors_origins and not is_open:
        response.headers["Access-Control-Allow-Origin"] = origin
        if settings.cors_allow_credentials:
            response.headers["Access-Control-Allow-Credentials"] = "true"
    elif is_open:
        response.headers["Access-Control-Allow-Origin"] = "*"
    else:
        return response
    response.headers["Access-Control-Expose-Headers"] = "mcp-session-id"
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = _METHODS
        headers: Iterable[str] = _HEADERS
        if not is_open:
            response.vary.add("Access-Control-Request-Headers")
            headers = dict.fromkeys((*_HEADERS, *_asked_for()))
        response.headers["Access-Control-Allow-Headers"] = ", ".join(headers)
        response.headers["Access-Control-Max-Age"] = "600"
    return response


def _asked_for() -> list[str]:
    """The names of headers that a preflight asks for: each variable and each SDK has its own."""
    asked = request.headers.get("Access-Control-Request-Headers", "")
    names = [name.strip(" \t").lower() for name in asked.split(",")]
    is_fit = len(asked) <= _LONGEST and len(names) <= _MOST_NAMES and all(map(_TOKEN.fullmatch, names))
    return names if is_fit else []
