"""Flows that run other flows of the same owner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from service.domain.errors import DomainError, NotFound, RunFailed
from service.domain.ports import RunInput
from service.engine.component import Component, Draft, Output
from service.engine.fields import Field
from service.engine.graph import Node
from service.engine.tools import ToolPlan, planned_for
from service.engine.values import Data, Message, Table, text_of

Json = Mapping[str, object]


class _OtherFlow(Component):
    """What both ages' components share: find the flow, hand over what the node sets, and read what comes back."""

    #: Between a node's id and a field's name in the names of this component's dynamic fields.
    between = "~"
    __slots__ = ("_made",)

    @classmethod
    def dynamic_fields(cls, draft: Draft) -> Iterable[Field]:
        """The fields of the other flow that the author has set here."""
        return (Field(name, "any") for name in draft.node.fields if cls.between in name)

    def results(self) -> list[Json]:
        """The results of the other flow's outputs; it runs once, although several outputs may ask."""
        made: list[Json] | None = getattr(self, "_made", None)
        if made is None:
            made = self._made = self._run()
        return made

    def identifier(self) -> str:
        """Id or name of the other flow."""
        raise NotImplementedError

    def _run(self) -> list[Json]:
        flows, identifier = self.run.context.flows, self.identifier()
        if flows is None or not identifier:
            raise self.fail("No flow is selected.")
        given, tweaks = self._handed_over()
        session_id = self.text("session_id") or self.run.session_id
        try:
            outputs = flows.run(identifier, given, tweaks, session_id, self.run.context)
        except NotFound:
            raise self.fail(f"There is no flow {identifier[:80]}.") from None
        except RunFailed:
            raise
        except DomainError as error:
            raise self.fail(str(error)) from None
        found = [result for output in outputs for result in _listed(output.get("outputs"))]
        return [result for result in found if isinstance(result, Mapping)]

    def _handed_over(self) -> tuple[RunInput, dict[str, dict[str, object]]]:
        """The input value for the node that takes it, and everything else as tweaks."""
        asked = self.values.get("input_value")
        given = RunInput(text_of(asked), "chat") if asked is not None else RunInput()
        tweaks: dict[str, dict[str, object]] = {}
        for name, value in self.values.items():
            node, found, field = name.partition(self.between)
            if not found or value in (None, ""):
                continue
            if field == "input_value":
                given = RunInput(text_of(value), "any", (node,))
            else:
                tweaks.setdefault(node, {})[field] = value if isinstance(value, dict | list) else text_of(value)
        return given, tweaks


class RunFlow(_OtherFlow):
    """Another flow as one step; its outputs are this node's."""

    names = ("RunFlow",)
    display_name = "Run Flow"
    description = "Runs another flow."
    fields = (
        Field("flow_name_selected", "flow", default=""),
        Field("flow_id_selected", "flow", default=""),
        Field("session_id"),
        Field("input_value", tool="The input of the flow."),
    )
    outputs = (
        Output("flow_outputs_data", "data_output"),
        Output("flow_outputs_dataframe", "dataframe_output"),
        Output("flow_outputs_message", "message_output"),
    )
    __slots__ = ()

    @classmethod
    def outputs_of(cls, node: Node) -> tuple[Output, ...]:
        """1.5's three outputs, and 1.13's: one for each output of the other flow, ``<node>~<output>``."""
        own = tuple(Output(name, name) for name in node.outputs if cls.between in name)
        return (*cls.outputs, *own)

    @classmethod
    def method_of(cls, output: Output) -> Callable[[Component], object]:
        """A dynamic output picks one node's result."""
        if cls.between not in output.method:
            return super().method_of(output)
        node, _, name = output.method.partition(cls.between)
        return lambda component: _picked(component, node, name)

    @classmethod
    def tools_of(cls, draft: Draft) -> tuple[ToolPlan, ...]:
        """One tool, which answers with the other flow's text."""
        stored = draft.node.fields.get("tools_metadata")
        edits = stored.value if stored is not None else None
        first = edits[0] if isinstance(edits, list) and edits and isinstance(edits[0], dict) else {}
        edited = [{**first, "tags": ["message_output"], "status": first.get("status", True)}]
        return planned_for(cls, edited)

    def identifier(self) -> str:
        """The id, which outlives a new name, or the name."""
        return self.text("flow_id_selected") or self.text("flow_name_selected")

    def message_output(self) -> Message:
        """The first text."""
        return Message(_text_in(self.results()))

    def data_output(self) -> Data:
        """The first text as a record."""
        return Data({"text": _text_in(self.results())})

    def dataframe_output(self) -> Table:
        """One row for each result."""
        return Table([{"text": _text_in([result])} for result in self.results()])


class SubFlow(_OtherFlow):
    """Another flow as one step (older exports)."""

    names = ("SubFlow",)
    display_name = "Sub Flow"
    description = "Runs another flow."
    fields = (Field("flow_name", "flow", default=""),)
    outputs = (Output("flow_outputs", "generate_results"),)
    between = "|"
    __slots__ = ()

    def identifier(self) -> str:
        """The name."""
        return self.text("flow_name")

    def generate_results(self) -> list[Data]:
        """One record for each result."""
        return [Data({"text": _text_in([result])}) for result in self.results()]


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _picked(component: Component, node: str, output: str) -> object:
    """The value of one output of one node of the other flow."""
    assert isinstance(component, _OtherFlow)  # noqa: S101 - only its own classes hand this function out # nosec B101
    for result in component.results():
        values = result.get("results")
        if result.get("component_id") == node and isinstance(values, Mapping) and output in values:
            return _value(values[output])
    raise component.fail(f"The flow gave no result for {node}.")


def _value(found: object) -> object:
    """A value out of a dumped result."""
    if isinstance(found, Mapping) and "sender" in found:
        return Message(str(found.get("text", "")))
    if isinstance(found, Mapping) and isinstance(found.get("data"), dict):
        return Data(dict(found["data"]))
    if isinstance(found, list) and all(isinstance(item, dict) for item in found):
        return Table(found)
    return Message(text_of(found))


def _text_in(results: Iterable[Json]) -> str:
    """The first text among some results."""
    for result in results:
        values = result.get("results")
        for found in values.values() if isinstance(values, Mapping) else ():
            value = _value(found)
            return text_of(value) if isinstance(value, Message) else str(getattr(value, "data", ""))
    return ""
