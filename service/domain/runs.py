"""Runs: what is asked of one, what it needs, its events while it goes on, and what comes of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.domain.errors import DomainError, RunCancelled, ServerStopping, TooBusy
from service.domain.messages import DatabaseHistory
from service.domain.places import Places, Slot
from service.domain.ports import BoundFlow, ComponentTime, Event, RunContext, RunInput, RunSpec, TokenUsage
from service.storage.base import utc_now


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


def _spec(prepared: Prepared, asked: RunRequest) -> RunSpec:
    return RunSpec(
        flow_id=str(prepared.flow_id),
        session_id=prepared.session_id,
        input=RunInput(asked.input_value, asked.input_type, payload=asked.payload),
        output_type=asked.output_type,
        outputs=(asked.output_component,) if asked.output_component else None,
        stream=asked.stream,
    )
