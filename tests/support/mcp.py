"""Callers of MCP endpoints in tests: messages in, parsed answers out."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

STREAMABLE = "/api/v1/mcp/streamable"
BOTH = "application/json, text/event-stream"
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
STRANGER = "203.0.113.9"


def request_of(method: str, params: dict[str, Any] | None = None, number: Any = 1) -> dict[str, Any]:
    """One request as a client sends it; without a number it is a notification."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params or {}}
    return message if number is None else message | {"id": number}


class Mcp:
    """An MCP client of a Flask application, at one endpoint.

    Args:
        key: None for nobody in particular.
    """

    def __init__(
        self, app: Flask, key: str | None = None, path: str = STREAMABLE, address: str = "127.0.0.1"
    ) -> None:
        self.app, self.key, self.path, self.address = app, key, path, address

    def post(self, content: Any, path: str | None = None, **kwargs: Any) -> TestResponse:
        """Send a body as it is."""
        headers = dict(kwargs.pop("headers", None) or {})
        if self.key is not None:
            headers.setdefault("x-api-key", self.key)
        return self.app.test_client(use_cookies=False).post(
            path or self.path, json=content, headers=headers, environ_base={"REMOTE_ADDR": self.address}, **kwargs
        )

    def ask(self, method: str, params: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """Send a request, and return the result or the error of its answer."""
        answer = self.post(request_of(method, params), **kwargs).json
        return answer.get("result", answer.get("error"))

    def tools(self, **kwargs: Any) -> list[str]:
        """The names of the tools that are listed."""
        return [tool["name"] for tool in self.ask("tools/list", **kwargs)["tools"]]

    def call(self, name: str, arguments: Any = None, **kwargs: Any) -> Any:
        """Call a tool, and return the result or the error."""
        return self.ask("tools/call", {"name": name, "arguments": arguments or {}}, **kwargs)

    def said(self, name: str, arguments: Any = None, **kwargs: Any) -> tuple[bool, str]:
        """Call a tool; return whether it failed, and its text."""
        found = self.call(name, arguments, **kwargs)
        return found["isError"], "\n".join(item["text"] for item in found["content"])

    def stateless(self, method: str, params: dict[str, Any] | None = None, **headers: str) -> TestResponse:
        """Send a request of the revision without a handshake."""
        params = {"_meta": META, **(params or {})}
        sent = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
        if "name" in params:
            sent["Mcp-Name"] = params["name"]
        return self.post(request_of(method, params), headers=sent | headers)


def events_of(answer: TestResponse) -> list[dict[str, Any]]:
    """The messages of a stream that has an end."""
    return [json.loads(line[6:]) for line in answer.get_data(as_text=True).splitlines() if line.startswith("data: ")]
