"""Flows that run in another executor's process: read, tweaked and filled here, by the rules of the embedded engine.

An order, which is all that such a process ever learns:

====================  =========================================================================================
flow                  nodes and edges; every field holds its value, none asks for a variable
flow_id, session_id,  names, for messages and results
run_id
input                 ``{"value", "type", "components"}``
output_type, outputs  whose results are asked for
stream, trace         whether events and times are wanted
history               the messages of the sessions that the flow's memories read
files                 the uploads that the flow's fields name, by reference
allow_code            whether the source that nodes bring is run
====================  =========================================================================================
"""

from __future__ import annotations

import base64
import copy
import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from service.chance import new_id
from service.domain.errors import (
    CodeRefused,
    InputConflict,
    NotFound,
    RunTooLarge,
    UnknownComponents,
    VariableMissing,
)
from service.domain.ports import (
    ComponentTime,
    EmptyField,
    Event,
    Executor,
    RunContext,
    RunInput,
    RunSpec,
    VariableUse,
)  # fmt: skip
from service.engine import hearsay
from service.engine import tweaks as tweaking
from service.engine.component import INPUT_ROLES, Outside, Setting
from service.engine.export import exported, template_of
from service.engine.graph import Graph, parse
from service.engine.limits import Limits
from service.engine.plan import empty_fields, filling, targets_of, use_of
from service.engine.runner import CONFLICT
from service.engine.tweaks import Target
from service.engine.uploads import is_reference, names_file, references

logger = logging.getLogger(__name__)

Json = dict[str, Any]
_Changes = Mapping[int, Mapping[str, Setting]]

_READS_HISTORY = frozenset({"Memory", "MessageHistory", "MemoryComponent", "StoreMessage", "Agent", "AgentComponent"})
_MOST_MESSAGES = 1000


class ElsewhereEngine:
    """Implements ``domain.ports.FlowEngine`` with an executor.

    Args:
        executor: runs flows.
        outside: what the embedded engine reaches; the rules for tweaks ask it which providers there are.
        limits: bounds of flows and runs.
        who: what is said of components that it lacks.
    """

    def __init__(self, executor: Executor, outside: Outside, limits: Limits, who: str) -> None:
        self._executor, self._outside, self._limits, self._who = executor, outside, limits, who

    def compile(self, data: Mapping[str, object]) -> ElsewhereFlow:
        """Parse and check a flow.

        Raises:
            FlowInvalid: the graph cannot be run.
        """
        graph = parse(data, max_nodes=self._limits.max_nodes)
        targets = targets_of(graph, self._outside)
        with_code = self._executor.allow_code
        flow = exported(data, graph, max_nodes=self._limits.max_nodes, with_code=with_code)
        return ElsewhereFlow(self._executor, graph, targets, flow, self._outside, self._limits, self._who)


class ElsewhereFlow:
    """A flow that many threads may bind and run at once."""

    def __init__(
        self, executor: Executor, graph: Graph, targets: tuple[Target, ...], flow: Json, outside: Outside,
        limits: Limits, who: str,
    ) -> None:  # fmt: skip
        self.executor, self.graph, self.targets, self.flow = executor, graph, targets, flow
        self.outside, self.limits, self.who = outside, limits, who

    def bind(self, tweaks: Mapping[str, object], *, by_owner: bool = False) -> ElsewhereBound:
        """Apply a caller's tweaks; see ``domain.ports.CompiledFlow``."""
        if not tweaks:
            return ElsewhereBound(self, self.targets, frozenset(), {}, {})
        policy = "permissive" if by_owner else self.limits.tweaks_policy
        changes = tweaking.settings(self.graph, self.targets, tweaks, policy)
        targets = targets_of(self.graph, self.outside, changes)
        return ElsewhereBound(self, targets, tweaking.tweaked_directly(self.graph, tweaks), changes, changes)

    def names_file(self, reference: str) -> bool:
        """Say whether the stored flow holds a reference; see ``domain.ports.CompiledFlow``."""
        return names_file(self.graph, reference)


class ElsewhereBound:
    """A flow for one caller; nothing that a run changes is kept here."""

    def __init__(
        self, flow: ElsewhereFlow, targets: tuple[Target, ...], tweaked: frozenset[int], tweaks: _Changes,
        changes: _Changes,
    ) -> None:  # fmt: skip
        self._flow, self._targets, self._tweaked = flow, targets, tweaked
        self._tweaks, self._changes = tweaks, changes
        self._variables = tuple(use for target in targets for use in _uses(target))

    @property
    def variables(self) -> Sequence[VariableUse]:
        """The variables that a run reads."""
        return self._variables

    @property
    def empty(self) -> Sequence[EmptyField]:
        """The fields that variables may fill."""
        return [one for target in self._targets for one in empty_fields(target, target.draft.settings)]

    def filled(self, names: Mapping[tuple[str, str], str]) -> ElsewhereBound:
        """The same with variables for empty fields; see ``domain.ports.BoundFlow``."""
        flow = self._flow
        changes = filling(flow.targets, self._tweaks, names)
        targets = targets_of(flow.graph, flow.outside, changes)
        return ElsewhereBound(flow, targets, self._tweaked, self._tweaks, changes)

    def run(
        self, spec: RunSpec, values: Mapping[str, str], context: RunContext | None = None
    ) -> Generator[Event, None, None]:
        """Run the flow; see ``domain.ports.BoundFlow``.

        Raises:
            UnknownComponents: the executor does not have them either.
            CodeRefused: it has them, and they would run code.
            InputConflict, VariableMissing, RunTooLarge, TooBusy: as for any run.
        """
        self._check(spec, values)
        context = context or RunContext()
        order = self._order(spec, values, context)
        lines = self._flow.executor.run(order, context.cancellation)
        return self._events(lines, order, context)

    def _check(self, spec: RunSpec, values: Mapping[str, str]) -> None:
        for given in (spec.input.value, spec.input.payload):
            limit = self._flow.limits.max_input_bytes
            if given is not None and len(given.encode("utf-8", "surrogatepass")) > limit:
                raise RunTooLarge(f"The input is larger than {limit} bytes.")
        for use in self._variables:
            if use.required and use.name not in values:
                raise VariableMissing(use.name, use.component)
        for target in self._targets:
            role = target.component.role
            if role in INPUT_ROLES and target.draft.node.index in self._tweaked and spec.input.value:
                raise InputConflict(CONFLICT.format("text" if role == "text_input" else "chat"))
        allow = self._flow.executor.allow_code
        types = {
            node["data"]["type"] for node in self._flow.flow["nodes"]
            if not (allow and "code" in template_of(node))
        }  # fmt: skip
        lacking = self._flow.executor.lacking(frozenset(types))
        if lacking.unknown:
            raise UnknownComponents(lacking.unknown, self._flow.who)
        if lacking.refused:
            raise CodeRefused(lacking.refused)

    def _order(self, spec: RunSpec, values: Mapping[str, str], context: RunContext) -> Json:
        flow = copy.deepcopy(self._flow.flow)
        templates = {node["id"]: template_of(node) for node in flow["nodes"]}
        for index, settings in self._changes.items():
            template = templates[self._flow.graph.nodes[index].id]
            for name, setting in settings.items():
                template[name]["value"] = "" if setting.from_variable else setting.value
        for use in self._variables:
            if use.field in templates[use.node_id] and use.name in values:
                templates[use.node_id][use.field]["value"] = values[use.name]
        files = self._files(templates, context)
        self._give_payload(templates, spec.input)
        # An empty input does not wipe out what a tweak says.
        value = None if self._tweaked and not spec.input.value else spec.input.value
        return {
            "flow": flow,
            "flow_id": spec.flow_id,
            "session_id": spec.session_id,
            "run_id": new_id(),
            "input": {"value": value, "type": spec.input.type, "components": list(spec.input.components)},
            "output_type": spec.output_type,
            "outputs": None if spec.outputs is None else list(spec.outputs),
            "stream": spec.stream,
            "trace": context.trace is not None,
            "history": self._history(spec, templates, context),
            "files": files,
            "allow_code": self._flow.executor.allow_code,
        }

    def _give_payload(self, templates: Mapping[str, Json], given: RunInput) -> None:
        if given.payload is None:
            return
        for target in self._targets:
            template = templates[target.draft.node.id]
            if target.component.takes_payload and "data" in template:
                template["data"]["value"] = given.payload

    def _files(self, templates: Mapping[str, Json], context: RunContext) -> dict[str, Json]:
        """The uploads that fields name; a path of the server's disk means nothing."""
        files: dict[str, Json] = {}
        for target in self._targets:
            node = target.draft.node
            for name, stored in node.fields.items():
                if stored.type != "file" or name not in templates[node.id]:
                    continue
                setting = target.draft.settings.get(name)
                wanted = references(setting.value if setting is not None else stored.value)
                found = [one for one in wanted if is_reference(one) and _read(one, files, context)]
                templates[node.id][name]["uploads"] = found
        return files

    def _history(self, spec: RunSpec, templates: Mapping[str, Json], context: RunContext) -> list[Json]:
        nodes = [
            node for node in self._flow.graph.nodes if node.type in _READS_HISTORY or "n_messages" in node.fields
        ]
        if context.history is None or not nodes:
            return []
        named = (templates[node.id].get("session_id", {}).get("value") for node in nodes)
        sessions = dict.fromkeys([spec.session_id, *(one for one in named if isinstance(one, str) and one)])
        counts = (templates[node.id].get("n_messages", {}).get("value") for node in nodes)
        most = min(
            max((one for one in counts if isinstance(one, int)), default=100) or _MOST_MESSAGES, _MOST_MESSAGES
        )
        return [
            {
                "id": one.id, "text": one.text, "sender": one.sender, "sender_name": one.sender_name,
                "session_id": one.session_id, "context_id": one.context_id, "files": list(one.files),
                "timestamp": one.time.strftime("%Y-%m-%d %H:%M:%S.%f UTC"), "flow_id": spec.flow_id,
            }
            for session in sessions for one in context.history.load(session, limit=most)
        ]  # fmt: skip

    def _events(
        self, lines: Generator[Mapping[str, Any], None, None], order: Json, context: RunContext
    ) -> Generator[Event, None, None]:
        names = {node.id: node.display_name for node in self._flow.graph.nodes}
        stored, most = 0, self._flow.limits.max_steps
        try:
            for line in lines:
                if "store" in line and context.history is not None:
                    stored += 1
                    if stored > most:
                        raise RunTooLarge(f"The run stored more than {most} messages.")
                    context.history.add(hearsay.message(line["store"], order["session_id"], order["run_id"]))
                elif "event" in line and order["stream"] and line["event"] in ("add_message", "token"):
                    yield Event(line["event"], hearsay.event_data(line["event"], line.get("data")))
                elif "step" in line and context.trace is not None:
                    step = hearsay.seconds(line["step"])
                    if step is not None and step[0] in names:
                        context.trace.append(ComponentTime(step[0], names[step[0]], step[1]))
                elif "failed" in line:
                    error, about = hearsay.failure(line["failed"], self._flow.graph)
                    logger.error("%s", about)
                    raise error
                elif "end" in line:
                    end = line["end"]
                    yield Event("end", {"outputs": hearsay.outputs(end), "tokens": hearsay.usage(end)})
                    return
        finally:
            lines.close()


def _read(reference: str, files: dict[str, Json], context: RunContext) -> bool:
    """Put one of the owner's files among those that go along; False when there is none such."""
    if reference in files:
        return True
    try:
        upload = context.uploads.read(reference) if context.uploads is not None else None
    except NotFound:
        upload = None
    if upload is not None:
        content = base64.b64encode(upload.content).decode()
        files[reference] = {"name": reference.rpartition("/")[2], "content": content}
    return upload is not None


def _uses(target: Target) -> Iterable[VariableUse]:
    """Every field that wants a variable: another executor reads fields that no component here declares."""
    draft = target.draft
    for name, setting in draft.settings.items():
        if setting.from_variable and name not in draft.linked:
            yield use_of(target, name)
    try:
        yield from target.component.implied_uses(draft)
    except UnknownComponents:  # a provider that this server lacks, and the executor may have
        return
