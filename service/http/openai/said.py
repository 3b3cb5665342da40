"""What a run has said, read from its events; the shapes that it is told in come after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.json_text import spaced

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """One output of a flow: its text, and the tools that were used on the way.

    ``message_id`` is that of the stored or streamed message, None where there is none.
    """

    message_id: str | None
    text: str
    tools: Sequence[Json] = ()


def said_in(outputs: Iterable[Any]) -> list[Said]:
    """What the outputs of a run's ``end`` say, in their order."""
    return [
        _said(value)
        for run in outputs
        for result in run["outputs"]
        for value in result["results"].values()
        if value is not None
    ]


def tools_in(message: Mapping[str, Any]) -> list[Json]:
    """The uses of tools that a message tells of, in their order."""
    return [block for block in message.get("content_blocks") or () if block.get("type") == "tool_use"]


def has_failed(tool: Json) -> bool:
    """Say whether the use of a tool came to nothing."""
    return tool.get("output") is None and tool.get("error") is not None


def _said(value: Any) -> Said:
    if isinstance(value, str):
        return Said(None, value)
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return Said(value["data"].get("id"), value["text"], tools_in(value))
    if isinstance(value, dict) and "data" in value:
        value = value["data"]
    return Said(None, spaced(value))
