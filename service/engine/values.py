"""What travels along an edge: messages, records, tables and model selections."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from service.domain.errors import RunTooLarge
from service.domain.ports import TokenUsage

SENDER_AI = "Machine"
SENDER_USER = "User"
NAME_AI = "AI"

Source = tuple[str | None, str | None, str | None]
NO_SOURCE: Source = (None, None, None)

#: Characters; what a value may grow to when it is written out.
_LONGEST_JSON, _LONGEST_PADDED = 10_000_000, 1_000_000
#: What anything but a text counts as, in characters: an empty record takes memory too.
_LEAST_WEIGHT = 4


class _Stopped:
    """The value of an output that a component switched off; see ``STOPPED``."""

    def __repr__(self) -> str:
        return "STOPPED"


#: What a component returns for an output whose branch must not run.
STOPPED = _Stopped()


def timestamp() -> str:
    """Now, as Langflow 1.13 writes it: ``2026-11-23 13:04:16.748205 UTC``."""
    return datetime.now(UTC).isoformat(" ", "microseconds")[:26] + " UTC"  # a third of strftime's cost


@dataclass(slots=True)
class Message:
    """A chat message.

    Args:
        id: UUID text once the message counts as stored, else None; it decides the shape on the wire.
        source: id, display name and model (or display name) of the component that wrote it.
        state: ``partial`` while a model is still writing, else ``complete``.
        colors: of the text and of the background; 1.5's exports set them.
        extra: keys that an unstored message shows first in its ``data``.
        begun: True when a stream has announced this id and somebody must still complete it.
        blocks: Langflow's content blocks: what an agent said and which tools it used, in order.
    """

    text: str
    sender: str | None = None
    sender_name: str | None = None
    session_id: str = ""
    context_id: str = ""
    files: tuple[str, ...] = ()
    timestamp: str = ""
    id: str | None = None
    source: Source = NO_SOURCE
    icon: str | None = None
    colors: tuple[str | None, str | None] = (None, None)
    state: str = "complete"
    usage: TokenUsage | None = None
    extra: dict[str, object] | None = None
    begun: bool = False
    blocks: list[dict[str, Any]] = field(default_factory=list)

    def stamp(self) -> str:
        """The time of the message, taken when somebody first asks for it."""
        self.timestamp = self.timestamp or timestamp()
        return self.timestamp


@dataclass(slots=True)
class Data:
    """A record, Langflow's Data (JSON in newer exports); ``text_key`` names its text."""

    data: dict[str, object]
    text_key: str = "text"


@dataclass(slots=True)
class Table:
    """Rows of records, Langflow's DataFrame (Table in newer exports)."""

    rows: list[dict[str, object]]

    def columns(self) -> list[str]:
        """Column names in order of first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A language model with everything needed to call it."""

    provider: str
    model: str
    api_key: str = field(repr=False)
    base_url: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    json_mode: bool = False
    timeout: float | None = None
    max_retries: int = 2
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    api_version: str | None = None


def total_usage(used: Iterable[TokenUsage]) -> TokenUsage:
    """The sum of what several models have used."""
    counts = [(item.input_tokens, item.output_tokens) for item in used]
    read, written = sum(c[0] for c in counts), sum(c[1] for c in counts)
    return TokenUsage(read, written, read + written)


def text_of(value: object) -> str:
    """The text that a value stands for when a text field or a prompt variable receives it."""
    if isinstance(value, str):
        return value
    if isinstance(value, Message):
        return value.text
    if isinstance(value, Data):
        return str(value.data.get(value.text_key, ""))
    if isinstance(value, Table):
        return to_markdown(value)
    if isinstance(value, list):
        return str([text_of(item) for item in value])
    return "" if value is None else str(value)


def clean(text: str) -> str:
    """Empty out blank lines and shorten runs of newlines, as Langflow does before it shows a text."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"^\s*$", "", text, flags=re.MULTILINE))


def weight(value: object, most: int) -> int:
    """Characters that a value holds, nested ones included; the count ends once there are more than ``most``.

    A record may hold another one many times over, which takes no memory until somebody writes it out.
    """
    total, waiting = 0, [value]
    while waiting and total <= most:
        item = waiting.pop()
        if isinstance(item, str):
            total += len(item)
            continue
        total += _LEAST_WEIGHT
        if isinstance(item, Message):
            total += len(item.text)
        elif isinstance(item, Data):
            waiting.append(item.data)
        elif isinstance(item, Table):
            waiting.extend(item.rows)
        elif isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
    return total


def as_json(value: object, indent: int = 2) -> str:
    """Pretty JSON; what JSON cannot say is written as text.

    Raises:
        RunTooLarge: it would be too long; the deeper a value is nested, the more blanks each line takes.
    """
    pieces, size = [], 0
    for piece in json.JSONEncoder(indent=indent, ensure_ascii=False, default=str).iterencode(value):
        pieces.append(piece)
        size += len(piece)
        if size > _LONGEST_JSON:
            raise RunTooLarge(f"A value is longer than {_LONGEST_JSON} characters as JSON.")
    return "".join(pieces)


def display(value: object) -> str:
    """A value as Chat Output shows it: a record as a JSON block, a table as Markdown."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Message):
        return value.text
    if isinstance(value, Data):
        return clean(f"```json\n{as_json(value.data)}\n```")
    if isinstance(value, Table):
        return to_markdown(value)
    if isinstance(value, list):
        return "\n".join(display(item) for item in value)
    if isinstance(value, dict):
        return clean(f"```json\n{as_json(value)}\n```")
    return "" if value is None else clean(str(value))


def to_markdown(table: Table) -> str:
    """A Markdown table laid out as pandas' ``to_markdown(index=False)`` lays it out."""
    columns = table.columns()
    if not columns:
        return ""
    right = [_numeric(row.get(name) for row in table.rows) for name in columns]
    cells = [_column([row.get(name) for row in table.rows], r) for name, r in zip(columns, right, strict=True)]
    rows = [list(row) for row in zip(*cells, strict=True)]
    widths = [max(len(name) + 2, *(len(row[at]) for row in rows), 0) for at, name in enumerate(columns)]
    if sum(widths) * len(rows) > _LONGEST_PADDED:
        # One long cell would be repeated in blanks for each row.
        widths = [len(name) for name in columns]
    rules = ["-" * (w + 1) + ":" if r else ":" + "-" * (w + 1) for w, r in zip(widths, right, strict=True)]
    lines = [_line(columns, widths, right), "|" + "|".join(rules) + "|"]
    return "\n".join(lines + [_line(row, widths, right) for row in rows])


def _line(cells: list[str], widths: list[int], right: list[bool]) -> str:
    padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
    return "| " + " | ".join(padded) + " |"


def _column(values: list[object], numeric: bool) -> list[str]:
    """The cells of a column; fractions are aligned at the point."""
    if not numeric or not any(isinstance(value, float) for value in values):
        return [_cell(value) for value in values]
    shown = [f"{value:g}" if isinstance(value, int | float) else "nan" for value in values]
    after = [len(text) - text.index(".") - 1 if "." in text else -1 for text in shown]
    return [text + " " * (max(after) - digits) for text, digits in zip(shown, after, strict=True)]


def _cell(value: object) -> str:
    """One line per row: a newline would break the table, a pipe would add a column."""
    text = re.sub(r"\n+", "\n", text_of(value).replace("\r\n", "\n").replace("\r", "\n")).strip("\n")
    return text.replace("\n", "<br/>").replace("|", "\\|")


def _numeric(values: Iterable[object]) -> bool:
    seen = [v for v in values if v is not None]
    return bool(seen) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in seen)
