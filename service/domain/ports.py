"""The sockets of the domain: what a use case asks of things outside it.

Adapters and the engine implement these; tests of the domain may bring their own.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

EventName = Literal["add_message", "token", "end", "error"]


@dataclass(frozen=True, slots=True)
class VariableUse:
    """One field of a flow that wants the value of a global variable.

    ``secret`` says whether the field may receive a Credential (Langflow's password fields).
    ``required`` is false where the component can work without it.
    ``owner_only`` says that no caller may give the field a value: it decides where a credential goes, or what runs.
    """

    node_id: str
    component: str
    field: str
    name: str
    secret: bool
    required: bool = True
    owner_only: bool = False


@dataclass(frozen=True, slots=True)
class EmptyField:
    """A text field that is empty and that nothing leads to: a variable that lists its ``label`` may fill it.

    ``label`` is the field's ``display_name``; ``secret`` as in ``VariableUse``.
    """

    node_id: str
    component: str
    field: str
    label: str
    secret: bool


@dataclass(frozen=True, slots=True)
class RunInput:
    """What goes into a run: a value for the input components of a kind, or for named ones.

    ``payload`` is the body of a webhook's request, for the flow's Webhook component.
    """

    value: str | None = None
    type: str = "chat"
    components: tuple[str, ...] = ()
    payload: str | None = None


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

    @property
    def empty(self) -> Sequence[EmptyField]:
        """The fields that variables may fill."""

    def filled(self, names: Mapping[tuple[str, str], str]) -> BoundFlow:
        """The same with variables for some of ``empty``: by (node id, field), the variable's name.

        A secret field stays empty where the caller's tweaks name a provider that its key was not meant for.
        """

    def run(
        self, spec: RunSpec, values: Mapping[str, str], context: RunContext | None = None
    ) -> Generator[Event, None, None]:
        """Run the flow; the last event is ``end`` with ``{"outputs": [...]}`` of one RunOutputs, and
        ``tokens``: the ``TokenUsage`` of all its models, None where no provider told.

        Args:
            spec: inputs, outputs and session.
            values: variable name -> value, for the names in ``variables`` that could be resolved.
            context: what belongs to the flow's owner; without one there is no history, no file and no other flow.

        Raises:
            RunFailed: or one of its subclasses; nothing is yielded after that.
            VariableMissing: a required name is not in ``values``.
        """


class CompiledFlow(Protocol):
    """A flow that was parsed, checked and planned; immutable and shared between threads."""

    def bind(self, tweaks: Mapping[str, object], *, by_owner: bool = False) -> BoundFlow:
        """Apply a caller's tweaks.

        Args:
            tweaks: by node id, display name or field.
            by_owner: another flow of the owner sets them, so that the operator's policy for callers does not count.

        Raises:
            TweaksRefused: a tweak names a field that only the author may set.
        """

    def names_file(self, reference: str) -> bool:
        """Say whether the stored flow itself holds the reference of an upload; tweaks and inputs do not count."""


class FlowEngine(Protocol):
    """Turns exported flow JSON into something that runs."""

    def compile(self, data: Mapping[str, object]) -> CompiledFlow:
        """Parse, check and plan ``{"nodes": [...], "edges": [...]}``.

        Raises:
            UnknownComponents: names every component type that is not in the catalogue.
            FlowInvalid: the graph cannot be run.
        """

    def check(self, data: Mapping[str, object]) -> None:
        """Refuse a graph that goes in circles, whatever components there are; drafts are let pass.

        Raises:
            FlowInvalid: it goes in a circle that is no loop.
        """


@dataclass(frozen=True, slots=True)
class Lacking:
    """Component types that an executor does not have, and those that it has and refuses: they would run code."""

    unknown: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()


class Executor(Protocol):
    """Runs flows outside this process, one process for each run."""

    allow_code: bool

    def lacking(self, types: frozenset[str]) -> Lacking:
        """Look for what of a flow it cannot run.

        Raises:
            EngineFailed: it could not be started.
        """

    def run(self, order: Mapping[str, Any], cancellation: Cancellation) -> Generator[Mapping[str, Any], None, None]:
        """Run a flow and yield what the run says, line by line; the last has ``end`` or ``failed``.

        Nothing in a line can be trusted to have a shape. Closing it ends the run.

        Args:
            order: the flow, with every value that it needs; see ``engine/elsewhere.py``.
            cancellation: ends the run.

        Raises:
            TooBusy: at once, when as many run as may.
            EngineFailed, RunTimedOut, RunCancelled: while iterating.
        """


@dataclass(frozen=True, slots=True)
class Image:
    """A picture for a model: its media type (``image/png``) and its bytes."""

    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that a model may call. ``parameters`` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to call a tool. ``arguments`` is JSON text as the model wrote it, which may be broken."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation with a model.

    Args:
        images: pictures of a user's turn.
        tool_calls: what an assistant's turn asked for.
        tool_call_id: of a tool's turn, the call that ``text`` answers.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What a component asks of a chat model. Times are seconds.

    Args:
        options: further parameters of the provider's own API, by name, from the stored flow.
        tools: what the model may call; ``tool_choice`` names the one that it has to call.
        api_version: Azure OpenAI's ``api-version``.
        cancellation: closes the connection when it comes.
    """

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
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    api_version: str | None = None
    cancellation: Cancellation | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Token counts as the provider reports them."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class ModelChunk:
    """A piece of an answer: text; with the last piece, usually, the usage and the complete tool calls."""

    text: str = ""
    usage: TokenUsage | None = None
    tool_calls: tuple[ToolCall, ...] = ()


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


@dataclass(frozen=True, slots=True)
class WebRequest:
    """An outgoing HTTP request that a flow asks for. ``timeout`` is seconds for all of it, redirects included."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    timeout: float = 30.0
    follow_redirects: bool = True
    cancellation: Cancellation | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class WebResponse:
    """What came back: header names in lower case, the body within the server's size limit, the last address."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    url: str
    redirects: tuple[tuple[str, int], ...] = ()

    def text(self) -> str:
        """The body as text, in the charset that the answer names, else UTF-8."""
        kind = self.headers.get("content-type", "")
        charset = kind.partition("charset=")[2].split(";")[0].strip().strip('"') or "utf-8"
        try:
            return self.content.decode(charset, "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")


class WebClient(Protocol):
    """The one way out for addresses that come from a flow, a caller or a model."""

    def send(self, request: WebRequest) -> WebResponse:
        """Send a request; every status is an answer, 4xx and 5xx too.

        Raises:
            AddressRefused: the address, or one that it redirects to, is not one that flows may reach.
            FetchFailed: no answer, or one that is too large.
            RunTimedOut: no answer in time.
        """


# Not frozen: that would double what making one costs, and each run makes some.
@dataclass(slots=True)
class StoredMessage:
    """One line of a chat history; ``time`` is aware, in UTC.

    ``properties``, ``content_blocks``, ``category`` and ``session_metadata`` are Langflow's, as JSON.
    """

    id: str
    session_id: str
    text: str
    sender: str
    sender_name: str
    time: datetime
    context_id: str = ""
    files: tuple[str, ...] = ()
    error: bool = False
    edit: bool = False
    category: str = "message"
    properties: Mapping[str, Any] = field(default_factory=dict)
    content_blocks: Sequence[Any] = ()
    session_metadata: Mapping[str, Any] | None = None
    duration: int | None = None
    run_id: str | None = None


#: One row of stored messages, by column.
MessageRow = Mapping[str, Any]


# Not frozen: that would double what making one costs, and each run makes some.
@dataclass(slots=True)
class FinishedRun:
    """A run that is over. ``outcome`` is "done", "failed" or "cancelled"; ``key_id`` None: without a key."""

    owner_id: uuid.UUID
    flow_id: uuid.UUID
    key_id: uuid.UUID | None
    started_at: datetime
    seconds: float
    outcome: str
    tokens: TokenUsage | None = None


class RunSink(Protocol):
    """Where finished runs are noted."""

    def add(self, run: FinishedRun) -> None:
        """Note a run within a second; a stop writes it, a crash may lose it."""


class JobCarrier(Protocol):
    """How it becomes known that jobs wait. Which job runs where, the database alone decides."""

    def room(self) -> int:
        """How many jobs this process would take up now."""

    def announce(self, job_id: uuid.UUID) -> None:
        """Say that a job waits. Never blocks, and may be missed: whoever has room looks each second."""

    def close(self) -> None:
        """Take nothing more; finish what runs here, or give it back."""


class MessageSink(Protocol):
    """Where the messages of runs are written."""

    def write(self, rows: Sequence[MessageRow]) -> None:
        """Write rows now."""

    def defer(self, rows: Iterable[MessageRow]) -> None:
        """Write rows within a second; a stop writes them, a crash may lose them."""

    def flush(self) -> None:
        """Write what waits in this process."""


class ChatHistory(Protocol):
    """The messages of one flow of one owner; no query leads outside it."""

    def add(self, message: StoredMessage) -> None:
        """Add a message, or replace the one with its id. It is durable before the run's answer is sent."""

    def load(
        self,
        session_id: str,
        *,
        context_id: str = "",
        sender: str = "",
        sender_name: str = "",
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[StoredMessage]:
        """The last ``limit`` messages of a session, oldest first unless told; an empty filter does not filter."""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that the flow's owner has uploaded."""

    name: str
    content: bytes = field(repr=False)


class Uploads(Protocol):
    """The uploaded files of one owner. A reference is what an upload answered with, never a path of the server."""

    def read(self, reference: str) -> UploadedFile:
        """Return the file.

        Raises:
            NotFound: none such, or somebody else's.
        """


class SubFlows(Protocol):
    """The other flows of the same owner."""

    def run(
        self, identifier: str, spec: RunInput, tweaks: Mapping[str, Any], session_id: str, inside: RunContext
    ) -> Sequence[Mapping[str, Any]]:
        """Run a flow by id or name and return its ``outputs``.

        ``inside`` is that of the run which asks: the other one ends with it, and uses up what it may use.

        Raises:
            NotFound: none such, or somebody else's.
            RunTooLarge: flows that run flows are nested too deeply.
            DomainError: as for any run.
        """


class Cancellation:
    """Somebody's wish, from another thread, that a run should stop."""

    __slots__ = ("_callbacks", "_lock", "is_set")

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self.is_set = False

    def set(self) -> None:
        """Stop the run: everything that waits for somebody else is interrupted."""
        with self._lock:
            self.is_set = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    @contextmanager
    def interrupting(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call ``callback``, from the other thread, when the wish comes while the block runs."""
        with self._lock:
            late = self.is_set
            if not late:
                self._callbacks.append(callback)
        if late:
            callback()
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)


@dataclass(frozen=True, slots=True)
class ComponentTime:
    """One component that ran: which, and for how many seconds, its waiting included."""

    node_id: str
    name: str
    seconds: float


@dataclass(slots=True)
class Spent:
    """What a run has used up so far, the runs inside it included.

    Args:
        steps: component executions.
        produced: characters of output.
        until: when it has to end, by ``time.monotonic``; None before it has begun.
    """

    steps: int = 0
    produced: int = 0
    until: float | None = None


@dataclass(frozen=True, slots=True)
class RunContext:
    """What belongs to the owner of the flow that runs, and the caller's wish to stop it.

    ``trace`` gathers what ran, in order, where somebody wants to know.
    """

    history: ChatHistory | None = None
    uploads: Uploads | None = None
    flows: SubFlows | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)
    spent: Spent = field(default_factory=Spent)
    trace: list[ComponentTime] | None = None


class Snapshots(Protocol):
    """Look-ups kept in memory, good only while the database is unchanged."""

    def version(self) -> Hashable | None:
        """The state of the database now; None where it cannot be told, and nothing is kept."""

    def get(self, key: Hashable, version: Hashable | None) -> Any:
        """What was put under the key at exactly this version, or None."""

    def put(self, key: Hashable, version: Hashable | None, value: object) -> None:
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


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a subject stands in its window.

    ``resets`` are the seconds until the window is over.
    """

    allowed: bool
    remaining: int
    resets: float


class LimitStore(Protocol):
    """Counts over all workers that share it.

    A subject is a text such as ``"login:203.0.113.9"``. Every method may raise ``LimitsAway``.
    """

    def hit(self, subject: str, most: int, seconds: int) -> Standing:
        """Count one, when fewer than ``most`` came in the window of ``seconds`` that the first one began."""

    def forgive(self, subject: str) -> None:
        """Take one back."""

    def enter(self, subject: str, most: int, lease: float) -> str | None:
        """Take one of ``most`` places for at most ``lease`` seconds; returns its token, None when all are taken."""

    def leave(self, subject: str, token: str) -> None:
        """Give a place back."""

    def close(self) -> None:
        """Give connections back."""
