"""A flow to run is found, compiled once, and given its variables and what its owner has."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Engine, bindparam, select
from sqlalchemy.orm import Session

from service.domain import variables
from service.domain.errors import FlowInvalid, NotFound, RunTooLarge
from service.domain.files import OwnersUploads
from service.domain.messages import DatabaseHistory
from service.domain.places import Places, Slot
from service.domain.ports import (
    BoundFlow,
    CompiledFlow,
    FinishedRun,
    FlowEngine,
    MessageSink,
    RunContext,
    RunInput,
    RunSink,
    RunSpec,
    Snapshots,
    TokenUsage,
    Vault,
)
from service.domain.runs import Prepared, Running, finished
from service.storage.flows import Flow
from service.storage.statements import Lookup
from service.storage.variables import Variable

_MOST_COMPILED = 256

_OWNER: BindParameter[uuid.UUID] = bindparam("owner")
#: Whether variables fill fields is asked along with it: a statement of its own would be one more for every run.
_MINE = select(Flow.id, Flow.version_token, variables.has_fillers(_OWNER).label("has_fillers")).where(
    Flow.user_id == _OWNER
)
_BY_ID, _BY_ENDPOINT, _BY_NAME = (
    Lookup(_MINE.where(column == bindparam("wanted"))) for column in (Flow.id, Flow.endpoint_name, Flow.name)
)


class FlowRunner:
    """Keeps compiled flows and starts runs of them.

    Args:
        engine: compiles and runs.
        vault: opens the owner's variables.
        snapshots: keeps where flows are found.
        fallback: values that a flow may read from the environment, where the operator allows it.
        lookups: where flows are looked up, from ``storage.statements.for_lookups``.
        open_session: opens a session for what happens during a run, when the request's own is closed.
        messages: writes what is said.
        max_parallel: runs at once in this process.
        max_depth: flows that run flows that run flows.
        finished: where runs are noted; None: nowhere.
        fills_fields: variables fill the empty fields that they list, as in Langflow 1.13.
    """

    def __init__(
        self,
        engine: FlowEngine,
        vault: Vault,
        snapshots: Snapshots,
        fallback: Mapping[str, str],
        lookups: Engine,
        open_session: Callable[[], Session],
        messages: MessageSink,
        *,
        max_parallel: int = 1000,
        max_depth: int = 5,
        finished: RunSink | None = None,
        fills_fields: bool = True,
    ) -> None:
        self._engine, self._vault, self._snapshots, self._fallback = engine, vault, snapshots, fallback
        self._lookups, self._open, self._messages, self.max_depth = lookups, open_session, messages, max_depth
        self._finished, self._fills_fields = finished, fills_fields
        self._places = Places(max_parallel)
        self._compiled: OrderedDict[tuple[uuid.UUID, uuid.UUID], CompiledFlow] = OrderedDict()
        self._has_new = False
        self._lock = threading.Lock()
        self._open_runs: set[Running] = set()

    def stop_all(self) -> None:
        """Cancel every run: this process ends in a moment."""
        for running in list(self._open_runs):
            running.stop()

    def prepare(self, session: Callable[[], Session], owner_id: uuid.UUID, identifier: str, tweaks: Mapping[str, Any],
                from_request: Mapping[str, str], session_id: str | None, *, within: tuple[CompiledFlow, ...] = (),
                inside: RunContext | None = None,
                only: frozenset[uuid.UUID] | None = None, slot: Slot | None = None,
                traced: bool = False, key_id: uuid.UUID | None = None) -> Prepared:  # fmt: skip
        """Find a flow of the owner by id or endpoint name, and everything that its run needs.

        ``session`` is opened only when something has to be asked of the database. ``within`` are the flows that run
        this one, the outermost first, and ``inside`` is the run of the last of them. ``only`` are the flows that the
        caller's key is limited to, for the flows that this one runs and for the files that it reads as well; ``slot``
        holds its runs to their number; ``traced`` notes which components ran; ``key_id`` is the key that counts for
        the run.

        Raises:
            NotFound: none such, or somebody else's.
            FlowInvalid, UnknownComponents, TweaksRefused, VariableMissing: before anything runs.
        """
        flow_id, version, has_fillers = self._found(owner_id, identifier, by_name=bool(within))
        if only is not None and flow_id not in only:
            raise NotFound(f"Flow identifier {identifier} not found")
        flow = self._flow(session, flow_id, version)
        running, tweaked = (*within, flow), flow.bind(tweaks, by_owner=bool(within))
        bound, stored = self._filled(session, owner_id, tweaked, has_fillers=has_fillers)
        values = variables.resolve(stored, self._vault, bound.variables, from_request, self._fallback)
        history = DatabaseHistory(self._open, self._messages, owner_id, flow_id, at_once=session_id is not None)
        others = _OwnersFlows(self, self._open, owner_id, from_request, running, only)
        uploads = OwnersUploads(self._open, owner_id, only, running)
        context = RunContext(history, uploads, others, trace=[] if traced else None)
        if inside is not None:
            context = replace(context, cancellation=inside.cancellation, spent=inside.spent)
        # A run inside a run has its place already; waiting for a second one could stop all of them for ever.
        places = Places(1) if within else self._places
        note = self._note_of(owner_id, flow_id, key_id) if not within else None
        return Prepared(flow_id, bound, values, session_id or str(flow_id), context, history, places, slot, note,
                        self._open_runs)  # fmt: skip

    def _note_of(
        self, owner_id: uuid.UUID, flow_id: uuid.UUID, key_id: uuid.UUID | None
    ) -> Callable[[datetime, float, str, TokenUsage | None], None] | None:
        sink = self._finished
        if sink is None:
            return None
        return lambda at, seconds, outcome, tokens: sink.add(
            FinishedRun(owner_id, flow_id, key_id, at, seconds, outcome, tokens)
        )

    def forget_gone(self, open_session: Callable[[], Session]) -> None:
        """Let go of compiled flows that were deleted or changed; asks nothing when nothing was compiled since."""
        with self._lock:
            known, has_new, self._has_new = set(self._compiled), self._has_new, False
        if not has_new:
            return
        with open_session() as session:
            query = select(Flow.id, Flow.version_token).where(Flow.id.in_({flow_id for flow_id, _ in known}))
            gone = known - {(row.id, row.version_token) for row in session.execute(query)}
        with self._lock:
            for key in gone:
                self._compiled.pop(key, None)

    def explain(self, session: Session, owner_id: uuid.UUID, identifier: str) -> list[variables.Explanation]:
        """Say for each field of a flow that wants a variable where its value would come from.

        Raises:
            NotFound: none such, or somebody else's.
            FlowInvalid, UnknownComponents: it cannot be run, so nothing is asked for.
        """
        flow_id, version, has_fillers = self._found(owner_id, identifier, by_name=False)
        flow = self._flow(lambda: session, flow_id, version).bind({})
        bound, stored = self._filled(lambda: session, owner_id, flow, has_fillers=has_fillers)
        empty = bound.empty if has_fillers else ()
        return variables.explain(stored, bound.variables, empty, self._fallback)

    def check(self, data: Mapping[str, Any]) -> None:
        """Refuse a graph that goes in circles, whatever components this server has.

        Raises:
            FlowInvalid: it goes in a circle that is no loop.
        """
        self._engine.check(data)

    def _filled(
        self, session: Callable[[], Session], owner_id: uuid.UUID, flow: BoundFlow, *, has_fillers: bool
    ) -> tuple[BoundFlow, Mapping[str, Variable]]:
        """The flow with its empty fields filled, and the owner's variables that it asks for, read at once."""
        empty = flow.empty if has_fillers else ()
        if not flow.variables and not empty:
            return flow, {}
        stored = variables.stored_for(session(), owner_id, flow.variables, with_fillers=bool(empty))
        chosen = variables.fill(stored, empty)
        return flow.filled(chosen) if chosen else flow, stored

    def _found(self, owner_id: uuid.UUID, identifier: str, *, by_name: bool) -> Found:
        key, state = ("flow", owner_id, identifier, by_name), self._snapshots.version()
        found: Found | None = self._snapshots.get(key, state)
        if found is None:
            found = find(self._lookups, owner_id, identifier, by_name=by_name)
            if not self._fills_fields:
                found = found._replace(has_fillers=False)
            self._snapshots.put(key, state, found)
        return found

    def _flow(self, session: Callable[[], Session], flow_id: uuid.UUID, version: uuid.UUID | None) -> CompiledFlow:
        if version is None:
            raise FlowInvalid("This flow has no graph yet. Upload it from Langflow, or send its data.")
        key = (flow_id, version)
        with self._lock:
            known = self._compiled.get(key)
            if known is not None:
                self._compiled.move_to_end(key)
                return known
        data = session().scalar(select(Flow.data).where(Flow.id == flow_id))
        compiled = self._engine.compile(data or {})
        with self._lock:
            self._compiled[key], self._has_new = compiled, True
            while len(self._compiled) > _MOST_COMPILED:
                self._compiled.popitem(last=False)
        return compiled


class _OwnersFlows:
    """The other flows of an owner, for a flow that runs them; implements ``domain.ports.SubFlows``."""

    __slots__ = ("_from_request", "_only", "_open", "_owner_id", "_runner", "_running")

    def __init__(self, runner: FlowRunner, open_session: Callable[[], Session], owner_id: uuid.UUID,
                 from_request: Mapping[str, str], running: tuple[CompiledFlow, ...],
                 only: frozenset[uuid.UUID] | None) -> None:  # fmt: skip
        self._runner, self._open, self._owner_id, self._only = runner, open_session, owner_id, only
        self._from_request, self._running = from_request, running

    def run(
        self, identifier: str, spec: RunInput, tweaks: Mapping[str, Any], session_id: str, inside: RunContext
    ) -> Sequence[Mapping[str, Any]]:
        """Run a flow by id or name; see ``domain.ports.SubFlows``."""
        if len(self._running) > self._runner.max_depth:
            raise RunTooLarge(f"Flows that run flows are nested more than {self._runner.max_depth} deep.")
        with self._open() as session:
            prepared = self._runner.prepare(
                lambda: session, self._owner_id, identifier, tweaks, self._from_request, session_id,
                within=self._running, inside=inside, only=self._only,
            )  # fmt: skip
        running = prepared.start(RunSpec(str(prepared.flow_id), prepared.session_id, spec, "any"))
        return finished(running)


class Found(NamedTuple):
    """A flow to run; ``has_fillers``: some variable of its owner lists fields that it fills."""

    id: uuid.UUID
    version: uuid.UUID | None
    has_fillers: bool


def find(where: Engine | Session, owner_id: uuid.UUID, identifier: str, *, by_name: bool) -> Found:
    """Find a flow to run: the one look-up, always with the owner's filter.

    ``identifier`` is its id in any spelling, or its endpoint name; with ``by_name``, its name counts as well.

    Raises:
        NotFound: none such, or somebody else's.
    """
    queries = [(_BY_ENDPOINT, identifier), *([(_BY_NAME, identifier)] if by_name else [])]
    wanted: list[tuple[Lookup, object]] = list(queries)
    with suppress(ValueError):
        wanted = [(_BY_ID, uuid.UUID(identifier))]
    for query, value in wanted if "\x00" not in identifier else ():
        row = query.first(where, {"owner": owner_id, "wanted": value})
        if row is not None:
            return Found(row.id, row.version_token, row.has_fillers)
    raise NotFound(f"Flow identifier {identifier} not found")
