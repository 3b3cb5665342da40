"""Running a flow: found, compiled once, given its variables, and run."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from service.domain import variables
from service.domain.errors import FlowInvalid, NotFound
from service.domain.ports import BoundFlow, CompiledFlow, Event, FlowEngine, RunInput, RunSpec, Snapshots, Vault
from service.storage.flows import Flow

_MOST_COMPILED = 256

# Built once: putting a statement together costs more than running it.
_MINE = select(Flow.id, Flow.version_token).where(Flow.user_id == bindparam("owner"))
_BY_ID, _BY_NAME = (_MINE.where(column == bindparam("wanted")) for column in (Flow.id, Flow.endpoint_name))


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a caller asks of a flow.

    ``variables`` are the values of ``X-LANGFLOW-GLOBAL-VAR-*`` headers; they are used and forgotten.
    """

    input_value: str | None = None
    input_type: str = "chat"
    output_type: str = "chat"
    output_component: str | None = None
    tweaks: Mapping[str, Any] = field(default_factory=dict)
    session_id: str | None = None
    stream: bool = False
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that needs nothing more from the database."""

    flow_id: uuid.UUID
    bound: BoundFlow
    values: Mapping[str, str] = field(repr=False)
    session_id: str = ""


class FlowRunner:
    """Keeps compiled flows and starts runs of them.

    Args:
        engine: compiles and runs.
        vault: opens the owner's variables.
        snapshots: keeps where flows are found.
        fallback: values that a flow may read from the environment, where the operator allows it.
    """

    def __init__(self, engine: FlowEngine, vault: Vault, snapshots: Snapshots, fallback: Mapping[str, str]) -> None:
        self._engine, self._vault, self._snapshots, self._fallback = engine, vault, snapshots, fallback
        self._compiled: OrderedDict[tuple[uuid.UUID, uuid.UUID], CompiledFlow] = OrderedDict()
        self._lock = threading.Lock()

    def prepare(self, session: Callable[[], Session], owner_id: uuid.UUID, identifier: str, tweaks: Mapping[str, Any],
                from_request: Mapping[str, str], session_id: str | None) -> Prepared:  # fmt: skip
        """Find a flow of the owner by id or endpoint name, and everything that its run needs.

        ``session`` is opened only when something has to be asked of the database.

        Raises:
            NotFound: none such, or somebody else's.
            FlowInvalid, UnknownComponents, TweaksRefused, VariableMissing: before anything runs.
        """
        flow_id, version = self._found(session, owner_id, identifier)
        bound = self._flow(session, flow_id, version).bind(tweaks)
        uses = bound.variables
        values = (
            variables.resolve(session(), self._vault, owner_id, uses, from_request, self._fallback) if uses else {}
        )
        return Prepared(flow_id, bound, values, session_id or str(flow_id))

    def _found(
        self, session: Callable[[], Session], owner_id: uuid.UUID, identifier: str
    ) -> tuple[uuid.UUID, uuid.UUID | None]:
        key, state = ("flow", owner_id, identifier), self._snapshots.version()
        found: tuple[uuid.UUID, uuid.UUID | None] | None = self._snapshots.get(key, state)
        if found is None:
            found = _find(session(), owner_id, identifier)
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
            self._compiled[key] = compiled
            while len(self._compiled) > _MOST_COMPILED:
                self._compiled.popitem(last=False)
        return compiled


def events(prepared: Prepared, asked: RunRequest) -> Iterator[Event]:
    """Run, and yield Langflow's events; the last is ``end`` with the whole result.

    Closing the iterator ends the run and the provider's stream.

    Raises:
        DomainError: what can be told before anything runs, at once; the rest while iterating.
    """
    running = prepared.bound.run(_spec(prepared, asked), prepared.values)
    return _with_session(running, prepared.session_id)


def _with_session(running: Generator[Event, None, None], session_id: str) -> Iterator[Event]:
    with closing(running):
        for event in running:
            if event.name == "end":
                yield Event("end", {"result": {"session_id": session_id, "outputs": event.data["outputs"]}})
            else:
                yield event


def result(prepared: Prepared, asked: RunRequest) -> dict[str, Any]:
    """Run to the end and return ``{"session_id", "outputs"}``."""
    last: Event | None = None
    for last in prepared.bound.run(_spec(prepared, asked), prepared.values):  # noqa: B007 - the last one counts
        pass
    return {"session_id": prepared.session_id, "outputs": last.data["outputs"] if last else []}


def advanced(prepared: Prepared, inputs: list[RunInput], outputs: list[str]) -> dict[str, Any]:
    """Run once for each input and return all results in order."""
    found: list[object] = []
    for one in inputs:
        spec = RunSpec(str(prepared.flow_id), prepared.session_id, one, output_type="debug" if outputs else "any",
                       outputs=tuple(outputs) or None)  # fmt: skip
        for event in prepared.bound.run(spec, prepared.values):
            if event.name == "end":
                found.extend(event.data["outputs"])  # type: ignore[arg-type]
    return {"session_id": prepared.session_id, "outputs": found}


def in_background(work: Callable[[], object]) -> None:
    """Start work that nobody waits for, in a thread of this process."""
    threading.Thread(target=work, name="run", daemon=False).start()


def _spec(prepared: Prepared, asked: RunRequest) -> RunSpec:
    return RunSpec(
        flow_id=str(prepared.flow_id),
        session_id=prepared.session_id,
        input=RunInput(asked.input_value, asked.input_type),
        output_type=asked.output_type,
        outputs=(asked.output_component,) if asked.output_component else None,
        stream=asked.stream,
    )


def _find(session: Session, owner_id: uuid.UUID, identifier: str) -> tuple[uuid.UUID, uuid.UUID | None]:
    """The one look-up of a flow to run: by id or by name, always with the owner's filter."""
    wanted: object = identifier
    query = _BY_NAME
    with suppress(ValueError):
        wanted, query = uuid.UUID(identifier), _BY_ID
    row = None
    if "\x00" not in identifier:
        row = session.execute(query, {"owner": owner_id, "wanted": wanted}).first()
    if row is None:
        raise NotFound(f"Flow identifier {identifier} not found")
    return row.id, row.version_token
