"""Branches and loops."""

from __future__ import annotations

from collections.abc import Callable

from service.engine.component import Component, Loop, Output
from service.engine.fields import Field
from service.engine.patterns import COMPARISONS, matches
from service.engine.values import STOPPED, Data, Message, Table, display, text_of

_NUMBERS: dict[str, Callable[[float, float], bool]] = {
    "less than": lambda number, wanted: number < wanted,
    "less than or equal": lambda number, wanted: number <= wanted,
    "greater than": lambda number, wanted: number > wanted,
    "greater than or equal": lambda number, wanted: number >= wanted,
}


class ConditionalRouter(Component):
    """If-else: compares two texts and lets only one of the two branches run."""

    names = ("ConditionalRouter",)
    display_name = "If-Else"
    description = "Routes a text by a comparison."
    fields = (
        Field("input_text", default=""),
        Field("operator", default="equals"),
        Field("match_text", default=""),
        Field("case_sensitive", "bool", default=True),
        Field("true_case_message", "any"),
        Field("false_case_message", "any"),
        Field("message", "any"),
        Field("max_iterations", "int", default=10),
        Field("default_route", default="false_result"),
    )
    outputs = (Output("true_result", "true_response"), Output("false_result", "false_response"))
    __slots__ = ()

    def true_response(self) -> object:
        """The message of the branch for a comparison that holds."""
        return self._routed("true_case_message") if self._holds() else STOPPED

    def false_response(self) -> object:
        """The message of the other branch."""
        return STOPPED if self._holds() else self._routed("false_case_message")

    def _routed(self, case: str) -> Message:
        """The message of the case; without one, that of 1.5's ``message``, or the text itself."""
        for name in (case, "message"):
            value = self.values.get(name)
            if isinstance(value, Message) and (value.text or value.files or value.blocks):
                return value
            if isinstance(value, str) and value:
                return Message(value)
        return Message(self.text("input_text"))

    def _holds(self) -> bool:
        text, wanted, operator = self.text("input_text"), self.text("match_text"), self.text("operator")
        if operator == "regex":
            try:
                return matches(wanted, text)
            except ValueError as error:
                raise self.fail(str(error)) from None
        if not self.values["case_sensitive"]:
            text, wanted = text.lower(), wanted.lower()
        if operator in COMPARISONS:
            return COMPARISONS[operator](text, wanted)
        try:
            return operator in _NUMBERS and _NUMBERS[operator](float(text), float(wanted))
        except ValueError:
            return False


class LoopComponent(Loop):
    """Runs what is connected to its item once for each record, and gathers what comes back."""

    names = ("LoopComponent",)
    display_name = "Loop"
    description = "Runs a part of the flow once for each item."
    fields = (Field("data", "handle"),)
    outputs = (Output("item", "items"), Output("done", "items"))
    feedback_output = "item"
    __slots__ = ()

    def items(self) -> list[object]:
        """The records: the rows of a table, a message's text, or what is there already."""
        value = self.values["data"]
        found: list[object] = []
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Table):
                found.extend(Data(dict(row)) for row in item.rows)
            elif isinstance(item, Message | str):
                found.append(Data({"text": text_of(item)}))
            elif isinstance(item, Data):
                found.append(item)
            else:
                raise self.fail("A loop goes through a table, a record, a message, or a list of these.")
        return found

    def collect(self, items: list[object], results: list[object]) -> dict[str, object]:
        """A table with one row for each item's result."""
        shown = [item.data for item in items if isinstance(item, Data)]
        return {
            "item": Data({"count": len(shown), "items": shown}),
            "done": Table([_row(result) for result in results]),
        }


def _row(result: object) -> dict[str, object]:
    if isinstance(result, Data):
        return dict(result.data)
    return {"text": "" if result is STOPPED else display(result)}


class Pass(Component):
    """A message, handed on as it is."""

    names = ("Pass",)
    display_name = "Pass"
    description = "Hands a message on."
    fields = (Field("ignored_message", "any"), Field("input_message", "handle"))
    outputs = (Output("output_message", "pass_message"),)
    __slots__ = ()

    def pass_message(self) -> Message:
        """The message."""
        value = self.values["input_message"]
        return value if isinstance(value, Message) else Message(text_of(value))
