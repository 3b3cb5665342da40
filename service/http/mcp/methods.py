"""The methods of MCP that are answered at once: all but ``tools/call``."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Callable
from typing import Any

from service.domain import mcp, mcp_resources
from service.domain.errors import NotFound, TooLarge
from service.http.db import session
from service.http.mcp import revisions
from service.http.mcp.exchange import Exchange
from service.http.mcp.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, Fault, Json, Message
from service.storage.files import UploadedFileRow

PAGE = 100
#: Of the revisions with a handshake; later ones call it invalid params.
_RESOURCE_NOT_FOUND = -32002
_CAPABILITIES: Json = {"tools": {}, "resources": {}, "prompts": {}}


def answer(exchange: Exchange, message: Message) -> Json:
    """Return the result of a request.

    Raises:
        Fault: there is no such method in this revision, or its parameters cannot be used.
    """
    stateless = exchange.revision == revisions.STATELESS
    method = (_METHODS | (_STATELESS if stateless else _HANDSHAKE)).get(message.method)
    if method is None:
        raise Fault(METHOD_NOT_FOUND, "Method not found")
    content = method(exchange, message)
    return revisions.finished(exchange.revision, message.method, content, exchange.server)


def _initialize(exchange: Exchange, message: Message) -> Json:
    return {
        "protocolVersion": revisions.agreed(message.params.get("protocolVersion")),
        "capabilities": _CAPABILITIES,
        "serverInfo": revisions.server_info(exchange.server),
    }


def _discover(exchange: Exchange, message: Message) -> Json:
    del exchange, message
    return {"supportedVersions": [*revisions.HANDSHAKE, revisions.STATELESS], "capabilities": _CAPABILITIES}


def _ping(exchange: Exchange, message: Message) -> Json:
    del exchange, message
    return {}


def _tools(exchange: Exchange, message: Message) -> Json:
    offset = _offset(message)
    own = session()
    named = mcp.tools_of(own, exchange.whom)
    tools = mcp.described(own, exchange.own.tool_shapes, named[offset : offset + PAGE])
    listed = [{"name": tool.name, "description": tool.description, "inputSchema": tool.schema} for tool in tools]
    return {"tools": listed} | _next(offset, more=len(named) > offset + PAGE)


def _resources(exchange: Exchange, message: Message) -> Json:
    offset = _offset(message)
    rows = mcp_resources.listed(session(), exchange.whom, offset, PAGE + 1) if exchange.may_read else []
    return {"resources": [_resource(row) for row in rows[:PAGE]]} | _next(offset, more=len(rows) > PAGE)


def _read(exchange: Exchange, message: Message) -> Json:
    uri = message.params.get("uri")
    if not isinstance(uri, str):
        raise Fault(INVALID_PARAMS, "Invalid params: uri has to be a string")
    try:
        if not exchange.may_read:
            raise NotFound("Resource not found")
        row = mcp_resources.read(session(), exchange.whom, uri)
    except (NotFound, TooLarge) as error:
        code = INVALID_PARAMS if exchange.revision == revisions.STATELESS else _RESOURCE_NOT_FOUND
        raise Fault(code, str(error)) from None
    content = base64.b64encode(row.content).decode()
    return {"contents": [{"uri": uri, "mimeType": _kind(row), "blob": content}]}


def _templates(exchange: Exchange, message: Message) -> Json:
    del exchange, message
    return {"resourceTemplates": []}


def _prompts(exchange: Exchange, message: Message) -> Json:
    del exchange, message
    return {"prompts": []}


def _prompt(exchange: Exchange, message: Message) -> Json:
    del exchange, message
    raise Fault(INVALID_PARAMS, "Invalid params: there is no such prompt")


Method = Callable[[Exchange, Message], Json]
_METHODS: dict[str, Method] = {
    "tools/list": _tools,
    "resources/list": _resources,
    "resources/read": _read,
    "resources/templates/list": _templates,
    "prompts/list": _prompts,
    "prompts/get": _prompt,
}
_HANDSHAKE: dict[str, Method] = {"initialize": _initialize, "ping": _ping}
_STATELESS: dict[str, Method] = {"server/discover": _discover}


def _resource(row: UploadedFileRow) -> Json:
    return {"uri": mcp_resources.uri_of(row), "name": row.name, "mimeType": _kind(row), "size": row.size}


def _kind(row: UploadedFileRow) -> str:
    return mimetypes.guess_type(row.name)[0] or "application/octet-stream"


def _offset(message: Message) -> int:
    cursor: Any = message.params.get("cursor", "0")
    if not isinstance(cursor, str) or not (cursor.isascii() and cursor.isdigit()) or len(cursor) > 9:
        raise Fault(INVALID_PARAMS, "Invalid params: this cursor came from no earlier page")
    return int(cursor)


def _next(offset: int, more: bool) -> Json:
    return {"nextCursor": str(offset + PAGE)} if more else {}
