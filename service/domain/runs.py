"""Running a flow: found, compiled once, given its variables and what its owner has, and run."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Engine, bindparam, select
from sqlalchemy.orm import Session

from service.domain import variables
from service.domain.errors import (
    DomainError,
    FlowInvalid,
    NotFound,
    RunCancelled,
    RunTooLarge,
    ServerStopping,
    TooBusy,
    TooManyAttempts,
)
from service.domain.files import OwnersUploads
from service.domain.messages import DatabaseHistory
from service.domain.permissions import Rights
from service.domain.ports import (
    BoundFlow,
    CompiledFlow,
    ComponentTime,
    Event,
    FinishedRun,
    FlowEngine,
    LimitStore,
    MessageSink,
    RunContext,
    RunInput,
    RunSink,
    RunSpec,
    Snapshots,
    TokenUsage,
    Vault,
)
from service.storage.base import utc_now
from service.storage.flows import Flow
from service.storage.statements import Lookup

_MOST_COMPILED = 256
TOO_MANY_RUNS = "This API key has as many runs going on as it may. Please try again later."

_MINE = select(Flow.id, Flow.version_token).where(Flow.user_id == bindparam("owner"))
_BY_ID, _BY_ENDPOINT, _BY_NAME = (
    Lookup(_MINE.where(column == bindparam("wanted"))) for column in (Flow.id, Flow.endpoint_name, Flow.name)
)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a caller asks of a flow.

    ``variables`` are the values of ``X-LANGFLOW-GLOBAL-VAR-*`` headers; they are used and forgotten. A run in the
    ``background`` keeps all of this encrypted until it has ended.
    ``payload`` is the body of a webhook's request.
    """

    input_value: str | None = None
    input_type: str = "chat"
    output_type: str = "chat"
    output_component: str | None = None
    tweaks: Mapping[str, Any] = field(default_factory=dict)
    session_id: str | None = None
    stream: bool = False
    background: bool = False
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    payload: str | None = field(default=None, repr=False)


class Slot(Protocol):
    """What holds the runs of somebody to a number."""

    def enter(self) -> str:
        """Take a place and return its token.

        Raises:
            TooManyAttempts: all are taken.
        """

    def leave(self, token: str) -> None:
        """Give a place back."""


@dataclass(frozen=True, slots=True)
class KeySlot:
    """The runs that a key may have going on at once, over all workers.

    ``lease`` is how many seconds a place is held at most, should its holder die.
    """

    store: LimitStore
    subject: str
    most: int
    lease: float

    def enter(self) -> str:
        """Take a place and return its token.

        Raises:
            TooManyAttempts: all are taken.
        """
        token = self.store.enter(self.subject, self.most, self.lease)
        if token is None:
            raise TooManyAttempts(1, TOO_MANY_RUNS)
        return token

    def leave(self, token: str) -> None:
        """Give a place back."""
        self.store.leave(self.subject, token)

    def look(self) -> None:
        """Refuse what would be refused now, without keeping a place.

        Raises:
            TooManyAttempts: all are taken.
        """
        self.leave(self.enter())


def slot_of(rights: Rights | None, key_id: uuid.UUID | None, store: LimitStore, run_timeout: float) -> KeySlot | None:
    """Return what holds the runs of a key to their number; None: there is no such limit."""
    most = rights.max_parallel if rights is not None else None
    if most is None:
        return None
    # Whoever dies in a run gives its place back by the end of the lease.
    return KeySlot(store, f"runs:{key_id}", most, run_timeout * 2 + 60)


class Places:
    """So many runs at once; nobody waits for a place, which is what makes Python's own semaphores slow."""

    __slots__ = ("_free", "_lock")

    def __init__(self, most: int) -> None:
        self._free, self._lock = most, threading.Lock()

    def take(self) -> bool:
        """Take a place; False: there is none."""
        with self._lock:
            if not self._free:
                return False
            self._free -= 1
            return True

    def give_back(self) -> None:
        """Give one's place to the next."""
        with self._lock:
            self._free += 1


@dataclass(slots=True)
class Prepared:
    """A run that needs nothing more from the request's session."""

    flow_id: uuid.UUID
    bound: BoundFlow
    values: Mapping[str, str] = field(repr=False)
    session_id: str
    context: RunContext = field(repr=False)
    history: DatabaseHistory = field(repr=False)
    places: Places = field(repr=False)
    slot: Slot | None = None
    note: Callable[[datetime, float, str, TokenUsage | None], None] | None = None
    #: Of whoever prepared it: what runs at the moment.
    open_runs: set[Running] = field(default_factory=set, repr=False)

    @property
    def trace(self) -> Sequence[ComponentTime]:
        """What ran so far, where ``prepare`` was asked to note it."""
        return self.context.trace or ()

    def start(self, spec: RunSpec) -> Running:
        """Start a run.

        Raises:
            TooBusy: this process runs as many flows as it may.
            TooManyAttempts: the key has as many runs going on as it may.
            DomainError: what can be told before anything runs.
        """
        return Running(self, spec)


class Running:
    """The events of one run. ``close`` ends it, and the provider's stream, wherever it is.

    It holds a place among the runs of this process until it is closed, and its messages are stored before the last
    event is handed out.
    """

    __slots__ = ("_at", "_began", "_events", "_held", "_is_stopped", "_outcome", "_prepared", "_token", "_tokens")

    def __init__(self, prepared: Prepared, spec: RunSpec) -> None:
        self._held = prepared.places.take()
        if not self._held:
            raise TooBusy
        self._prepared, self._token, self._is_stopped = prepared, None, False
        prepared.open_runs.add(self)
        self._at, self._began = utc_now(), time.monotonic()
        # Until an end or a failure is seen: nobody waits for it any more.
        self._outcome = "cancelled"
        self._tokens: Any = None
        try:
            self._token = prepared.slot.enter() if prepared.slot is not None else None
            self._events = prepared.bound.run(spec, prepared.values, prepared.context)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        try:
            event = next(self._events)
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, RunCancelled | StopIteration):
                self._outcome = "failed"
            self.close()
            if self._is_stopped and isinstance(error, DomainError):
                raise ServerStopping from None
            raise
        if event.name == "end":
            self._outcome, self._tokens = "done", event.data.get("tokens")
            self._prepared.history.flush()
        return event

    def cancel(self) -> None:
        """Ask the run to stop; may come from another thread than the one that iterates."""
        self._prepared.context.cancellation.set()

    def stop(self) -> None:
        """Cancel it for this process's own end, of which whoever waits for it is told."""
        self._is_stopped = True
        self.cancel()

    def close(self) -> None:
        """End the run; a second call does nothing."""
        if not self._held:
            return
        self._held = False
        self._prepared.open_runs.discard(self)
        try:
            events = getattr(self, "_events", None)
            if events is not None:
                events.close()
            self._prepared.history.flush()
        finally:
            self._prepared.places.give_back()
            if self._prepared.slot is not None and self._token is not None:
                self._prepared.slot.leave(self._token)
            if self._prepared.note is not None:
                self._prepared.note(self._at, time.monotonic() - self._began, self._outcome, self._tokens)


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
    ) -> None:
        self._engine, self._vault, self._snapshots, self._fallback = engine, vault, snapshots, fallback
        self._lookups, self._open, self._messages, self.max_depth = lookups, open_session, messages, max_depth
        self._finished = finished
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
                from_request: Mapping[str, str], session_id: str | None, *, depth: int = 0,
                only: frozenset[uuid.UUID] | None = None, slot: Slot | None = None,
                traced: bool = False, key_id: uuid.UUID | None = None) -> Prepared:  # fmt: skip
        """Find a flow of the owner by id or endpoint name, and everything that its run needs.

        ``session`` is opened only when something has to be asked of the database. ``only`` are the flows that the
        caller's key is limited to, for the flows that this one runs as well; ``slot`` holds its runs to their number;
        ``traced`` notes which components ran; ``key_id`` is the key that counts for the run.

        Raises:
            NotFound: none such, or somebody else's.
            FlowInvalid, UnknownComponents, TweaksRefused, VariableMissing: before anything runs.
        """
        flow_id, version = self._found(owner_id, identifier, by_name=depth > 0)
        if only is not None and flow_id not in only:
            raise NotFound(f"Flow identifier {identifier} not found")
        bound = self._flow(session, flow_id, version).bind(tweaks, by_owner=depth > 0)
        uses = bound.variables
        values = (
            variables.resolve(session(), self._vault, owner_id, uses, from_request, self._fallback) if uses else {}
        )
        history = DatabaseHistory(self._open, self._messages, owner_id, flow_id, at_once=session_id is not None)
        others = _OwnersFlows(self, self._open, owner_id, from_request, depth, only)
        context = RunContext(history, OwnersUploads(self._open, owner_id), others, trace=[] if traced else None)
        # A run inside a run has its place already; waiting for a second one could stop all of them for ever.
        places = self._places if depth == 0 else Places(1)
        note = self._note_of(owner_id, flow_id, key_id) if depth == 0 else None
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
        flow_id, version = self._found(owner_id, identifier, by_name=False)
        uses = self._flow(lambda: session, flow_id, version).bind({}).variables
        return variables.explain(session, owner_id, uses, self._fallback)

    def check(self, data: Mapping[str, Any]) -> None:
        """Refuse a graph that goes in circles, whatever components this server has.

        Raises:
            FlowInvalid: it goes in a circle that is no loop.
        """
        self._engine.check(data)

    def _found(self, owner_id: uuid.UUID, identifier: str, *, by_name: bool) -> tuple[uuid.UUID, uuid.UUID | None]:
        key, state = ("flow", owner_id, identifier, by_name), self._snapshots.version()
        found: tuple[uuid.UUID, uuid.UUID | None] | None = self._snapshots.get(key, state)
        if found is None:
            found = find(self._lookups, owner_id, identifier, by_name=by_name)
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

    __slots__ = ("_depth", "_from_request", "_only", "_open", "_owner_id", "_runner")

    def __init__(self, runner: FlowRunner, open_session: Callable[[], Session], owner_id: uuid.UUID,
                 from_request: Mapping[str, str], depth: int, only: frozenset[uuid.UUID] | None) -> None:  # fmt: skip
        self._runner, self._open, self._owner_id, self._only = runner, open_session, owner_id, only
        self._from_request, self._depth = from_request, depth

    def run(
        self, identifier: str, spec: RunInput, tweaks: Mapping[str, Any], session_id: str
    ) -> Sequence[Mapping[str, Any]]:
        """Run a flow by id or name; see ``domain.ports.SubFlows``."""
        depth = self._depth + 1
        if depth > self._runner.max_depth:
            raise RunTooLarge(f"Flows that run flows are nested more than {self._runner.max_depth} deep.")
        with self._open() as session:
            prepared = self._runner.prepare(
                lambda: session, self._owner_id, identifier, tweaks, self._from_request, session_id, depth=depth,
                only=self._only,
            )  # fmt: skip
        running = prepared.start(RunSpec(str(prepared.flow_id), prepared.session_id, spec, "any"))
        return finished(running)


def events(prepared: Prepared, asked: RunRequest) -> Running:
    """Run, and yield Langflow's events; the last is ``end`` with the outputs.

    Raises:
        DomainError: what can be told before anything runs, at once; the rest while iterating.
    """
    return prepared.start(_spec(prepared, asked))


def result(prepared: Prepared, asked: RunRequest) -> dict[str, Any]:
    """Run to the end and return ``{"session_id", "outputs"}``."""
    return {"session_id": prepared.session_id, "outputs": finished(events(prepared, asked))}


def advanced(prepared: Prepared, inputs: list[RunInput], outputs: list[str]) -> dict[str, Any]:
    """Run once for each input and return all results in order."""
    found: list[Any] = []
    for one in inputs:
        spec = RunSpec(str(prepared.flow_id), prepared.session_id, one, output_type="debug" if outputs else "any",
                       outputs=tuple(outputs) or None)  # fmt: skip
        found.extend(finished(prepared.start(spec)))
    return {"session_id": prepared.session_id, "outputs": found}


def finished(running: Running) -> list[Any]:
    """Run to the end and return the outputs."""
    found: Any = ended(running)["outputs"]
    return list(found)


def ended(running: Running) -> Mapping[str, Any]:
    """Run to the end and return what the last event brings: ``outputs`` and ``tokens``."""
    last: Event | None = None
    try:
        for last in running:  # noqa: B007 - the last one counts
            pass
    finally:
        running.close()
    return last.data if last is not None else {"outputs": [], "tokens": None}


def in_background(work: Callable[[], object]) -> None:
    """Start work that nobody waits for, in a thread of this process."""
    threading.Thread(target=work, name="run", daemon=False).start()


def _spec(prepared: Prepared, asked: RunRequest) -> RunSpec:
    return RunSpec(
        flow_id=str(prepared.flow_id),
        session_id=prepared.session_id,
        input=RunInput(asked.input_value, asked.input_type, payload=asked.payload),
        output_type=asked.output_type,
        outputs=(asked.output_component,) if asked.output_component else None,
        stream=asked.stream,
    )


def find(
    where: Engine | Session, owner_id: uuid.UUID, identifier: str, *, by_name: bool
) -> tuple[uuid.UUID, uuid.UUID | None]:
    """Return id and version of a flow to run: the one look-up, always with the owner's filter.

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
            return row.id, row.version_token
    raise NotFound(f"Flow identifier {identifier} not found")
