"""Answers that pages of other origins may read: none, unless the operator lists them."""

from __future__ import annotations

from flask import Flask, Response, request

from service.http.db import services

_METHODS = "GET, POST, PUT, PATCH, DELETE"
_HEADERS = ", ".join(
    (
        "authorization", "content-type", "x-api-key",
        "last-event-id", "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id",
    )
)  # fmt: skip


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
        response.headers["Access-Control-Allow-Headers"] = _HEADERS
        response.headers["Access-Control-Max-Age"] = "600"
    return response
