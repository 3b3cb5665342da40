"""Graph -> plan: in which order the components run, what each reads, and which variables a run needs.

Everything that does not depend on a caller is worked out here, once. A plan keeps no stored code and is never
changed; tweaks make a new tuple of steps in which untouched ones are shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from service.domain.errors import FlowInvalid, Invalid, UnknownComponents
from service.domain.ports import EmptyField, VariableUse
from service.engine.catalogue import CATALOGUE
from service.engine.component import Component, Draft, Inlet, Outside, Role, Setting, Step
from service.engine.fields import OPEN_KINDS, Field, Unfit, fitted
from service.engine.graph import Edge, Graph, Node
from service.engine.limits import Limits
from service.engine.tools import TOOL_OUTPUT, toolkit
from service.engine.tweaks import Target, is_open_field
from service.engine.wiring import Wiring, wire

NO_SETTINGS: Mapping[str, Setting] = {}


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled flow.

    Args:
        steps: every component that a run executes, in order.
        targets: every node as tweaks see it, by node index.
        variables: what the steps read when nothing is tweaked.
    """

    graph: Graph = field(repr=False)
    steps: tuple[Step, ...]
    targets: tuple[Target, ...] = field(repr=False)
    variables: tuple[VariableUse, ...]
    wiring: Wiring = field(repr=False)
    outside: Outside = field(repr=False)
    limits: Limits


def compile_plan(graph: Graph, outside: Outside, limits: Limits) -> Plan:
    """Check and plan a graph.

    Raises:
        UnknownComponents: names every type that has no class, and every model provider that is missing.
        FlowInvalid: edges that fit nowhere, cycles, settings that cannot work.
    """
    components = _components(graph)
    edges = tuple(_checked(edge, graph, components) for edge in graph.edges)
    wiring = wire(graph, edges, components)
    targets = tuple(_target(n, components[n.index], wiring, outside, NO_SETTINGS) for n in graph.nodes)
    prepared = _prepare_all(targets)
    steps = tuple(_step(targets[at], prepared[at], targets, wiring) for at in wiring.order)
    variables = tuple(use for step in steps for use in step.uses)
    return Plan(graph, steps, targets, variables, wiring, outside, limits)


class _Unknown(Component):
    """Stands for a component that this engine does not have."""


def check_plan(graph: Graph) -> None:
    """Look for circles alone, so that a flow for another engine can be stored.

    Raises:
        FlowInvalid: edges go in a circle that is no loop.
    """
    _outline(graph)


def targets_of(
    graph: Graph, outside: Outside, changes: Mapping[int, Mapping[str, Setting]] | None = None
) -> tuple[Target, ...]:
    """Every node as tweaks see it, of a flow that may hold components that are not known here.

    Raises:
        FlowInvalid: edges go in a circle that is no loop.
    """
    components, wiring = _outline(graph)
    changed = changes or {}
    return tuple(
        _target(node, component, wiring, outside, changed.get(node.index, NO_SETTINGS))
        for node, component in zip(graph.nodes, components, strict=True)
    )


def _outline(graph: Graph) -> tuple[tuple[type[Component], ...], Wiring]:
    components = tuple(CATALOGUE.get(node.type, _Unknown) for node in graph.nodes)
    # A loop of a kind that is not known here has its way back in an output, not in a field.
    edges = [
        e for e in graph.edges if components[e.target] is not _Unknown or e.field in graph.nodes[e.target].fields
    ]
    return components, wire(graph, edges, components)


def empty_fields(target: Target, names: Iterable[str]) -> Iterable[EmptyField]:
    """The fields among ``names`` that variables may fill: as in Langflow 1.13 those shown, of type ``str``, empty.

    Not the session's, which every run sets. An empty field that is marked ``load_from_db`` counts: it names nothing,
    and that is how a password field looks in an export without keys.
    """
    draft, node = target.draft, target.draft.node
    for name in names:
        setting, stored = draft.settings.get(name), node.fields.get(name)
        if setting is None or stored is None or setting.from_variable or setting.value not in (None, ""):
            continue
        if stored.type == "str" and stored.label and name not in draft.linked and name != "session_id":
            yield EmptyField(node.id, node.display_name, name, stored.label, is_secret(target, name))


def is_secret(target: Target, name: str) -> bool:
    """Whether a field may receive a Credential: what a component here declares decides, else the export."""
    declared = target.declared.get(name)
    if declared is not None:
        return declared.kind == "secret"
    stored = target.draft.node.fields[name]
    return stored.password or "Secret" in stored.input_type


def use_of(target: Target, name: str) -> VariableUse:
    """How a field that is set to a variable reads it."""
    draft, declared, secret = target.draft, target.declared.get(name), is_secret(target, name)
    is_open = declared.kind in OPEN_KINDS if declared is not None else is_open_field(draft.node.fields[name], name)
    value, owner_only = str(draft.settings[name].value), not secret and not is_open
    return VariableUse(draft.node.id, draft.node.display_name, name, value, secret, owner_only=owner_only)


def filling(
    targets: Sequence[Target], tweaked: Mapping[int, Mapping[str, Setting]], names: Mapping[tuple[str, str], str]
) -> dict[int, Mapping[str, Setting]]:
    """The tweaks, together with the variables that fill empty fields.

    Args:
        targets: every node, without the tweaks.
        tweaked: what they set.
        names: variables by (node id, field).
    """
    wanted: dict[str, dict[str, Setting]] = {}
    for (node_id, name), variable in names.items():
        wanted.setdefault(node_id, {})[name] = Setting(variable, from_variable=True)
    found = dict(tweaked)
    for target in targets:
        node, tweaks = target.draft.node, tweaked.get(target.draft.node.index, NO_SETTINGS)
        due = wanted.get(node.id)
        if due is not None and _sends_away(target, tweaks, due):
            due = {name: setting for name, setting in due.items() if not is_secret(target, name)}
        if due:
            found[node.index] = {**tweaks, **due}
    return found


def _sends_away(target: Target, tweaks: Mapping[str, Setting], due: Mapping[str, Setting]) -> bool:
    """True when tweaks name a provider that they could not name if the key were stored in the node.

    The owner's key of one provider must not go to another because a caller has chosen that one.
    """
    draft = replace(target.draft, settings={**target.draft.settings, **due})
    return any(
        declared.kind in ("provider", "model") and not target.component.accepts_tweak(draft, declared, tweak.value)
        for name, tweak in tweaks.items()
        if (declared := target.declared.get(name)) is not None
    )


def retarget(plan: Plan, changes: Mapping[int, Mapping[str, Setting]]) -> tuple[Step, ...]:
    """The steps with other settings for some nodes.

    Raises:
        Invalid: a value does not fit its field.
        FlowInvalid, UnknownComponents: the changed settings cannot work.
    """
    return tuple(_changed(plan, s, changes[s.index]) if s.index in changes else s for s in plan.steps)


def _changed(plan: Plan, step: Step, settings: Mapping[str, Setting]) -> Step:
    node = plan.graph.nodes[step.index]
    target = _target(node, step.component, plan.wiring, plan.outside, settings)
    for name, setting in settings.items():
        declared = target.declared.get(name)
        if declared is not None and not setting.from_variable and name not in target.draft.linked:
            _fitting(node, declared, setting)
    return _step(target, step.component.prepare(target.draft), plan.targets, plan.wiring)


def _fitting(node: Node, declared: Field, setting: Setting) -> None:
    try:
        fitted(declared, setting.value)
    except Unfit as error:
        text = f"The field {declared.name} of {node.display_name} cannot be set to this: {error}."
        raise Invalid.field(text, "body", "tweaks", node.id, declared.name) from None


def _components(graph: Graph) -> tuple[type[Component], ...]:
    unknown = {node.type for node in graph.nodes if node.type not in CATALOGUE}
    if unknown:
        raise UnknownComponents(unknown)
    return tuple(CATALOGUE[node.type] for node in graph.nodes)


def _checked(edge: Edge, graph: Graph, components: tuple[type[Component], ...]) -> Edge:
    """The edge with its output's name, which old exports leave out where there is only one."""
    source, target = graph.nodes[edge.source], graph.nodes[edge.target]
    outputs = [output.name for output in components[edge.source].outputs_of(source)]
    name = outputs[0] if not edge.output and len(outputs) == 1 else edge.output
    if name not in outputs and name != TOOL_OUTPUT:
        raise FlowInvalid(f"An edge starts at the output {name} of {source.display_name}, which does not exist.")
    component = components[edge.target]
    known = {item.name for item in component.fields} | {component.feedback_output}
    if edge.field not in known and edge.field not in target.fields:
        raise FlowInvalid(f"An edge leads to the field {edge.field} of {target.display_name}, which does not exist.")
    return Edge(edge.source, name, edge.target, edge.field)


def _target(
    node: Node,
    component: type[Component],
    wiring: Wiring,
    outside: Outside,
    changes: Mapping[str, Setting],
) -> Target:
    linked = frozenset(edge.field for edge in wiring.incoming[node.index])
    settings = {
        name: Setting(item.value, item.from_variable and isinstance(item.value, str) and bool(item.value))
        for name, item in node.fields.items()
        if not item.hidden and item.type != "other"
    }
    settings.update((name, change) for name, change in changes.items() if name in settings)
    draft = Draft(node, settings, linked, outside)
    declared = {item.name: item for item in component.dynamic_fields(draft)}
    declared.update((item.name, item) for item in component.fields)
    return Target(draft, component, declared)


def _prepare_all(targets: tuple[Target, ...]) -> list[object]:
    prepared: list[object] = []
    unknown: set[str] = set()
    for target in targets:
        try:
            prepared.append(target.component.prepare(target.draft))
        except UnknownComponents as error:
            unknown.update(error.names)
    if unknown:
        raise UnknownComponents(unknown)
    return prepared


def _step(target: Target, prepared: object, targets: tuple[Target, ...], wiring: Wiring) -> Step:
    draft, node, component = target.draft, target.draft.node, target.component
    incoming, outgoing = wiring.incoming[node.index], wiring.outgoing[node.index]
    used = {edge.output for edge in outgoing}
    outputs = component.outputs_of(node)
    methods = [(o.name, component.method_of(o)) for o in outputs if not used or o.name in used]
    if TOOL_OUTPUT in used:
        methods.append((TOOL_OUTPUT, toolkit))
    body = wiring.loops.get(node.index)
    return Step(
        index=node.index,
        node_id=node.id,
        display_name=node.display_name,
        component=component,
        values={name: _value(draft, declared) for name, declared in target.declared.items()},
        prepared=prepared,
        inlets=tuple(_inlet(edge, target) for edge in incoming),
        uses=tuple(_uses(target)),
        methods=tuple(methods),
        shown=node.outputs or tuple(output.name for output in outputs),
        neighbours=_neighbours(incoming, outgoing, targets),
        origin=incoming[0].source if incoming else None,
        ancestors=wiring.ancestors[node.index],
        in_session="session_id" in target.declared and "session_id" not in draft.linked,
        tools=component.tools_of(draft) if TOOL_OUTPUT in used else (),
        kind=node.type,
        icon=node.icon,
        in_loop=node.index in wiring.in_loops(),
        body=() if body is None else body.members,
        feedback=None if body is None or body.back is None else (body.back.source, body.back.output),
        empty=tuple(empty_fields(target, target.declared)),
    )


def _neighbours(
    incoming: tuple[Edge, ...], outgoing: tuple[Edge, ...], targets: tuple[Target, ...]
) -> frozenset[Role]:
    near = {edge.source for edge in incoming} | {edge.target for edge in outgoing}
    return frozenset(targets[at].component.role for at in near)


def _inlet(edge: Edge, target: Target) -> Inlet:
    stored = target.draft.node.fields.get(edge.field)
    declared = target.declared.get(edge.field)
    many = (stored is not None and stored.many) or (declared is not None and declared.many)
    return Inlet(edge.field, edge.source, edge.output, many)


def _value(draft: Draft, declared: Field) -> object:
    """The stored value, ready for use; the default where an edge or a variable comes later."""
    try:
        return fitted(declared, draft.literal(declared.name))
    except Unfit as error:
        where = f"The field {declared.name} of {draft.node.display_name}"
        raise FlowInvalid(f"{where} holds something that cannot be used: {error}.") from None


def _uses(target: Target) -> Iterable[VariableUse]:
    draft = target.draft
    for name in target.declared:
        setting = draft.settings.get(name)
        if setting is not None and setting.from_variable and name not in draft.linked:
            yield use_of(target, name)
    yield from target.component.implied_uses(draft)
