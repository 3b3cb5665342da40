from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.domain.ports import (
    Event,
    ModelChunk,
    ModelProvider,
    ModelRequest,
    RunContext,
    RunInput,
    RunSpec,
    TokenUsage,
    ToolCall,
)
from service.engine import EmbeddedEngine, Limits, Outside

FLOW_ID = "13193308-c34c-43d8-820e-d9dc70f9e238"
KEYS = {"OPENAI_API_KEY": "sk-canary-0123456789"}


@dataclass
class Model:
    """A model in memory: answers with ``pieces`` and remembers what it was asked."""

    pieces: tuple[str, ...] = ("An ", "answer")
    failure: Exception | None = None
    asked: list[ModelRequest] = field(default_factory=list)
    closed: int = 0
    #: Used up first, one for each request: a text, or the tool calls of an answer.
    script: deque[str | tuple[ToolCall, ...]] = field(default_factory=deque)

    def complete(self, request: ModelRequest) -> Iterator[ModelChunk]:
        self.asked.append(request)
        if self.failure is not None:
            raise self.failure
        return self._chunks(request)

    def _chunks(self, request: ModelRequest) -> Iterator[ModelChunk]:
        try:
            if self.script:
                said = self.script.popleft()
                yield ModelChunk(said) if isinstance(said, str) else ModelChunk(tool_calls=said)
                return
            for piece in self.pieces if request.stream else ["".join(self.pieces)]:
                yield ModelChunk(piece)
            yield ModelChunk(usage=TokenUsage(7, 5, 12))
        finally:
            self.closed += 1


class Runs:
    """Compiles and runs flows the way the domain does."""

    def __init__(self, model: Model, limits: Limits | None = None, **outside: Any) -> None:
        self.providers: dict[str, ModelProvider] = {"OpenAI": model}
        self.engine = EmbeddedEngine(Outside(self.providers, **outside), limits)

    def events(
        self,
        flow: Mapping[str, Any],
        value: str | None = "hello",
        *,
        tweaks: Mapping[str, Any] | None = None,
        values: Mapping[str, str] = KEYS,
        kind: str = "chat",
        components: tuple[str, ...] = (),
        session_id: str = FLOW_ID,
        context: RunContext | None = None,
        **spec: Any,
    ) -> list[Event]:
        asked = RunSpec(FLOW_ID, session_id, RunInput(value, kind, components), **spec)
        return list(self.engine.compile(flow).bind(tweaks or {}).run(asked, values, context))

    def answer(self, flow: Mapping[str, Any], value: str | None = "hello", **more: Any) -> dict[str, Any]:
        """The one RunOutputs of a run."""
        outputs: Any = self.events(flow, value, **more)[-1].data["outputs"]
        return dict(outputs[0])

    def text(self, flow: Mapping[str, Any], value: str | None = "hello", **more: Any) -> str:
        """The text of the first result."""
        results = self.answer(flow, value, **more)["outputs"][0]["results"]
        return str(next(iter(results.values()))["text"])


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def runs(model: Model) -> Runs:
    return Runs(model)
