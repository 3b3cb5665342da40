"""A plan with one caller's tweaks, and the running of it."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Generator, Mapping, Sequence
from types import GeneratorType

from service.chance import new_id
from service.domain.errors import (
    ComponentFailed,
    DomainError,
    InputConflict,
    RunFailed,
    RunTooLarge,
    VariableMissing,
)
from service.domain.ports import ComponentTime, EmptyField, Event, RunContext, RunInput, RunSpec, VariableUse
from service.engine import tweaks as tweaking
from service.engine.component import CHAT_ROLES, INPUT_ROLES, OUTPUT_ROLES, Loop, Run, Setting, Step
from service.engine.fields import Unfit, fitted
from service.engine.memory import remember
from service.engine.plan import Plan, filling, retarget
from service.engine.results import Json, message_event, step_result
from service.engine.uploads import names_file
from service.engine.values import STOPPED, Data, Message, Table, total_usage, weight

logger = logging.getLogger(__name__)

Made = dict[str, object]
_Changes = Mapping[int, Mapping[str, Setting]]


class CompiledFlow:
    """A plan that many threads may bind and run at once."""

    __slots__ = ("_plan",)

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def bind(self, tweaks: Mapping[str, object], *, by_owner: bool = False) -> BoundFlow:
        """Apply a caller's tweaks; see ``domain.ports.CompiledFlow``."""
        plan = self._plan
        if not tweaks:
            return BoundFlow(plan, plan.steps, plan.variables, frozenset())
        policy = "permissive" if by_owner else plan.limits.tweaks_policy
        changes = tweaking.settings(plan.graph, plan.targets, tweaks, policy)
        return _bound(plan, changes, changes, tweaking.tweaked_directly(plan.graph, tweaks))

    def names_file(self, reference: str) -> bool:
        """Say whether the stored flow holds a reference; see ``domain.ports.CompiledFlow``."""
        return names_file(self._plan.graph, reference)


class BoundFlow:
    """A plan for one caller; nothing that a run changes is kept here."""

    __slots__ = ("_plan", "_steps", "_tweaked", "_tweaks", "_variables")

    def __init__(
        self, plan: Plan, steps: tuple[Step, ...], variables: tuple[VariableUse, ...], tweaked: frozenset[int],
        tweaks: _Changes | None = None,
    ) -> None:  # fmt: skip
        self._plan, self._steps, self._variables, self._tweaked = plan, steps, variables, tweaked
        self._tweaks = tweaks or {}

    @property
    def variables(self) -> Sequence[VariableUse]:
        """The variables that a run reads."""
        return self._variables

    @property
    def empty(self) -> Sequence[EmptyField]:
        """The fields that variables may fill."""
        return [one for step in self._steps for one in step.empty]

    def filled(self, names: Mapping[tuple[str, str], str]) -> BoundFlow:
        """The same with variables for empty fields; see ``domain.ports.BoundFlow``."""
        changes = filling(self._plan.targets, self._tweaks, names)
        return _bound(self._plan, changes, self._tweaks, self._tweaked)

    def run(
        self, spec: RunSpec, values: Mapping[str, str], context: RunContext | None = None
    ) -> Generator[Event, None, None]:
        """Run the flow; see ``domain.ports.BoundFlow``. What can be refused is refused before this returns.

        Raises:
            InputConflict: the input value also came as a tweak of the input component.
            VariableMissing: a required variable has no value.
            RunTooLarge: the input is larger than the limit.
        """
        given = self._given(spec.input)
        for use in self._variables:
            if use.required and use.name not in values and (use.node_id, use.field) not in given:
                raise VariableMissing(use.name, use.component)
        plan = self._plan
        run = Run(
            spec.flow_id,
            spec.session_id,
            new_id(),
            stream=spec.stream,
            outside=plan.outside,
            limits=plan.limits,
            context=context or RunContext(),
        )
        return self._execute(spec, values, given, run)

    def _given(self, source: RunInput) -> dict[tuple[str, str], object]:
        """What the caller brings, by (node id, field): the input value, or a webhook's payload."""
        if source.payload is not None:
            self._check_size(source.payload)
            return {(step.node_id, "data"): source.payload for step in self._steps if step.component.takes_payload}
        value = source.value
        if value is None:
            return {}
        self._check_size(value)
        given: dict[tuple[str, str], object] = {}
        for step in self._steps:
            if step.component.role not in INPUT_ROLES or not _is_meant(step, source):
                continue
            if step.index in self._tweaked:
                if value:
                    raise InputConflict(CONFLICT.format("text" if step.component.role == "text_input" else "chat"))
                continue  # an empty input does not wipe out what the tweak says
            if all(inlet.field != "input_value" for inlet in step.inlets):
                given[step.node_id, "input_value"] = value
        return given

    def _check_size(self, value: str) -> None:
        limit = self._plan.limits.max_input_bytes
        if len(value) > limit or len(value.encode("utf-8", "surrogatepass")) > limit:
            raise RunTooLarge(f"The input is larger than {limit} bytes.")

    def _execute(
        self, spec: RunSpec, values: Mapping[str, str], given: Mapping[tuple[str, str], object], run: Run
    ) -> Generator[Event, None, None]:
        execution = _Execution(self._steps, values, given, run)
        try:
            for step in self._steps:
                if not step.in_loop:
                    yield from execution.perform(step)
            tokens = total_usage(run.usage.values()) if run.usage else None
            yield Event(
                "end", {"outputs": [_run_outputs(self._steps, spec, execution.results, run)], "tokens": tokens}
            )
        finally:
            # Each of them knows the run: together they would wait for the garbage collector.
            run.components.clear()


def _bound(plan: Plan, changes: _Changes, tweaks: _Changes, tweaked: frozenset[int]) -> BoundFlow:
    steps = retarget(plan, changes)
    return BoundFlow(plan, steps, tuple(use for step in steps for use in step.uses), tweaked, tweaks)


class _Execution:
    """The running of one flow: what its steps have made so far."""

    __slots__ = ("_given", "_run", "_steps", "_values", "results")

    def __init__(
        self,
        steps: tuple[Step, ...],
        values: Mapping[str, str],
        given: Mapping[tuple[str, str], object],
        run: Run,
    ) -> None:
        self._steps, self._values, self._given, self._run = steps, values, given, run
        self.results: dict[int, Made] = {}

    def perform(self, step: Step) -> Generator[Event, None, None]:
        """Run one step, or leave it out when every branch that leads to it was stopped."""
        run = self._run
        run.tick()
        fields = _fields(step, self.results, self._values, run)
        if fields is None:
            return
        if self._given and step.component.role in INPUT_ROLES:
            fields.update((name, value) for (node, name), value in self._given.items() if node == step.node_id)
        component = run.components[step.index] = step.component(step, run, fields)
        made: Made = {}
        trace = run.context.trace
        started = time.monotonic() if trace is not None else 0.0
        try:
            if isinstance(component, Loop):
                made = yield from self._loop(step, component)
            else:
                for name, method in step.methods:
                    value = method(component)
                    if isinstance(value, GeneratorType):
                        value = yield from value
                    else:
                        run.produce(_size(value, run))
                    made[name] = value
        except Exception as error:
            raise _translated(step, error) from None
        if trace is not None:
            trace.append(ComponentTime(step.node_id, step.display_name, time.monotonic() - started))
        self.results[step.index] = made
        if step.component.role in CHAT_ROLES:
            remember(made, run)
        if run.stream and step.component.role in CHAT_ROLES:
            for value in made.values():
                if isinstance(value, Message) and value.id is not None:
                    yield message_event(value, run)

    def _loop(self, step: Step, loop: Loop) -> Generator[Event, None, Made]:
        """Run a loop's body once for each item."""
        items = loop.items()
        if len(items) > self._run.limits.max_loop_items:
            raise RunTooLarge(f"A loop has more than {self._run.limits.max_loop_items} items.")
        results: list[object] = []
        by_index = {other.index: other for other in self._steps}
        # An export need not name the outputs that its edges start from.
        names = {*step.shown, *(output.name for output in step.component.outputs)}
        for item in items if step.feedback is not None else ():
            self.results[step.index] = {name: item if name == loop.feedback_output else STOPPED for name in names}
            for member in step.body:
                self.results.pop(member, None)
                yield from self.perform(by_index[member])
            source, output = step.feedback or (0, "")
            results.append(self.results.get(source, {}).get(output, STOPPED))
        return loop.collect(items, results)


CONFLICT = "If you pass an input_value to the {} input, you cannot pass a tweak with the same name."


def _is_meant(step: Step, source: RunInput) -> bool:
    wanted = source.components
    if wanted and step.node_id not in wanted and step.display_name not in wanted:
        return False
    return source.type == "any" or step.component.role == f"{source.type}_input"


def _fields(step: Step, results: Mapping[int, Made], values: Mapping[str, str], run: Run) -> Made | None:
    """What the component reads in this run; None when every branch that leads to it was stopped."""
    fields = dict(step.values)
    for use in step.uses:
        if use.name in values:
            fields[use.field] = _from_variable(step, use, values[use.name])
    if step.in_session:
        fields["session_id"] = run.session_id
    live = not step.inlets
    for inlet in step.inlets:
        made = results.get(inlet.source)
        value = STOPPED if made is None else made[inlet.output]
        if value is STOPPED:
            continue
        live = True
        if inlet.many:
            _collect(fields, step, inlet.field, value)
        else:
            fields[inlet.field] = value
    return fields if live else None


def _collect(fields: Made, step: Step, name: str, value: object) -> None:
    """Add to a list field; the stored list is not touched."""
    gathered = fields.get(name)
    if not isinstance(gathered, list) or gathered is step.values.get(name):
        gathered = fields[name] = []
    gathered.extend(value if isinstance(value, list) else [value])


def _from_variable(step: Step, use: VariableUse, value: str) -> object:
    declared = next((item for item in step.component.fields if item.name == use.field), None)
    if declared is None or declared.kind == "secret":
        return value
    try:
        return fitted(declared, value)
    except Unfit as error:
        reason = f"The variable {use.name} does not fit the field {use.field}: {error}."
        raise ComponentFailed(reason, component=step.display_name) from None


def _translated(step: Step, error: Exception) -> Exception:
    """Every failure as one of the domain's, with the component's name."""
    if isinstance(error, RunFailed):
        return error if error.component is not None else type(error)(error.reason, component=step.display_name)
    if isinstance(error, DomainError):
        return error
    # Neither the client nor the log sees the text of a foreign error: it may hold a secret.
    _log(step, error)
    return ComponentFailed(f"The component failed ({type(error).__name__}).", component=step.display_name)


def _size(value: object, run: Run) -> int:
    if isinstance(value, Message):
        return len(value.text)
    if isinstance(value, str):
        return len(value)
    left = run.limits.max_output_bytes - run.spent.produced
    return weight(value, left) if isinstance(value, Data | Table | list) else 0


def _log(step: Step, error: Exception) -> None:
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].name}:{frames[-1].lineno}" if frames else "unknown"
    logger.error("component %s failed with %s in %s", step.component.__name__, type(error).__name__, where)


def _run_outputs(steps: tuple[Step, ...], spec: RunSpec, results: Mapping[int, Made], run: Run) -> Json:
    chosen = [step for step in _selected(steps, spec) if step.index in results]
    inputs: Json = {} if spec.input.value is None else {"input_value": spec.input.value}
    return {"inputs": inputs, "outputs": [step_result(step, results[step.index], run) for step in chosen]}


def _selected(steps: tuple[Step, ...], spec: RunSpec) -> list[Step]:
    """The steps whose results are asked for, in export order."""
    if spec.outputs:
        chosen = [step for step in steps if step.node_id in spec.outputs or step.display_name in spec.outputs]
    elif spec.outputs is None and spec.output_type == "debug":
        chosen = list(steps)
    else:
        chosen = [step for step in steps if step.component.role in OUTPUT_ROLES]
        if spec.outputs is None and spec.output_type != "any":
            chosen = [step for step in chosen if spec.output_type in step.node_id.lower()] or chosen
    return chosen if len(chosen) < 2 else sorted(chosen, key=lambda step: step.index)
