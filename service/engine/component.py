"""What a component is: a class with declared fields and outputs, one instance per node and run.

A new component is one class in one file of ``components/``::

    class Upper(Component):
        names = ("Upper",)
        display_name = "Upper"
        fields = (Field("input_value"),)
        outputs = (Output("text", "shout"),)

        def shout(self) -> Message:
            return Message(self.text("input_value").upper())

An output method may be a generator: what it yields are events of the run, what it returns is the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, Literal

from service.domain.errors import ComponentFailed, RunCancelled, RunTimedOut, RunTooLarge
from service.domain.ports import EmptyField, ModelProviders, RunContext, TokenUsage, VariableUse, WebClient
from service.engine.fields import OPEN_KINDS, Field
from service.engine.graph import Node
from service.engine.limits import Limits
from service.engine.values import Source, text_of

if TYPE_CHECKING:
    from service.engine.tools import ToolPlan

#: ``chat`` and ``text`` inputs take the caller's value; outputs are what a run answers with.
Role = Literal["inner", "chat_input", "text_input", "other_input", "chat_output", "other_output"]
INPUT_ROLES: frozenset[Role] = frozenset({"chat_input", "text_input", "other_input"})
OUTPUT_ROLES: frozenset[Role] = frozenset({"chat_output", "other_output"})
CHAT_ROLES: frozenset[Role] = frozenset({"chat_input", "chat_output"})


@dataclass(frozen=True, slots=True)
class Services:
    """Addresses of the services that components know by themselves; an operator may put mirrors in their place."""

    duckduckgo: str = "https://html.duckduckgo.com/html/"
    google_news: str = "https://news.google.com/rss"
    tavily: str = "https://api.tavily.com/search"
    searchapi: str = "https://www.searchapi.io/api/v1/search"
    arxiv: str = "https://export.arxiv.org/api/query"


@dataclass(frozen=True, slots=True)
class Outside:
    """What an engine reaches outside this process; the same for every flow.

    Args:
        providers: the language models, by Langflow's provider name.
        web: the way out for addresses; without one, components that need it cannot run.
        services: where well-known services are.
        default_model: provider and model of a node that names none, where the operator has chosen them.
    """

    providers: ModelProviders
    web: WebClient | None = None
    services: Services = Services()
    default_model: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One output: its name in exports and the method that makes its value."""

    name: str
    method: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What a field is set to: a stored value, or the name of a variable."""

    value: object = field(repr=False, default=None)
    from_variable: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """One node while it is planned: its stored settings, with tweaks, and the fields that edges fill."""

    node: Node
    settings: Mapping[str, Setting]
    linked: frozenset[str]
    outside: Outside = field(repr=False)

    def literal(self, name: str) -> object:
        """The stored value, or None where an edge or a variable decides at run time."""
        setting = self.settings.get(name)
        if setting is None or setting.from_variable or name in self.linked:
            return None
        return setting.value

    def decided_later(self, name: str) -> bool:
        """True when an edge or a variable gives the field its value."""
        setting = self.settings.get(name)
        return name in self.linked or (setting is not None and setting.from_variable)


@dataclass(frozen=True, slots=True)
class Inlet:
    """One incoming edge of a step: the value of ``output`` of step ``source`` goes to ``field``."""

    field: str
    source: int
    output: str
    many: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One component of a plan: everything about it that no run changes.

    Args:
        values: coerced values by field; shared between runs, so never changed.
        prepared: whatever the component's ``prepare`` made.
        inlets: edges in, in export order.
        uses: variables that this step reads.
        empty: fields that variables may fill.
        methods: outputs to compute, as (name, function).
        shown: outputs that the export lists, in its order.
        neighbours: roles of the nodes that an edge connects it to, either way.
        origin: step of the first incoming edge, or None.
        ancestors: all steps that this one depends on.
        in_session: it has a session_id field that no edge fills.
        kind: the component's type name in the export, of which a class may have several.
        icon: name of the component's icon in the export.
        tools: what an agent that is connected to it may call.
        in_loop: a loop runs it, not the flow.
        body: of a loop, the steps that run once for each item, in order.
        feedback: of a loop, the step and output whose value is an item's result, or None.
    """

    index: int
    node_id: str
    display_name: str
    component: type[Component]
    values: Mapping[str, object] = field(repr=False)
    prepared: object = field(repr=False)
    inlets: tuple[Inlet, ...]
    uses: tuple[VariableUse, ...]
    methods: tuple[tuple[str, Callable[[Component], object]], ...]
    shown: tuple[str, ...]
    neighbours: frozenset[Role]
    origin: int | None
    ancestors: tuple[int, ...]
    in_session: bool
    kind: str = ""
    icon: str = ""
    tools: tuple[ToolPlan, ...] = ()
    in_loop: bool = False
    body: tuple[int, ...] = ()
    feedback: tuple[int, str] | None = None
    empty: tuple[EmptyField, ...] = ()


class Run:
    """What all components of one run share. Made for one run and thrown away with it."""

    __slots__ = (
        "components", "context", "deadline", "flow_id", "limits", "outside",
        "run_id", "session_id", "spent", "stream", "usage",
    )  # fmt: skip

    def __init__(
        self, flow_id: str, session_id: str, run_id: str, *, stream: bool, outside: Outside, limits: Limits,
        context: RunContext,
    ) -> None:  # fmt: skip
        self.flow_id, self.session_id, self.run_id, self.stream = flow_id, session_id, run_id, stream
        self.outside, self.limits, self.context = outside, limits, context
        self.components: dict[int, Component] = {}
        self.usage: dict[int, TokenUsage] = {}
        # A flow that this one runs goes on where this one is: else each of them would have all of it anew.
        self.spent = context.spent
        if self.spent.until is None:
            self.spent.until = monotonic() + limits.wall_seconds
        self.deadline = self.spent.until

    def tick(self) -> None:
        """Count one step.

        Raises:
            RunTooLarge, RunTimedOut: the run has used up its steps or its time.
        """
        self.spent.steps += 1
        if self.spent.steps > self.limits.max_steps:
            raise RunTooLarge(f"The run took more than {self.limits.max_steps} steps.")
        self.seconds_left()

    def seconds_left(self) -> float:
        """Seconds until the run's end.

        Raises:
            RunTimedOut: none are left.
            RunCancelled: nobody waits for the run any more.
        """
        if self.context.cancellation.is_set:
            raise RunCancelled("The run was stopped by its caller.")
        left = self.deadline - monotonic()
        if left <= 0:
            raise RunTimedOut(f"The run took longer than {self.limits.wall_seconds:g} seconds.")
        return left

    def produce(self, size: int) -> None:
        """Count ``size`` characters of output; the runner does it for what a method returns.

        Raises:
            RunTooLarge: the run has produced too much.
        """
        self.room_for(size)
        self.spent.produced += size

    def room_for(self, size: int) -> None:
        """Check, before they are put together, that ``size`` more characters are allowed.

        Raises:
            RunTooLarge: the run would produce too much.
        """
        if self.spent.produced + size > self.limits.max_output_bytes:
            raise RunTooLarge(f"The run produced more than {self.limits.max_output_bytes} bytes.")


class Component:
    """One node in one run. Subclasses declare what they read and what they make."""

    names: ClassVar[tuple[str, ...]] = ()
    display_name: ClassVar[str] = ""
    #: What a model reads about it when it is a tool, unless the flow's author has written something else.
    description: ClassVar[str] = ""
    role: ClassVar[Role] = "inner"
    fields: ClassVar[tuple[Field, ...]] = ()
    outputs: ClassVar[tuple[Output, ...]] = ()
    #: The body of a webhook's request goes into its field ``data``.
    takes_payload: ClassVar[bool] = False
    #: Of a loop, the output that an edge may lead back into.
    feedback_output: ClassVar[str | None] = None
    #: The artifact of an output shows a message's record instead of its text.
    shows_record: ClassVar[bool] = False

    __slots__ = ("chosen", "run", "step", "values")

    def __init__(self, step: Step, run: Run, values: dict[str, object], chosen: frozenset[str] = frozenset()) -> None:
        """``chosen`` names the values that a model has filled in, where the component is its tool."""
        self.step, self.run, self.values, self.chosen = step, run, values, chosen

    @classmethod
    def dynamic_fields(cls, draft: Draft) -> Iterable[Field]:  # noqa: ARG003 - for subclasses
        """Fields that the stored flow defines, beside the declared ones."""
        return ()

    @classmethod
    def outputs_of(cls, node: Node) -> tuple[Output, ...]:  # noqa: ARG003 - for subclasses
        """The outputs of a node; a class whose nodes differ makes them from the export."""
        return cls.outputs

    @classmethod
    def tool_methods(cls) -> tuple[str, ...]:
        """The output methods that an agent may call, each a tool of its own."""
        return tuple(dict.fromkeys(output.method for output in cls.outputs))

    @classmethod
    def tools_of(cls, draft: Draft) -> tuple[ToolPlan, ...]:
        """What an agent may call when the node is connected to it as a tool."""
        from service.engine import tools

        return tools.planned(cls, draft)

    @classmethod
    def method_of(cls, output: Output) -> Callable[[Component], object]:
        """The function that makes an output's value."""
        method: Callable[[Component], object] = getattr(cls, output.method)
        return method

    @classmethod
    def prepare(cls, draft: Draft) -> object:  # noqa: ARG003 - for subclasses
        """Do the work that needs no run; the result is ``self.step.prepared``.

        Raises:
            FlowInvalid: the stored settings cannot work.
            UnknownComponents: this server cannot run the node.
        """
        return None

    @classmethod
    def implied_uses(cls, draft: Draft) -> Iterable[VariableUse]:  # noqa: ARG003 - for subclasses
        """Variables that are read although no field names them."""
        return ()

    @classmethod
    def accepts_tweak(cls, draft: Draft, declared: Field, value: object) -> bool:  # noqa: ARG003 - for subclasses
        """Whether a caller may set the field; closed kinds stay closed unless a subclass knows better."""
        return declared.kind in OPEN_KINDS

    @classmethod
    def accepts_reference(cls, declared: Field, value: object) -> bool:  # noqa: ARG003 - for subclasses
        """Whether a caller may set a file field to this, which can only name the owner's own uploads."""
        return False

    def text(self, name: str) -> str:
        """The field as text; "" when it has no value."""
        return text_of(self.values.get(name))

    def flag(self, name: str) -> bool:
        """The field as a truth value."""
        return bool(self.values.get(name))

    def integer(self, name: str) -> int | None:
        """The field as a whole number, or None."""
        value = self.values.get(name)
        return value if isinstance(value, int) else None

    def number(self, name: str) -> float | None:
        """The field as a number, or None."""
        value = self.values.get(name)
        return float(value) if isinstance(value, int | float) else None

    def fail(self, reason: str) -> ComponentFailed:
        """An error that names this component; raise it."""
        return ComponentFailed(reason, component=self.step.display_name)

    def source(self) -> Source:
        """How messages name this component as their origin."""
        return self.step.node_id, self.display_name, self.display_name


class Loop(Component):
    """A component that the runner asks for items; the steps between its item output and the way back run for each."""

    __slots__ = ()

    def items(self) -> list[object]:
        """What to run the body for."""
        raise NotImplementedError

    def collect(self, items: list[object], results: list[object]) -> dict[str, object]:
        """The values of the outputs, made of what came back for each item (``STOPPED`` where nothing did)."""
        raise NotImplementedError
