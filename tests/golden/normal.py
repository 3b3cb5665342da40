"""What of an answer is compared: everything but ids, times, and what only a server with a database adds."""

from __future__ import annotations

import re
from typing import Any

_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( UTC| CES?T|\+00:00|Z)?")
_DROPPED = frozenset(
    {"id", "run_id", "flow_id", "timestamp", "duration", "build_duration", "session_metadata", "timedelta"}
)
_MESSAGE = (
    "text", "sender", "sender_name", "session_id", "context_id", "files", "error", "edit", "category", "properties",
    "default_value", "text_key",
)  # fmt: skip


def comparable(answer: Any) -> Any:
    """The part of ``outputs`` of a run that two servers have to agree about."""
    return [{"inputs": one["inputs"], "outputs": [_result(result) for result in one["outputs"]]} for one in answer]


def _result(result: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in result.items() if name not in ("timedelta", "duration", "logs")}
    return {
        **kept,
        "results": {name: _value(value) for name, value in result["results"].items()},
        "artifacts": _artifacts(result["artifacts"]),
        "outputs": {name: _scrubbed(value) for name, value in result["outputs"].items()},
        "messages": _scrubbed(result["messages"]),
    }


def _value(value: Any) -> Any:
    if isinstance(value, dict) and "sender" in value and "category" in value:
        message = {name: _scrubbed(value[name]) for name in _MESSAGE}
        # Langflow's server stores a message's text without its text blocks, lfx alone keeps them.
        return {**message, "tools": [_tool(block) for block in value["content_blocks"] if block["type"] != "text"]}
    return _scrubbed(value)


def _tool(block: dict[str, Any]) -> dict[str, Any]:
    return {name: block[name] for name in ("type", "name", "tool_input", "error")}


def _artifacts(artifacts: Any) -> Any:
    """Without ``repr``: a rendering for people, which differs between Langflow's own versions."""
    if isinstance(artifacts, dict):
        return {name: _artifacts(value) for name, value in artifacts.items() if name != "repr"}
    return _scrubbed(artifacts)


def _scrubbed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _scrubbed(item) for name, item in value.items() if name not in _DROPPED}
    if isinstance(value, list):
        return [_scrubbed(item) for item in value]
    return _TIME.sub("<time>", value) if isinstance(value, str) else value
