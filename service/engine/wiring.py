"""Who feeds whom: the edges by node, the order in which nodes run, and the bodies of loops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from service.domain.errors import FlowInvalid
from service.engine.component import INPUT_ROLES, OUTPUT_ROLES, Component
from service.engine.graph import Edge, Graph

#: Which input a run starts from when there are several, by what its id contains (Langflow's rule).
_STARTS = ("webhook", "chat")

Near = list[list[Edge]]


@dataclass(frozen=True, slots=True)
class LoopBody:
    """The nodes that one loop runs for each item, in order, and the edge that leads back (None: nothing does)."""

    members: tuple[int, ...]
    back: Edge | None


@dataclass(frozen=True, slots=True)
class Wiring:
    """The edges of a graph, worked out once.

    Args:
        incoming, outgoing: edges by node, without those that lead back into a loop.
        order: the active nodes, sources first.
        ancestors: for each output node, every node before it.
        loops: bodies by loop node; a node in two nested loops belongs to the inner one.
    """

    incoming: tuple[tuple[Edge, ...], ...]
    outgoing: tuple[tuple[Edge, ...], ...]
    order: tuple[int, ...]
    ancestors: tuple[tuple[int, ...], ...]
    loops: Mapping[int, LoopBody] = field(default_factory=dict)

    def in_loops(self) -> frozenset[int]:
        """Every node that only a loop runs."""
        return frozenset(member for body in self.loops.values() for member in body.members)


def wire(graph: Graph, edges: Sequence[Edge], components: Sequence[type[Component]]) -> Wiring:
    """Work out the wiring.

    Raises:
        FlowInvalid: nodes wait for each other in a cycle that is no loop, or a loop's way back starts elsewhere.
    """
    incoming: Near = [[] for _ in graph.nodes]
    outgoing: Near = [[] for _ in graph.nodes]
    back: dict[int, Edge] = {}
    for edge in edges:
        if edge.field == components[edge.target].feedback_output:
            back[edge.target] = edge
        else:
            incoming[edge.target].append(edge)
            outgoing[edge.source].append(edge)
    bodies = {
        at: _body(at, component.feedback_output, outgoing, back.get(at), graph)
        for at, component in enumerate(components)
        if component.feedback_output is not None
    }
    order = _ordered(graph, _sources(incoming, bodies))
    active = _active(graph, incoming, outgoing, components)
    return Wiring(
        tuple(map(tuple, incoming)),
        tuple(map(tuple, outgoing)),
        tuple(at for at in order if at in active),
        _ancestors(order, incoming, components),
        _loops(bodies, back, order),
    )


def _body(at: int, output: str, outgoing: Near, back: Edge | None, graph: Graph) -> frozenset[int]:
    """Everything between a loop's items and the edge that leads back."""
    end = None if back is None else back.source
    seen: set[int] = set()
    pending = [edge.target for edge in outgoing[at] if edge.output == output]
    while pending:
        node = pending.pop()
        if node in seen or node == at:
            continue
        seen.add(node)
        if node != end:
            pending.extend(edge.target for edge in outgoing[node])
    if end is not None and end not in seen:
        name = graph.nodes[at].display_name
        raise FlowInvalid(f"What leads back into the loop {name} does not come from its items.")
    return frozenset(seen)


def _sources(incoming: Near, bodies: Mapping[int, frozenset[int]]) -> list[set[int]]:
    """What each node waits for; a loop waits for everything that its body needs from outside."""
    sources = [{edge.source for edge in edges} for edges in incoming]
    for at, body in bodies.items():
        for member in body:
            sources[at] |= {edge.source for edge in incoming[member]} - body - {at}
    return sources


def _ordered(graph: Graph, sources: Sequence[set[int]]) -> list[int]:
    """Sources before targets; among equals the export's order, so that a flow always runs the same way."""
    targets: list[list[int]] = [[] for _ in sources]
    for at, found in enumerate(sources):
        for source in found:
            targets[source].append(at)
    waiting = [len(found) for found in sources]
    ready = [at for at, count in enumerate(waiting) if count == 0]
    heapify(ready)
    order = []
    while ready:
        at = heappop(ready)
        order.append(at)
        for target in targets[at]:
            waiting[target] -= 1
            if waiting[target] == 0:
                heappush(ready, target)
    if len(order) < len(graph.nodes):
        stuck = [node.display_name for node in graph.nodes if waiting[node.index] > 0]
        raise FlowInvalid(f"These components wait for each other in a cycle: {', '.join(stuck[:10])}.")
    return order


def _loops(
    bodies: Mapping[int, frozenset[int]], back: Mapping[int, Edge], order: Iterable[int]
) -> dict[int, LoopBody]:
    """Give each node to the innermost loop around it."""
    place = {at: position for position, at in enumerate(order)}
    smallest_first = sorted(bodies, key=lambda at: len(bodies[at]))
    taken: set[int] = set()
    loops = {}
    for at in smallest_first:
        own = bodies[at] - taken
        taken |= own
        loops[at] = LoopBody(tuple(sorted(own, key=place.__getitem__)), back.get(at))
    return loops


def _active(graph: Graph, incoming: Near, outgoing: Near, components: Sequence[type[Component]]) -> set[int]:
    """Everything connected with the input that the run starts from; all nodes when there is none.

    A flow may hold a second, separate chain, such as the loading of documents; a chat does not run it.
    """
    inputs = [node for node in graph.nodes if components[node.index].role in INPUT_ROLES]
    start = next((node.index for word in _STARTS for node in inputs if word in node.id.lower()), None)
    if start is None:
        return set(range(len(graph.nodes)))
    seen, pending = {start}, [start]
    while pending:
        at = pending.pop()
        near = {edge.source for edge in incoming[at]} | {edge.target for edge in outgoing[at]}
        pending.extend(near - seen)
        seen |= near
    return seen


def _ancestors(
    order: Iterable[int], incoming: Near, components: Sequence[type[Component]]
) -> tuple[tuple[int, ...], ...]:
    """For each output node, every node before it; others do not need to know."""
    found: list[tuple[int, ...]] = [()] * len(components)
    for at in order:
        if components[at].role not in OUTPUT_ROLES:
            continue
        seen: set[int] = set()
        pending = [at]
        while pending:
            near = {edge.source for edge in incoming[pending.pop()]} - seen
            seen |= near
            pending.extend(near)
        found[at] = tuple(sorted(seen))
    return tuple(found)
