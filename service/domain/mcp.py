"""Flows as tools of MCP: which ones whom, under which name, with which arguments.

Source: Langflow 1.13, which makes one tool of each flow with ``mcp_enabled``. Whoever has no key sees and runs only
what its owner has made public as well.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from service.domain import projects
from service.domain.audit import Actor
from service.domain.errors import Forbidden, Invalid, NotFound
from service.domain.identity import Identity
from service.domain.mcp_shapes import Argument, Shape, Shapes, fault_in
from service.domain.runs import RunRequest
from service.storage.flows import Flow
from service.storage.users import User

LONGEST_NAME = 30
LONGEST_DESCRIPTION = 4000
MOST_TOOLS = 1000
#: Leaves room for what is put in front of a stranger's.
LONGEST_SESSION, LONGEST_INPUT = 200, 1_000_000

_LINES = re.compile(r"\n+")


class ArgumentInvalid(Invalid):
    """An argument of a call has the wrong form; unlike other such errors it speaks of nothing that is the owner's."""


@dataclass(frozen=True, slots=True)
class Audience:
    """For whom tools are listed and run.

    Args:
        user_id: whose tools; None: nobody in particular, who gets what is public.
        only: the flows that the caller's key is limited to.
        project_id: of this project only.
    """

    user_id: uuid.UUID | None
    only: frozenset[uuid.UUID] | None = None
    project_id: uuid.UUID | None = None

    @property
    def is_public(self) -> bool:
        """True for nobody in particular."""
        return self.user_id is None


@dataclass(frozen=True, slots=True)
class Named:
    """A flow under the name of its tool."""

    name: str
    flow_id: uuid.UUID
    owner_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as it is listed."""

    name: str
    description: str
    schema: Mapping[str, Any]


def audience(session: Callable[[], Session], identity: Identity | None, project: str | None) -> Audience:
    """Return for whom a request is answered.

    Args:
        session: opened only where a project is named.
        identity: the caller; None: nobody in particular.
        project: the project's id, as the path has it.

    Raises:
        NotFound: no such project, or somebody else's, or one in which nothing is public.
    """
    user_id = identity.user_id if identity is not None else None
    only = identity.rights.flows if identity is not None and identity.rights is not None else None
    if project is None:
        return Audience(user_id, only)
    try:
        made = Audience(user_id, only, uuid.UUID(project))
    except ValueError:
        raise NotFound(projects.MISSING) from None
    if user_id is not None:
        projects.checked(session(), user_id, made.project_id)
    elif session().scalar(_exposed(made, Flow.id).limit(1)) is None:
        raise NotFound(projects.MISSING)
    return made


def tools_of(session: Session, whom: Audience) -> list[Named]:
    """Return the tools that somebody may use, the oldest flow first.

    A taken name gets a number, so a newer flow never takes over the name of an older one.
    """
    query = _exposed(whom, Flow.id, Flow.user_id, Flow.name, Flow.action_name)
    found: list[Named] = []
    taken: set[str] = set()
    for row in session.execute(query.order_by(Flow.created_at, Flow.id).limit(MOST_TOOLS)):
        name = _free(tool_name(row.action_name or row.name), taken)
        taken.add(name)
        found.append(Named(name, row.id, row.user_id))
    return found


def described(session: Session, shapes: Shapes, named: Sequence[Named]) -> list[Tool]:
    """Return tools with their descriptions and arguments, in the order given."""
    columns = (Flow.id, Flow.description, Flow.action_description, Flow.version_token)
    rows = {
        row.id: row for row in session.execute(select(*columns).where(Flow.id.in_([one.flow_id for one in named])))
    }
    made = shapes.of(session, {row.id: row.version_token for row in rows.values()})
    return [
        Tool(one.name, description_of(rows[one.flow_id], one.name)[:LONGEST_DESCRIPTION], made[one.flow_id].schema)
        for one in named
        if one.flow_id in rows
    ]


@contextmanager
def guarded_opening(session: Session, by: Actor, flow_ids: Iterable[uuid.UUID]) -> Iterator[None]:
    """Let the block change flows, and hold a limited key to what it may do: giving a flow to everybody is more.

    Runs without a key are bound by no scope, network, limit or end. What they could reach is asked of the database
    once the change is written, so that two changes at once, of which neither opens a flow alone, do not either.

    Raises:
        Forbidden: nobody in particular could run one of the flows after the block and not before it.
    """
    if not by.is_limited:
        yield
        return
    opened = _exposed(Audience(None), Flow.id).where(Flow.id.in_(list(flow_ids)))
    before = set(session.scalars(opened))
    yield
    session.flush()
    if not before.issuperset(session.scalars(opened)):
        raise Forbidden(
            "An API key that is limited or expires cannot open a flow to callers without a key (PUBLIC, mcp_enabled)",
            code="more_than_itself",
        )


def shape(session: Session, shapes: Shapes, flow_id: uuid.UUID) -> Shape:
    """Return what one tool takes."""
    version = session.scalar(select(Flow.version_token).where(Flow.id == flow_id))
    return shapes.of(session, {flow_id: version})[flow_id]


def request_of(shape: Shape, arguments: Mapping[str, Any], whom: Audience, *, stream: bool) -> RunRequest:
    """Make a run of a call's arguments.

    Arguments that the tool lists become values of the components that have them; null is as good as absent. Others
    become tweaks as they come, but not for nobody in particular: what its owner did not offer is not theirs to set.

    Raises:
        ArgumentInvalid: an argument has the wrong type, or is too long.
    """
    given = dict(arguments)
    text = _text(given, "input_value", LONGEST_INPUT)
    session_id = _text(given, "session_id", LONGEST_SESSION) or str(uuid.uuid4())
    if whom.is_public:
        # Apart from the conversations of the owner, and of those who have keys.
        session_id = f"public-{session_id}"
    offered = {name for names in shape.fields.values() for name in names}
    tweaks: dict[str, Any] = {
        node: {name: _tweak(name, given[name], one) for name, one in names.items() if given.get(name) is not None}
        for node, names in shape.fields.items()
    }
    if not whom.is_public:
        tweaks |= {name: value for name, value in given.items() if name not in offered}
    return RunRequest(input_value=text or "", input_type=shape.input_type, session_id=session_id, stream=stream,
                      tweaks={name: value for name, value in tweaks.items() if value != {}})  # fmt: skip


def texts_of(outputs: Sequence[Mapping[str, Any]], write: Callable[[object], str]) -> list[str]:
    """Return what a run says, each text once.

    Messages have double line feeds for display, so that a result's own text comes first and stands for both.

    Args:
        outputs: of the run's last event.
        write: makes text of a result that is none.
    """
    found: dict[str, str] = {}
    for component in (component for output in outputs for component in output["outputs"]):
        for value in (component.get("results") or {}).values():
            inner = value.get("text") if isinstance(value, Mapping) else value
            text = inner if isinstance(inner, str) else write(value)
            found.setdefault(_LINES.sub("\n", text), text)
        for message in component.get("messages") or ():
            text = str(message["message"])
            found.setdefault(_LINES.sub("\n", text), text)
    return list(found.values())


def tool_name(text: str) -> str:
    """Return a name that every model provider takes: lower-case letters, digits and underscores.

    Source: Langflow's names of tools; those of other scripts, which the providers refuse, are left out.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    joined = re.sub(r"[-\s_]+", "_", re.sub(r"[^\w\s-]", "", plain)).strip("_").lower()
    if joined[:1].isdigit():
        joined = f"_{joined}"
    return joined[:LONGEST_NAME] or "unnamed"


def description_of(row: Any, name: str) -> str:
    """Return what a tool says of itself; ``row`` has the columns of a flow."""
    return str(row.action_description or row.description or f"Tool generated from flow: {name}")


def _exposed(whom: Audience, *columns: Any) -> Select[Any]:
    """The one look-up of tools: what somebody owns, or what its owner, who is still here, gives to everybody."""
    query = select(*columns).where(Flow.mcp_enabled.is_(True), Flow.is_component.is_(False))
    if whom.user_id is not None:
        query = query.where(Flow.user_id == whom.user_id)
    else:
        query = query.join(User, User.id == Flow.user_id).where(
            Flow.access_type == "PUBLIC", User.is_active.is_(True)
        )
    if whom.only is not None:
        query = query.where(Flow.id.in_(whom.only))
    return query if whom.project_id is None else query.where(Flow.folder_id == whom.project_id)


def _free(name: str, taken: set[str]) -> str:
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        end = f"_{number}"
        candidate = name[: LONGEST_NAME - len(end)] + end
    return candidate


def _tweak(name: str, value: object, argument: Argument) -> object:
    fault = fault_in(value, argument.schema)
    if fault is not None:
        raise ArgumentInvalid.field(f"{name} has to be {fault}", "arguments", name, kind="type")
    return argument.tweak(value)


def _text(given: dict[str, Any], name: str, longest: int) -> str | None:
    value = given.pop(name, None)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ArgumentInvalid.field(f"{name} has to be a string", "arguments", name, kind="string_type")
    if "\x00" in value or (not value.isascii() and _has_half_pairs(value)):
        raise ArgumentInvalid.field(f"{name} is not valid Unicode text", "arguments", name)
    ArgumentInvalid.if_longer(value, longest, "arguments", name)
    return value


def _has_half_pairs(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
