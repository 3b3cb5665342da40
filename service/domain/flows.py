"""Flows: stored as they were exported, found by their owner only."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, undefer

from service.domain import mcp, projects
from service.domain.audit import Actor
from service.domain.depth import is_deeper
from service.domain.errors import Conflict, DomainError, Invalid, Locked, NotFound, PreconditionFailed, Rejected
from service.domain.names import numbered, sounds_secret
from service.storage.base import is_storable
from service.storage.flows import Flow
from service.storage.users import User

PRIVATE, PUBLIC = "PRIVATE", "PUBLIC"
#: Langflow's; whatever is stored here is of the first.
FLOW_TYPES = ("workflow", "agent")
MOST_AT_ONCE = 500
#: Exports have some twenty levels. Far more of them could be stored and then not be written out again.
MOST_LEVELS = 200

#: What a caller may set; ids, owners and times are the server's.
EDITABLE = (
    "name", "description", "data", "endpoint_name", "icon", "icon_bg_color", "gradient", "tags", "is_component",
    "webhook", "locked", "mcp_enabled", "action_name", "action_description", "access_type",
)  # fmt: skip
_ENDPOINT_NAME = re.compile(r"[A-Za-z0-9_-]+")
#: Of a description.
MOST_CHARACTERS = 100_000
_SHAPES = {str: "string", bool: "boolean", dict: "dictionary", list: "list"}


def fields_of(exported: Mapping[str, Any]) -> dict[str, Any]:
    """What of an exported flow is stored; null is how exports write that nothing was chosen."""
    return {name: exported[name] for name in EDITABLE if exported.get(name) is not None}


def check_exported(documents: Any, file: str) -> None:
    """Refuse a file that a person took for an export.

    Args:
        documents: what the file holds, as read from JSON; each has to be a flow.
        file: what the person calls it.

    Raises:
        Rejected: one of them is no flow.
    """
    if not isinstance(documents, list) or not all(isinstance(one, dict) and one.get("name") for one in documents):
        raise Rejected(f"{file} is not an exported flow: it has no name and data")


def create(session: Session, by: Actor, user_id: uuid.UUID, new: Mapping[str, Any], now: datetime,
           flow_id: uuid.UUID | None = None) -> Flow:  # fmt: skip
    """Store a flow; a taken name or endpoint name gets a number, as in Langflow.

    Raises:
        Invalid: a field has the wrong shape.
        NotFound: ``folder_id`` is none of the user's projects.
        Forbidden: a limited key makes a flow that callers without a key can run.
    """
    fields = {name: new[name] for name in EDITABLE if name in new}
    check(fields)
    fields["name"] = _free_name(session, user_id, fields["name"])
    if fields.get("endpoint_name"):
        fields["endpoint_name"] = _free_endpoint(session, user_id, fields["endpoint_name"])
    flow = Flow(
        id=flow_id or uuid.uuid4(),
        user_id=user_id,
        folder_id=projects.checked(session, user_id, new.get("folder_id")),
        created_at=now,
        updated_at=now,
        **(fields | {"endpoint_name": fields.get("endpoint_name") or None}),
    )
    flow.data = fields.get("data")
    flow.version_token = uuid.uuid4() if _has_nodes(flow.data) else None
    with mcp.guarded_opening(session, by, [flow.id]):
        session.add(flow)
        _flush(session)
    return flow


def get(session: Session, user_id: uuid.UUID, flow_id: uuid.UUID) -> Flow:
    """Return one of the user's flows.

    Raises:
        NotFound: none such, or somebody else's.
    """
    flow: Flow | None = session.scalar(_mine(user_id).where(Flow.id == flow_id).options(undefer(Flow.data)))
    if flow is None:
        raise NotFound("Flow not found")
    return flow


def list_of(session: Session, user_id: uuid.UUID, *, folder_id: uuid.UUID | None = None,
            components_only: bool = False, with_data: bool = True, flow_type: str | None = None,
            only: frozenset[uuid.UUID] | None = None) -> list[Flow]:  # fmt: skip
    """Return the user's flows, oldest first.

    Args:
        session: where to look.
        user_id: whose.
        folder_id: of the project that they lie in; None: of any.
        components_only: without those that are no components.
        with_data: with their graphs; else only components have theirs.
        flow_type: of that type; None: of any.
        only: those that the caller's key is limited to.
    """
    query = _filtered(user_id, folder_id, only, components_only=components_only, flow_type=flow_type)
    ordered = query.order_by(Flow.created_at, Flow.id)
    if with_data:
        return list(session.scalars(ordered.options(undefer(Flow.data))))
    found = list(session.scalars(ordered))
    if any(flow.is_component for flow in found):
        # The rows are the same objects, whose graphs are loaded by this.
        session.scalars(query.where(Flow.is_component.is_(True)).options(undefer(Flow.data))).all()
    return found


def page_of(session: Session, user_id: uuid.UUID, page: int, size: int, *, folder_id: uuid.UUID | None = None,
            components_only: bool = False, flows_only: bool = False, search: str = "", flow_type: str | None = None,
            only: frozenset[uuid.UUID] | None = None) -> tuple[int, list[Flow]]:  # fmt: skip
    """Return how many flows match and one page of them, counted from 1; filters as for ``list_of``."""
    query = _filtered(user_id, folder_id, only, components_only=components_only, flow_type=flow_type)
    if flows_only:
        query = query.where(Flow.is_component.is_(False))
    if search:
        query = query.where(Flow.name.icontains(search, autoescape=True))
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    ordered = query.options(undefer(Flow.data)).order_by(Flow.created_at, Flow.id)
    return total, list(session.scalars(ordered.offset((page - 1) * size).limit(size)))


def update(session: Session, by: Actor, user_id: uuid.UUID, flow_id: uuid.UUID, changes: Mapping[str, Any],
           now: datetime, if_match: str | None = None) -> Flow:  # fmt: skip
    """Change what ``changes`` names, and nothing else.

    Raises:
        NotFound, Locked, PreconditionFailed, Conflict, Invalid: as the contract's section 1.7 lists them.
        Forbidden: a limited key makes a flow one that callers without a key can run.
    """
    flow = get(session, user_id, flow_id)
    if if_match is not None and if_match.strip('"') not in ("*", str(flow.version_token)):
        raise PreconditionFailed("The flow was changed meanwhile. Load it again before making changes.")
    if flow.locked and changes.get("locked") is not False:
        raise Locked("Flow is locked. Unlock it before making changes.")
    fields = {name: changes[name] for name in EDITABLE if name in changes}
    check(fields)
    if fields.get("endpoint_name") == "":
        fields["endpoint_name"] = None
    if changes.get("folder_id") is not None:
        flow.folder_id = projects.checked(session, user_id, changes["folder_id"])
    with mcp.guarded_opening(session, by, [flow.id]):
        for name, value in fields.items():
            setattr(flow, name, value)
        if "data" in fields:
            flow.version_token = uuid.uuid4() if _has_nodes(fields["data"]) else None
        flow.updated_at = now
        _flush(session)
    return flow


def put(session: Session, by: Actor, user_id: uuid.UUID, flow_id: uuid.UUID, body: Mapping[str, Any],
        now: datetime) -> tuple[Flow, bool]:  # fmt: skip
    """Make the flow of that id be what the body says; returns it, and whether it is new.

    Raises:
        Conflict: the endpoint name is another flow's.
        NotFound: the id is somebody else's flow.
        Forbidden: a limited key makes a flow that callers without a key can run.
    """
    owner = session.scalar(select(Flow.user_id).where(Flow.id == flow_id))
    if owner is not None:
        return update(session, by, user_id, flow_id, body, now), False
    if body.get("endpoint_name") and _taken(session, user_id, Flow.endpoint_name == body["endpoint_name"]):
        raise Conflict("Endpoint name must be unique")
    return create(session, by, user_id, body, now, flow_id), True


def create_many(session: Session, by: Actor, user_id: uuid.UUID, bodies: Sequence[Mapping[str, Any]],
                now: datetime, folder_id: uuid.UUID | None = None) -> list[Flow]:  # fmt: skip
    """Store several flows, all or none."""
    if len(bodies) > MOST_AT_ONCE:
        raise Invalid.field(f"List should have at most {MOST_AT_ONCE} items", "body", "flows", kind="too_long")
    placed = [dict(body) | ({"folder_id": folder_id} if folder_id else {}) for body in bodies]
    return [create(session, by, user_id, body, now) for body in placed]


def remove(session: Session, user_id: uuid.UUID, flow_ids: Iterable[uuid.UUID]) -> int:
    """Delete flows of the user and return how many there were; others' are passed over like missing ones."""
    gone = session.scalars(
        delete(Flow).where(Flow.id.in_(list(flow_ids)), Flow.user_id == user_id).returning(Flow.id)
    )
    return len(gone.all())


def public(session: Session, flow_id: uuid.UUID) -> Flow:
    """Return a flow that its owner has made public, whoever asks.

    Raises:
        NotFound: none such, a private one, or its owner is not active any more.
    """
    query = select(Flow).join(User, User.id == Flow.user_id).options(undefer(Flow.data))
    flow = session.scalar(query.where(Flow.id == flow_id, Flow.access_type == PUBLIC, User.is_active.is_(True)))
    if flow is None:
        raise NotFound("Flow not found")
    return flow


def without_secrets(data: Any) -> Any:
    """Return a graph without the secrets that its author typed into it; names of variables stay.

    A field counts as secret when its form hides it, or when its name says so: headers are typed into a table that
    hides nothing.
    """
    if isinstance(data, list):
        return [without_secrets(item) for item in data]
    if not isinstance(data, dict):
        return data
    shown = {name: without_secrets(item) for name, item in data.items()}
    for name, item in shown.items():
        if isinstance(item, dict) and "value" in item and _holds_secret(name, item):
            shown[name] = item | {"value": ""}
    return shown


def _holds_secret(name: str, field: Mapping[str, Any]) -> bool:
    is_closed = field.get("password") is True or sounds_secret(name)
    return is_closed and field.get("load_from_db") is not True


def several(session: Session, user_id: uuid.UUID, flow_ids: Sequence[uuid.UUID]) -> list[Flow]:
    """Return those of the flows that are the user's, in the order asked for.

    Raises:
        NotFound: not one of them is.
    """
    query = _mine(user_id).where(Flow.id.in_(flow_ids)).options(undefer(Flow.data))
    found = {flow.id: flow for flow in session.scalars(query)}
    if not found:
        raise NotFound("No flows found.")
    return [found[one] for one in dict.fromkeys(flow_ids) if one in found]


def check(fields: Mapping[str, Any]) -> None:
    """Check each field: a schema has seen what came over HTTP, and nobody what stands in a file.

    Raises:
        Invalid: names the field, in Langflow's words.
    """
    for field, value in fields.items():
        if value is not None:
            _check_shape(field, value)
    name = fields.get("name")
    if name is not None and not name.strip():
        raise Invalid.field("String should have at least 1 character", "body", "name", kind="string_too_short")
    endpoint = fields.get("endpoint_name")
    if endpoint and not _ENDPOINT_NAME.fullmatch(endpoint):
        text = "Value error, Endpoint name must contain only letters, numbers, hyphens, and underscores"
        raise Invalid.field(text, "body", "endpoint_name")
    data = fields.get("data")
    if data is not None:
        for part in ("nodes", "edges"):
            if part not in data:
                raise Invalid.field(f"Value error, Flow must have {part}", "body", "data")
            if not isinstance(data[part], list):
                raise Invalid.field(f"Value error, the flow's {part} must be a list", "body", "data")
        if is_deeper(data, MOST_LEVELS):
            raise Invalid.field(f"Value error, the flow has more than {MOST_LEVELS} levels", "body", "data")
    access = fields.get("access_type")
    if access is not None and access not in {PRIVATE, PUBLIC}:
        raise Invalid.field("Input should be 'PRIVATE' or 'PUBLIC'", "body", "access_type", kind="enum")


def _check_shape(field: str, value: object) -> None:
    kind = Flow.__table__.c[field].type
    shape = {"data": dict, "tags": list}.get(field, kind.python_type)
    if not isinstance(value, shape):
        name = _SHAPES[shape]
        raise Invalid.field(f"Input should be a valid {name}", "body", field, kind=f"{name}_type")
    for text in value if isinstance(value, list) else [value] if isinstance(value, str) else []:
        if not isinstance(text, str) or not is_storable(text):
            raise Invalid.field("Input should be a valid string", "body", field, kind="string_type")
        Invalid.if_longer(text, getattr(kind, "length", None) or MOST_CHARACTERS, "body", field)


def _mine(user_id: uuid.UUID) -> Select[Any]:
    """The one look-up of a flow: every query on flows starts with the owner."""
    return select(Flow).where(Flow.user_id == user_id)


def _filtered(user_id: uuid.UUID, folder_id: uuid.UUID | None, only: frozenset[uuid.UUID] | None, *,
              components_only: bool, flow_type: str | None) -> Select[Any]:  # fmt: skip
    query = _mine(user_id)
    if only is not None:
        query = query.where(Flow.id.in_(only))
    if folder_id is not None:
        query = query.where(Flow.folder_id == folder_id)
    if components_only:
        query = query.where(Flow.is_component.is_(True))
    if flow_type is not None:
        query = query.where(Flow.flow_type == flow_type)
    return query


def _has_nodes(data: Mapping[str, Any] | None) -> bool:
    return bool(data and data.get("nodes"))


def _taken(session: Session, user_id: uuid.UUID, match: Any) -> bool:
    return session.scalar(select(Flow.id).where(Flow.user_id == user_id, match)) is not None


def _free_name(session: Session, user_id: uuid.UUID, wanted: str) -> str:
    taken = set(
        session.scalars(
            select(Flow.name).where(Flow.user_id == user_id, Flow.name.startswith(wanted, autoescape=True))
        )
    )
    return numbered(wanted, taken, "{} ({})")


def _free_endpoint(session: Session, user_id: uuid.UUID, wanted: str) -> str:
    like = Flow.endpoint_name.startswith(wanted, autoescape=True)
    taken = set(session.scalars(select(Flow.endpoint_name).where(Flow.user_id == user_id, like)))
    return numbered(wanted, {name for name in taken if name}, "{}-{}")


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise _conflict(error) from None


def _conflict(error: IntegrityError) -> DomainError | IntegrityError:
    text = str(error.orig)
    if "uq_flow_user_id_endpoint_name" in text or "flow.endpoint_name" in text:
        return Conflict("Endpoint name must be unique")
    if "uq_flow_user_id_name" in text or "flow.name" in text:
        return Conflict("Name must be unique")
    return error
