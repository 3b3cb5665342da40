"""Components as tools of an agent.

A flow connects the output ``component_as_tool`` of a node to an agent. Each output method of the component is then
one tool; what the model may fill in are the fields that the class declares with ``tool=...`` and no others, whatever
the stored flow says. A call works on a copy of the node's values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from service.domain.errors import ComponentFailed, DomainError, RunCancelled, RunTimedOut, RunTooLarge
from service.domain.ports import Event, ToolSpec
from service.engine.fields import Field, Kind, Unfit, fitted
from service.engine.values import Data, Message, Table

if TYPE_CHECKING:
    from service.engine.component import Component, Draft

#: The output that turns a whole component into tools.
TOOL_OUTPUT = "component_as_tool"
MAX_TOOL_NAME = 64

_JSON_TYPES: Mapping[Kind, str] = {
    "bool": "boolean", "int": "integer", "float": "number", "dict": "object", "nested": "object",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """One tool as far as it is known before a run."""

    spec: ToolSpec
    method: Callable[[Component], object]
    arguments: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of one run: a plan and the component that it works on."""

    plan: ToolPlan
    component: Component

    @property
    def name(self) -> str:
        """The name that the model calls it by."""
        return self.plan.spec.name

    def call(self, arguments: Mapping[str, object]) -> object:
        """Run the component's method with the model's arguments on a copy of the node's values.

        Raises:
            ComponentFailed: unknown or unfit arguments, or the component's own failure.
            RunTimedOut, RunTooLarge: the run is over.
        """
        component, values = self.component, dict(self.component.values)
        for name, value in arguments.items():
            declared = self.plan.arguments.get(name)
            if declared is None:
                raise ComponentFailed(f"The tool {self.name} has no argument {name[:80]}.")
            try:
                values[name] = fitted(declared, [value] if declared.many and not isinstance(value, list) else value)
            except Unfit as error:
                raise ComponentFailed(f"The argument {name} of the tool {self.name} is wrong: {error}.") from None
        made = self.plan.method(type(component)(component.step, component.run, values, frozenset(arguments)))
        return drained(made) if isinstance(made, GeneratorType) else made


def drained(events: Generator[Event, None, object]) -> object:
    """Run a streaming method to its end; nobody listens to what a tool says on the way."""
    while True:
        try:
            next(events)
        except StopIteration as done:
            return done.value


def toolkit(component: Component) -> list[Tool]:
    """The tools of one node; the method behind ``component_as_tool``."""
    return [Tool(plan, component) for plan in component.step.tools]


def planned(component: type[Component], draft: Draft) -> tuple[ToolPlan, ...]:
    """The tools of a node, named and described as its author has edited them (``tools_metadata``)."""
    stored = draft.node.fields.get("tools_metadata")
    return planned_for(component, stored.value if stored else None)


def planned_for(component: type[Component], edits: object = None) -> tuple[ToolPlan, ...]:
    """The tools of a component: one for each output, as edited; all of them when nothing is."""
    rows = {tag: row for row, tag in _rows(edits)}
    arguments = {item.name: item for item in component.fields if item.tool is not None}
    plans = []
    for method in component.tool_methods():
        row = rows.get(method, {}) if rows else {"status": True}
        if row.get("status", False):
            plans.append(_plan(component, method, row, arguments))
    return tuple(plans)


def _plan(
    component: type[Component], method: str, row: Mapping[str, object], arguments: Mapping[str, Field]
) -> ToolPlan:
    name, description = row.get("name"), row.get("description")
    spec = ToolSpec(
        safe_name(name if isinstance(name, str) and name else method),
        description if isinstance(description, str) and description else component.description,
        schema(arguments.values()),
    )
    return ToolPlan(spec, getattr(component, method), arguments)


def _rows(stored: object) -> Iterable[tuple[Mapping[str, object], str]]:
    """The author's edits, by the method that they are about."""
    for row in stored if isinstance(stored, list) else ():
        tags = row.get("tags") if isinstance(row, Mapping) else None
        if isinstance(tags, list) and tags and isinstance(tags[0], str):
            yield row, tags[0]


def schema(arguments: Iterable[Field]) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments."""
    found = list(arguments)
    return {
        "type": "object",
        "properties": {item.name: _property(item) for item in found},
        "required": [item.name for item in found if item.default is None],
    }


def _property(item: Field) -> dict[str, Any]:
    kind = _JSON_TYPES.get(item.kind, "string")
    described = {"description": item.tool or ""}
    return {"type": "array", "items": {"type": kind}, **described} if item.many else {"type": kind, **described}


def safe_name(name: str) -> str:
    """A name that every provider takes: letters, digits, ``_`` and ``-``, at most 64."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in name)[:MAX_TOOL_NAME]


def distinct(tools: Iterable[Tool]) -> dict[str, Tool]:
    """The tools by name; of two with one name both get their node's id added, as in Langflow 1.13."""
    found = list(tools)
    counts: dict[str, int] = {}
    for tool in found:
        counts[tool.name] = counts.get(tool.name, 0) + 1
    named: dict[str, Tool] = {}
    for tool in found:
        name = tool.name
        if counts[name] > 1:
            suffix = safe_name(tool.component.step.node_id).replace("-", "_")[-32:]
            name = f"{name[: MAX_TOOL_NAME - 1 - len(suffix)]}_{suffix}"
        named.setdefault(name, tool)
    return named


def arguments_of(text: str) -> dict[str, object]:
    """A model's arguments.

    Raises:
        ComponentFailed: they are no JSON object.
    """
    try:
        arguments = json.loads(text, parse_float=_finite, parse_constant=_finite) if text.strip() else {}
    except (ValueError, RecursionError):
        raise ComponentFailed("The arguments are not valid JSON.") from None
    if not isinstance(arguments, dict):
        raise ComponentFailed("The arguments have to be a JSON object.")
    return arguments


def _finite(text: str) -> float:
    """Models write ``NaN``, which Python reads although JSON has no such thing and nobody can store it."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def as_text(value: object) -> str:
    """What the model reads of a tool's result: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Message):
        return value.text
    return json.dumps(plain(value), ensure_ascii=False, default=str)


def plain(value: object) -> object:
    """A value as plain JSON data; of what is no data, its type's name."""
    if isinstance(value, Message):
        return value.text
    if isinstance(value, Data):
        return value.data
    if isinstance(value, Table):
        return value.rows
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | dict) else type(value).__name__


def failure_of(error: DomainError) -> str:
    """What the model reads when a tool has failed.

    Raises:
        RunTimedOut, RunTooLarge, RunCancelled: these end the run, not only the call.
    """
    if isinstance(error, RunTimedOut | RunTooLarge | RunCancelled):
        raise error
    return str(getattr(error, "reason", error))
