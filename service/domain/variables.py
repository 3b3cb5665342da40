"""Global variables: kept encrypted, and resolved for a run."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Engine,
    String,
    bindparam,
    case,
    cast,
    delete,
    exists,
    literal_column,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.domain import audit
from service.domain.audit import BOOT, Action, Actor, Subject
from service.domain.errors import Invalid, NotFound, Rejected, VariableMissing
from service.domain.ports import EmptyField, VariableUse, Vault
from service.storage.flows import Flow
from service.storage.statements import Lookup
from service.storage.types import Names, UuidText
from service.storage.variables import Variable

CREDENTIAL, GENERIC = "Credential", "Generic"
NAME_LENGTH, TYPE_LENGTH, VALUE_LENGTH = 255, 50, 1_000_000
FROM_ENVIRONMENT, FROM_USER = "env", "user"

#: Columns and not objects, for it is asked for all day. No secret leaves the database for it.
_OF_OWNER = Lookup(
    select(
        type_coerce(Variable.id, UuidText).label("id"), Variable.name, Variable.type,
        case((Variable.type != CREDENTIAL, Variable.ciphertext)).label("hidden"),
        type_coerce(Variable.default_fields, Names).label("default_fields"),
    )
    .where(Variable.user_id == bindparam("owner")),
    at_once=True,
)  # fmt: skip

#: It fills fields by itself. Compared as text, for PostgreSQL's ``json`` has no equality.
_LISTS_FIELDS: ColumnElement[bool] = cast(Variable.default_fields, String) != literal_column("'[]'")


@dataclass(slots=True)
class VariableView:
    """A variable as its owner sees it; the value of a Credential is never shown."""

    #: As text, which is what everybody wants it for.
    id: str
    name: str
    type: str
    value: str | None
    has_value: bool
    default_fields: list[str]


def create(session: Session, vault: Vault, by: Actor, owner_id: uuid.UUID, new: Mapping[str, Any],
           now: datetime) -> VariableView:  # fmt: skip
    """Make a variable from ``name``, ``value``, ``type`` and ``default_fields``.

    Raises:
        Rejected: an empty or taken name, an empty value.
        Invalid: something is too long.
    """
    name, value = new["name"].strip(), new["value"]
    if not name and not value:
        raise Rejected("Variable name and value cannot be empty")
    _check_name(name)
    _check_value(value)
    kind = _checked_type(new.get("type") or CREDENTIAL)
    if kind == CREDENTIAL and is_mask(value):
        raise Rejected("Variable value is a mask of a value, not the value")
    row = Variable(
        user_id=owner_id, name=name, type=kind,
        ciphertext=vault.encrypt(value), default_fields=list(new["default_fields"]), source=FROM_USER,
        created_at=now, updated_at=now,
    )  # fmt: skip
    session.add(row)
    _flush_name(session)
    audit.record(session, by, Action.VARIABLE_CREATED, now, _subject(row), _described(row))
    return _view(row, vault)


def list_of(where: Engine | Session, vault: Vault, user_id: uuid.UUID) -> list[VariableView]:
    """Return a user's variables by name; names such as ``__x__`` are the server's own and not shown."""
    found = [
        VariableView(id, name, kind, None if hidden is None else vault.decrypt(hidden), True, fields)
        for id, name, kind, hidden, fields in _OF_OWNER.all(where, {"owner": user_id})
        if not (name.startswith("__") and name.endswith("__"))
    ]
    # Here and not in the database, whose locale would decide what comes first.
    return sorted(found, key=attrgetter("name"))


def update(session: Session, vault: Vault, by: Actor, owner_id: uuid.UUID, variable_id: uuid.UUID,
           changes: Mapping[str, Any], now: datetime) -> VariableView:  # fmt: skip
    """Change what ``changes`` names, and nothing else; a changed value is the user's from then on.

    The mask that a form shows in place of a Credential, sent back, changes nothing.

    Raises:
        NotFound: none such, or somebody else's; also a Credential that would turn readable without a new value.
        Rejected: an empty or taken name, an empty value.
    """
    row = session.scalar(select(Variable).where(Variable.id == variable_id, Variable.user_id == owner_id))
    if row is None:
        raise NotFound("Variable not found")
    before = _described(row)
    if row.type == CREDENTIAL and is_mask(changes.get("value", "")):
        changes = {name: value for name, value in changes.items() if name != "value"}
    if row.type == CREDENTIAL and changes.get("type", CREDENTIAL) != CREDENTIAL and "value" not in changes:
        # A stored secret must not become readable by renaming its type.
        raise NotFound("Variable not found")
    if "name" in changes:
        row.name = changes["name"].strip()
        _check_name(row.name)
    if "type" in changes:
        row.type = _checked_type(changes["type"])
    if "default_fields" in changes:
        row.default_fields = list(changes["default_fields"])
    if "value" in changes:
        _check_value(changes["value"])
        row.ciphertext, row.source = vault.encrypt(changes["value"]), FROM_USER
    row.updated_at = now
    _flush_name(session)
    details = audit.changed(before, _described(row)) | ({"value": "changed"} if "value" in changes else {})
    audit.record(session, by, Action.VARIABLE_CHANGED, now, _subject(row), details)
    return _view(row, vault)


def remove(session: Session, by: Actor, owner_id: uuid.UUID, variable_id: uuid.UUID, now: datetime) -> None:
    """Delete a variable of the owner.

    Raises:
        NotFound: none such, or somebody else's.
    """
    mine = (Variable.id == variable_id, Variable.user_id == owner_id)
    gone = session.execute(delete(Variable).where(*mine).returning(Variable.name, Variable.type)).first()
    if gone is None:
        raise NotFound("Variable not found")
    subject = Subject("variable", variable_id, gone.name)
    audit.record(session, by, Action.VARIABLE_DELETED, now, subject, {"owner": str(owner_id), "type": gone.type})


def follow_environment(session: Session, vault: Vault, user_id: uuid.UUID,
                       environment: Mapping[str, str], now: datetime) -> None:  # fmt: skip
    """Make the environment's values Credential variables of a user.

    A changed value is followed; one that the user has set themselves stays.
    """
    known = {row.name: row for row in session.scalars(select(Variable).where(Variable.user_id == user_id))}
    for name, value in environment.items():
        row = known.get(name)
        if row is None:
            row = Variable(
                id=uuid.uuid4(), user_id=user_id, name=name, type=CREDENTIAL, ciphertext=vault.encrypt(value),
                default_fields=[], source=FROM_ENVIRONMENT, created_at=now, updated_at=now,
            )  # fmt: skip
            session.add(row)
            audit.record(session, BOOT, Action.VARIABLE_CREATED, now, _subject(row), _described(row))
        elif row.source == FROM_ENVIRONMENT and vault.decrypt(row.ciphertext) != value:
            row.ciphertext, row.updated_at = vault.encrypt(value), now
            audit.record(session, BOOT, Action.VARIABLE_CHANGED, now, _subject(row), {"value": "changed"})
    session.flush()


def has_fillers(owner_id: BindParameter[uuid.UUID]) -> ColumnElement[bool]:
    """For a query: whether any variable of the owner lists fields that it fills."""
    return exists().where(Variable.user_id == owner_id, _LISTS_FIELDS)


def stored_for(session: Session, owner_id: uuid.UUID, uses: Sequence[VariableUse], *,
               with_fillers: bool) -> dict[str, Variable]:  # fmt: skip
    """Read the owner's variables that a run asks for, by name; ``with_fillers`` those that fill fields, too.

    The owner's filter is applied at run time, so that a stored reference to somebody else's variable finds nothing
    (n8n's CVE-2026-42226).
    """
    wanted: ColumnElement[bool] = Variable.name.in_({use.name for use in uses})
    rows = session.scalars(
        select(Variable).where(Variable.user_id == owner_id, or_(wanted, _LISTS_FIELDS) if with_fillers else wanted)
    )
    return {row.name: row for row in rows}


def fill(stored: Mapping[str, Variable], empty: Sequence[EmptyField]) -> dict[tuple[str, str], str]:
    """Choose variables for empty fields: by (node id, field), the name of the one that lists the field's label.

    Of several it is the last by name, as in Langflow 1.13. A Credential does not count where it would be shown.
    """
    fillers = _Fillers.of((row.name, row.type, row.default_fields) for row in stored.values())
    chosen = {(one.node_id, one.field): fillers.of_field(one.label, secret=one.secret) for one in empty}
    return {place: name for place, name in chosen.items() if name is not None}


@dataclass(frozen=True, slots=True)
class _Fillers:
    """The names of variables by the labels of the fields that they fill: of all, and of those that may be shown."""

    all: Mapping[str, str]
    shown: Mapping[str, str]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, Sequence[str]]]) -> _Fillers:
        """From name, type and ``default_fields`` of each variable."""
        by_name = sorted(rows, key=itemgetter(0))
        return cls(
            {label: name for name, _, labels in by_name for label in labels},
            {label: name for name, kind, labels in by_name if kind != CREDENTIAL for label in labels},
        )

    def of_field(self, label: str, *, secret: bool) -> str | None:
        return (self.all if secret else self.shown).get(label)

    def of_export(self, field: Mapping[str, Any]) -> str | None:
        """For an empty field as a flow's JSON has it."""
        label = field.get("display_name")
        if field.get("type") != "str" or field.get("show") is False or not isinstance(label, str):
            return None
        secret = field.get("password") is True or "Secret" in str(field.get("_input_type"))
        return self.of_field(label, secret=secret)


def resolve(stored: Mapping[str, Variable], vault: Vault, uses: Sequence[VariableUse],
            from_request: Mapping[str, str], fallback: Mapping[str, str]) -> dict[str, str]:  # fmt: skip
    """Find the values for the variables that a run reads, each name by itself.

    The order is the documents': the request's ``X-LANGFLOW-GLOBAL-VAR-*`` header, the flow owner's
    variable (``stored_for``), the environment where the operator allows it. The header does not count for a name
    that any field reads which no caller may set.

    Raises:
        VariableMissing: a required name has no value anywhere.
        Invalid: a Credential is wanted by a field that is not secret, and would be shown.
    """
    values: dict[str, str] = {}
    fixed = _fixed(uses)
    for use in uses:
        row = stored.get(use.name)
        sent = from_request.get(header_name(use.name)) if from_request and use.name not in fixed else None
        if sent is not None:
            values[use.name] = sent
        elif row is not None or use.name in fallback:
            if _would_show(use, row):
                raise Invalid.field(
                    f"Value error, {use.component}: the field {use.field} would show the Credential {use.name}; "
                    "use a Generic variable there",
                    "flow", use.node_id, use.field,
                )  # fmt: skip
            values.setdefault(use.name, fallback[use.name] if row is None else vault.decrypt(row.ciphertext))
        elif use.required:
            raise VariableMissing(use.name, use.component)
    return values


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the value of one field would come from; ``source`` is None where there is none.

    ``source`` is "user" (somebody set it), "env" (follows the server's environment at each start) or "environment"
    (read from it at each run). A request may bring its own in ``header``, which is None where no caller may set the
    field. ``problem`` says what a run would stumble over.
    """

    node_id: str
    component: str
    field: str
    variable: str
    type: str | None
    source: str | None
    header: str | None
    required: bool
    problem: str | None


def explain(stored: Mapping[str, Variable], uses: Sequence[VariableUse], empty: Sequence[EmptyField],
            fallback: Mapping[str, str]) -> list[Explanation]:  # fmt: skip
    """Say where ``resolve`` would find each value, without opening any, and what keeps a field of ``empty`` so."""
    fillers = _Fillers.of((row.name, row.type, row.default_fields) for row in stored.values())
    kept_out = ((one, fillers.of_field(one.label, secret=True)) for one in empty if not one.secret)
    refused = [
        VariableUse(one.node_id, one.component, one.field, name, secret=False, required=False)
        for one, name in kept_out if name is not None
    ]  # fmt: skip
    fixed = _fixed(uses)
    return [_explained(use, stored.get(use.name), fallback, use.name in fixed) for use in (*uses, *refused)]


def _fixed(uses: Iterable[VariableUse]) -> set[str]:
    """The names that a request gives no value to, also where another field reads them."""
    return {use.name for use in uses if use.owner_only}


def _would_show(use: VariableUse, row: Variable | None) -> bool:
    """Whether the field would show a Credential; what the operator's environment holds (no row) counts as one."""
    return not use.secret and (row is None or row.type == CREDENTIAL)


def _explained(use: VariableUse, row: Variable | None, fallback: Mapping[str, str], is_fixed: bool) -> Explanation:
    source = row.source if row is not None else "environment" if use.name in fallback else None
    problem = None
    if source is None and use.required:
        problem = "not set"
    elif source is not None and _would_show(use, row):
        problem = "the field would show a Credential; use a Generic variable there"
    header = None if is_fixed else "X-LANGFLOW-GLOBAL-VAR-" + header_name(use.name)
    kind = row.type if row is not None else None
    return Explanation(use.node_id, use.component, use.field, use.name, kind, source, header, use.required, problem)


def sources_of(session: Session, owner_id: uuid.UUID, environment: Mapping[str, str]) -> dict[str, str]:
    """Say of each of a user's variables where its value comes from.

    Returns:
        By name: "env" (follows the server's environment), "override" (set by the user, although the environment has
        one too), or "user".
    """
    rows = session.execute(select(Variable.name, Variable.source).where(Variable.user_id == owner_id))
    return {
        row.name: row.source if row.source == FROM_ENVIRONMENT or row.name not in environment else "override"
        for row in rows
    }


def users_of(session: Session, owner_id: uuid.UUID, *, with_fillers: bool) -> dict[str, list[str]]:
    """Return the names of the flows that use each variable, by the variable's name.

    ``with_fillers``: those whose empty fields it fills use it, too.
    """
    listed = select(Variable.name, Variable.type, Variable.default_fields).where(
        Variable.user_id == owner_id, _LISTS_FIELDS
    )
    fillers = _Fillers.of(session.execute(listed) if with_fillers else ())
    rows = session.execute(select(Flow.name, Flow.data).where(Flow.user_id == owner_id).order_by(Flow.name))
    used: dict[str, list[str]] = {}
    for row in rows:
        for name in sorted(_asked_for(row.data, fillers)):
            used.setdefault(name, []).append(row.name)
    return used


def _asked_for(data: Any, fillers: _Fillers) -> set[str]:
    """The variables of all fields of a flow, those of groups included, whether an edge leads to them or not."""
    found: set[str] = set()
    rest = [data]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            value = part.get("value")
            if part.get("load_from_db") is True and isinstance(value, str) and value:
                found.add(value)
            elif value in (None, "") and (filler := fillers.of_export(part)):
                found.add(filler)
            rest.extend(part.values())
        elif isinstance(part, list):
            rest.extend(part)
    return found


def is_mask(value: str) -> bool:
    """Say whether a text is what forms show in place of a value: nothing but stars or dots."""
    return bool(value) and not set(value) - set("*•●")


def header_name(name: str) -> str:
    """Return a variable's name as a header can carry it: in upper case, without dashes."""
    return name.upper().replace("-", "_")


def _subject(row: Variable) -> Subject:
    return Subject("variable", row.id, row.name)


def _described(row: Variable) -> dict[str, Any]:
    """What the audit trail says of a variable; never its value."""
    return {"owner": str(row.user_id), "name": row.name, "type": row.type, "source": row.source,
            "default_fields": list(row.default_fields)}  # fmt: skip


def _view(row: Variable, vault: Vault) -> VariableView:
    value = None if row.type == CREDENTIAL else vault.decrypt(row.ciphertext)
    return VariableView(str(row.id), row.name, row.type, value, True, list(row.default_fields))


def _check_name(name: str) -> None:
    if not name:
        raise Rejected("Variable name cannot be empty")
    Invalid.if_longer(name, NAME_LENGTH, "body", "name")


def _check_value(value: str) -> None:
    if not value:
        raise Rejected("Variable value cannot be empty")
    Invalid.if_longer(value, VALUE_LENGTH, "body", "value")


def _checked_type(name: str) -> str:
    Invalid.if_longer(name, TYPE_LENGTH, "body", "type")
    return name


def _flush_name(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        if "uq_variable_user_id_name" in str(error.orig) or "variable.user_id, variable.name" in str(error.orig):
            raise Rejected("Variable name already exists") from None
        raise
