"""The official Python client: TRANSPORT MODE URL [KEY]; prints what it saw as JSON.

TRANSPORT is streamable or sse; MODE is the client's own word: auto, legacy, or a revision. With ``--cancel`` it calls
the tool "chat", goes away when the first progress has come, and says what it can still do then.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS


def connection(transport: str, mode: str, url: str, key: str | None) -> Client:
    headers = {"x-api-key": key} if key else {}
    if transport == "sse":
        return Client(sse_client(url, headers=headers), mode=mode)
    return Client(streamable_http_client(url, http_client=create_mcp_http_client(headers)), mode=mode)


def seen(result: Any) -> list[Any]:
    return [bool(result.is_error), *(item.text for item in result.content)]


async def walk(client: Client) -> dict[str, Any]:
    progress: list[float] = []

    async def note(done: float, total: float | None, message: str | None) -> None:
        progress.append(done)

    tools = (await client.list_tools()).tools
    found: dict[str, Any] = {
        "known": list(KNOWN_PROTOCOL_VERSIONS),
        "version": client.protocol_version,
        "server": client.server_info.name if client.server_info else None,
        "tools": {tool.name: sorted(tool.input_schema["properties"]) for tool in tools},
        "echo": seen(await client.call_tool("echo", {"input_value": "Hello"})),
        "unknown": seen(await client.call_tool("nothing", {})),
        "prompts": len((await client.list_prompts()).prompts),
        "resources": [one.name for one in (await client.list_resources()).resources],
    }
    if "chat" in found["tools"]:
        found["chat"] = seen(await client.call_tool("chat", {"input_value": "Hi"}, progress_callback=note))
        found["failed"] = seen(await client.call_tool("chat", {"input_value": "!401"}))
        found["progress"] = progress
    return found


async def cancel(client: Client) -> dict[str, Any]:
    with anyio.CancelScope() as scope:

        async def leave(done: float, total: float | None, message: str | None) -> None:
            scope.cancel()

        await client.call_tool("chat", {"input_value": "Hi"}, progress_callback=leave)
    return {"left": scope.cancelled_caught, "afterwards": len((await client.list_tools()).tools)}


async def main(transport: str, mode: str, url: str, key: str | None = None) -> None:
    act = cancel if "--cancel" in sys.argv else walk
    async with connection(transport, mode, url, key) as client:
        print(json.dumps(await act(client)))


anyio.run(main, *[argument for argument in sys.argv[1:] if argument != "--cancel"])
