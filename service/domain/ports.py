"""The sockets of the domain: what a use case asks of things outside it.

Adapters and the engine implement these; tests of the domain may bring their own.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

EventName = Literal["add_message", "token", "end", "error"]


@dataclass(frozen=True, slots=True)
class VariableUse:
    """One field of a flow that wants the value of a global variable.

    ``secret`` says whether the field may receive a Credential (Langflow's password fields).
    ``required`` is false where the component can work without it.
    """

    node_id: str
    component: str
    field: str
    name: str
    secret: bool
    required: bool = True


@dataclass(frozen=True, slots=True)
class RunInput:
    """What goes into a run: a value for the input components of a kind, or for named ones."""

    value: str | None = None
    type: str = "chat"
    components: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run of a compiled flow: which inputs, which outputs, in which session."""

    flow_id: str
    session_id: str
    input: RunInput = field(default_factory=RunInput)
    output_type: str = "chat"
    outputs: tuple[str, ...] | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a run, in the names and shapes of Langflow's stream."""

    name: EventName
    data: Mapping[str, object]


class BoundFlow(Protocol):
    """A compiled flow with one caller's tweaks applied; shares nothing with other runs."""

    @property
    def variables(self) -> Sequence[VariableUse]:
        """The variables that this run will read; resolve these and no others."""

    def run(self, spec: RunSpec, values: Mapping[str, str]) -> Generator[Event, None, None]:
        """Run the flow; the last event is ``end`` with ``{"outputs": [...]}`` of one RunOutputs.

        Args:
            spec: inputs, outputs and session.
            values: variable name -> value, for the names in ``variables`` that could be resolved.

        Raises:
            RunFailed: or one of its subclasses; nothing is yielded after that.
            VariableMissing: a required name is not in ``values``.
        """


class CompiledFlow(Protocol):
    """A flow that was parsed, checked and planned; immutable and shared between threads."""

    def bind(self, tweaks: Mapping[str, object]) -> BoundFlow:
        """Apply a caller's tweaks.

        Raises:
            TweaksRefused: a tweak names a field that only the author may set.
        """


class FlowEngine(Protocol):
    """Turns exported flow JSON into something that runs."""

    def compile(self, data: Mapping[str, object]) -> CompiledFlow:
        """Parse, check and plan ``{"nodes": [...], "edges": [...]}``.

        Raises:
            UnknownComponents: names every component type that is not in the catalogue.
            FlowInvalid: the graph cannot be run.
        """


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation with a model."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What a component asks of a chat model. Times are seconds."""

    model: str
    messages: tuple[ChatMessage, ...]
    api_key: str = field(repr=False)
    base_url: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    json_mode: bool = False
    timeout: float = 120.0
    max_retries: int = 2
    stream: bool = False


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Token counts as the provider reports them."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class ModelChunk:
    """A piece of an answer: text, and, usually with the last piece, the usage."""

    text: str = ""
    usage: TokenUsage | None = None


class ModelProvider(Protocol):
    """A chat model behind its maker's SDK."""

    def complete(self, request: ModelRequest) -> Iterator[ModelChunk]:
        """Yield the answer: one chunk when ``request.stream`` is false, else as it arrives.

        Closing the iterator closes the connection to the provider.

        Raises:
            ProviderFailed: refused, failed or unreachable; the text holds no secret.
            RunTimedOut: no answer in time.
        """


class ModelProviders(Protocol):
    """The model providers of this server, by Langflow's provider name (``"OpenAI"``)."""

    def get(self, name: str) -> ModelProvider | None:
        """The provider, or None when this server has none of that name."""


class Snapshots(Protocol):
    """Look-ups kept in memory, good only while the database is unchanged."""

    def version(self) -> int | None:
        """The state of the database now; None where it cannot be told, and nothing is kept."""

    def get(self, key: Hashable, version: int | None) -> Any:
        """What was put under the key at exactly this version, or None."""

    def put(self, key: Hashable, version: int | None, value: object) -> None:
        """Keep a look-up; ``version`` was read before it."""


class PasswordHasher(Protocol):
    """Slow hashing for passwords."""

    def hash(self, password: str) -> str:
        """Return a self-describing hash."""

    def verify(self, stored: str | None, password: str) -> bool:
        """Compare; with ``stored`` None it takes the same time and answers False."""

    def needs_rehash(self, stored: str) -> bool:
        """True when the hash was made with older parameters."""


class Vault(Protocol):
    """Encryption of stored values."""

    def encrypt(self, text: str) -> str:
        """Return ciphertext that names the key it was made with."""

    def decrypt(self, stored: str) -> str:
        """Open what ``encrypt`` made.

        Raises:
            NotDecryptable: for every cause alike.
        """


class AttemptLimiter(Protocol):
    """Counts attempts per subject, so that guessing is slow."""

    def check(self, subject: str) -> None:
        """Count one attempt of ``subject``.

        Raises:
            TooManyAttempts: the subject has used up its attempts.
        """
