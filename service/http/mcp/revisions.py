"""Revisions of MCP: two kinds of them, and what each asks of a request over HTTP.

Up to 2025-11-25 a client shakes hands first (``initialize``). From 2026-07-28 on each request stands alone: it says
in ``_meta`` and in headers which revision it speaks, and its answer says what kind it is and whose.

Source: https://modelcontextprotocol.io/specification, "Base protocol" and "Transports" of each revision.
"""

from __future__ import annotations

import base64
import binascii

from flask import Request

from service import __version__
from service.http.mcp.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Fault,
    Json,
    Message,
)

HANDSHAKE = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
STATELESS = "2026-07-28"
#: What a client speaks that does not say it in the header.
ASSUMED = "2025-03-26"
#: The only revision with batches.
BATCHES = "2025-03-26"

HEADER_MISMATCH, UNSUPPORTED_VERSION = -32020, -32022
_VERSION, _CAPABILITIES, _SERVER = (
    f"io.modelcontextprotocol/{name}" for name in ("protocolVersion", "clientCapabilities", "serverInfo")
)
#: Methods whose subject a header repeats, and which parameter it is.
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_CACHEABLE = frozenset(
    {"server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"}
)
_STATUS = {
    PARSE_ERROR: 400, INVALID_REQUEST: 400, INVALID_PARAMS: 400, HEADER_MISMATCH: 400, UNSUPPORTED_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}  # fmt: skip


def spoken(request: Request) -> str:
    """Return the revision that a request speaks.

    Raises:
        Fault: one that this server does not know.
    """
    named = request.headers.get("MCP-Protocol-Version")
    if named is None:
        return ASSUMED
    if named not in (*HANDSHAKE, STATELESS):
        known = {"supported": [*HANDSHAKE, STATELESS], "requested": named[:100]}
        raise Fault(UNSUPPORTED_VERSION, "Unsupported protocol version", known)
    return named


def agreed(wanted: object) -> str:
    """Return the revision of a handshake: the client's own where it is known, else the newest.

    Raises:
        Fault: the client names none.
    """
    if not isinstance(wanted, str):
        raise Fault(INVALID_PARAMS, "Invalid params: protocolVersion has to be a string")
    return wanted if wanted in HANDSHAKE else HANDSHAKE[-1]


def check_envelope(message: Message, request: Request) -> None:
    """Refuse a request that does not stand alone, or whose headers say something else than its body.

    An intermediary may have decided by the headers, so they must not disagree.

    Raises:
        Fault: says what is missing or different.
    """
    missing = [name for name in (_VERSION, _CAPABILITIES) if name not in message.meta]
    if missing:
        raise Fault(INVALID_PARAMS, f"Invalid params: params._meta lacks {', '.join(missing)}")
    if message.meta[_VERSION] != STATELESS:
        raise Fault(HEADER_MISMATCH, "The header MCP-Protocol-Version differs from the body's protocol version")
    if request.headers.get("Mcp-Method") != message.method:
        raise Fault(HEADER_MISMATCH, "The header Mcp-Method differs from the body's method")
    named = _NAMED.get(message.method)
    subject = message.params.get(named) if named is not None else None
    if subject is not None and _decoded(request.headers.get("Mcp-Name")) != subject:
        raise Fault(HEADER_MISMATCH, f"The header Mcp-Name differs from the body's {named}")


def finished(revision: str, method: str, content: Json, server: str) -> Json:
    """Return a result with what the revision wants in it."""
    if revision != STATELESS:
        return content
    content = {"resultType": "complete", **content, "_meta": {_SERVER: server_info(server)}}
    # Each caller sees its own tools, and may see others in a moment.
    return content | {"ttlMs": 0, "cacheScope": "private"} if method in _CACHEABLE else content


def server_info(name: str) -> Json:
    """Return who answers."""
    return {"name": name, "version": __version__}


def status_of(fault: Fault, revision: str) -> int:
    """Return the HTTP status of an error."""
    if revision == STATELESS or fault.code in {PARSE_ERROR, INVALID_REQUEST, UNSUPPORTED_VERSION}:
        return _STATUS.get(fault.code, 200)
    return 200


def _decoded(value: str | None) -> str | None:
    """A header's text, which is Base64 where it is not plain ASCII: ``=?base64?...?=``."""
    if value is None or not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[len("=?base64?") : -2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
