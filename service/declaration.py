"""What a deployment declares in a file: users, keys, variables and flows that are there after every start.

Applied under the boot lock and idempotently, so that any number of pods start alike and nobody has to sign in.
Secrets are never in the file: ``env:NAME`` and ``file:/path`` say where they are, and a key may be given by its
digest.
"""

from __future__ import annotations

import json
import logging
import re
import tomllib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from service.domain import flows, key_text, keys, users, variables
from service.domain.audit import BOOT, Actor
from service.domain.errors import Conflict, DomainError, Invalid, Locked
from service.domain.keys import KeyRules, NewKey, StoredKey
from service.domain.permissions import Rate, rights_from
from service.domain.ports import PasswordHasher, Vault
from service.domain.usernames import by_name
from service.instants import in_utc
from service.storage.flows import Flow
from service.storage.users import User
from service.storage.variables import Variable

log = logging.getLogger(__name__)

T = TypeVar("T")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_RATE = re.compile(r"([0-9]{1,10})/([0-9]{1,8})")
#: Whoever writes the file rules the server.
_BY = Actor(None, None, "boot", is_superuser=True)


class DeclarationError(Exception):
    """The file cannot be used; one line that says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Table:
    """One entry of the file, whose fields are taken one by one; what is left over is a mistake."""

    where: str
    fields: dict[str, Any]
    look_up: Callable[[str], str]

    def take(self, name: str, kind: type[T], default: T | None = None, *, required: bool = False) -> T | None:
        """Take a field of a type."""
        if name not in self.fields:
            if required:
                raise DeclarationError(f"{self.where} needs {name}")
            return default
        value = self.fields.pop(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise DeclarationError(f"{self.where}: {name} must be a {kind.__name__}")
        return value

    def text(self, name: str) -> str:
        """Take a text that must be there."""
        return str(self.take(name, str, required=True))

    def texts(self, name: str) -> list[str] | None:
        """Take a list of texts."""
        found = self.take(name, list)
        if found is not None and not all(isinstance(one, str) for one in found):
            raise DeclarationError(f"{self.where}: {name} must be a list of strings")
        return found

    def secret(self, name: str, *, required: bool = False) -> str | None:
        """Take a reference to a secret and return the secret."""
        reference = self.take(name, str, required=required)
        if reference is None:
            return None
        try:
            return self.look_up(reference)
        except DeclarationError as error:
            raise DeclarationError(f"{self.where}: {name} {error}") from None

    def end(self) -> None:
        """Refuse what nobody has taken."""
        for name in self.fields:
            raise DeclarationError(f"{self.where} has no field {name}")


@dataclass(frozen=True, slots=True)
class Declaration:
    """A file that has been read, with its folder."""

    folder: Path
    tables: Mapping[str, list[Table]]


def read(path: Path, environment: Mapping[str, str]) -> Declaration:
    """Read a file.

    Args:
        path: TOML.
        environment: the values that ``env:NAME`` may name.

    Raises:
        DeclarationError: it cannot be read, or has a section that is not known.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DeclarationError(f"it cannot be read ({error.strerror}); check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeclarationError(f"it is not TOML: {error}") from None
    for name in content:
        if name not in _APPLY:
            raise DeclarationError(f"it has no section {name}; known are {', '.join(_APPLY)}")
    return Declaration(path.parent, {name: _tables(name, content.get(name, []), environment) for name in _APPLY})


def apply(session: Session, declared: Declaration, vault: Vault, hasher: PasswordHasher, rules: KeyRules,
          now: datetime) -> None:  # fmt: skip
    """Make everything that is declared be there; what is there already stays, or is brought up to date.

    Raises:
        DeclarationError: names the entry that cannot be applied.
    """
    work = _Work(session, declared.folder, vault, hasher, rules, now)
    for section, act in _APPLY.items():
        for table in declared.tables[section]:
            try:
                act(work, table)
            except DomainError as error:
                raise DeclarationError(f"{table.where}: {error}") from None
            table.end()


@dataclass(frozen=True, slots=True)
class _Work:
    session: Session
    folder: Path
    vault: Vault
    hasher: PasswordHasher
    rules: KeyRules
    now: datetime

    def user(self, table: Table) -> User:
        name = table.text("user")
        user = by_name(self.session, name)
        if user is None:
            raise DeclarationError(f"{table.where}: there is no user {name}; declare it under [[users]]")
        return user


def _user(work: _Work, table: Table) -> None:
    """Make a user, or bring the rights up to date; a password that was changed since stays."""
    name, password = table.text("username"), table.secret("password")
    rights = {field: table.take(field, bool) for field in ("is_active", "is_superuser")}
    user = by_name(work.session, name)
    if user is None:
        if password is None:
            raise DeclarationError(f'{table.where} needs password, as "env:NAME" or "file:/path"')
        active, superuser = rights["is_active"] is not False, bool(rights["is_superuser"])
        new = users.NewUser(name, password, is_active=active, is_superuser=superuser)
        users.create(work.session, BOOT, new, work.hasher, work.now)
        return
    changes = {field: value for field, value in rights.items() if value not in (None, getattr(user, field))}
    if changes:
        users.update(work.session, _BY, user.id, changes, work.hasher, work.now)


def _flows(work: _Work, table: Table) -> None:
    """Store the flows of a folder, or bring them up to date."""
    owner, folder = work.user(table), work.folder / table.text("folder")
    try:
        load_flows(work.session, owner, folder, work.now)
    except DeclarationError as error:
        raise DeclarationError(f"{table.where}: {error}") from None


def load_flows(session: Session, owner: User, folder: Path, now: datetime, *, by_name: bool = True) -> None:
    """Store the exported flows of a folder (``*.json``) as a user's, or bring those up to date that are there.

    Args:
        session: where to store them.
        owner: whose they are.
        folder: where the files lie; a file whose name is a UUID says the flow's id by it, as in Langflow.
        now: the time of the change.
        by_name: a flow of the same name and another id is the same one; else it stays as it is, as in Langflow 1.13.

    Raises:
        DeclarationError: names the file that cannot be used.
    """
    if not folder.is_dir():
        raise DeclarationError(f"there is no folder {folder}")
    for file in sorted(folder.glob("*.json")):
        try:
            body = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            raise DeclarationError(f"{file.name} is not JSON") from None
        if not isinstance(body, dict) or not isinstance(body.get("name"), str):
            raise DeclarationError(f"{file.name} is not an exported flow: it has no name")
        try:
            _flow(session, owner, body, _uuid(file.stem) or _uuid(body.get("id")), now, by_name=by_name)
        except DomainError as error:
            words = error.in_words() if isinstance(error, Invalid) else error
            raise DeclarationError(f"{file.name}: {words}") from None


def _flow(session: Session, owner: User, body: dict[str, Any], flow_id: uuid.UUID | None, now: datetime, *,
          by_name: bool) -> None:  # fmt: skip
    given = flows.fields_of(body)
    flows.check(given)
    # An export without an endpoint name is not the one flow here that has none either.
    flow = _stored(session, owner, Flow.id == flow_id, Flow.endpoint_name == (given.get("endpoint_name") or ""))
    if flow is None:
        flow = _stored(session, owner, Flow.name == given["name"])
        if flow is not None and not by_name:
            log.warning("%s has another flow with the name %r, which stays as it is.", owner.username, flow.name)
            return
    if flow is None:
        if flow_id is not None and session.get(Flow, flow_id) is not None:
            raise Conflict("another user has a flow with this id: give the file another one")
        flows.create(session, BOOT, owner.id, given, now, flow_id)
    elif any(getattr(flow, name) != value for name, value in given.items()):
        try:
            flows.update(session, BOOT, owner.id, flow.id, given, now)
        except Locked:
            return  # its owner wants it as it is


def _stored(session: Session, owner: User, *ways: ColumnElement[bool]) -> Flow | None:
    """Return the flow that the first of the ways finds."""
    for way in ways:
        flow: Flow | None = session.scalar(select(Flow).where(Flow.user_id == owner.id, way))
        if flow is not None:
            return flow
    return None


def _variable(work: _Work, table: Table) -> None:
    """Set a variable that follows its source, until somebody sets it by hand."""
    owner, name, value = work.user(table), table.text("name"), str(table.secret("value", required=True))
    kind = table.take("type", str) or variables.CREDENTIAL
    fields = table.texts("default_fields") or []
    row = work.session.scalar(select(Variable).where(Variable.user_id == owner.id, Variable.name == name))
    if row is None:
        new = {"name": name, "value": value, "type": kind, "default_fields": fields}
        view = variables.create(work.session, work.vault, BOOT, owner.id, new, work.now)
        row = work.session.get_one(Variable, uuid.UUID(view.id))
        row.source = variables.FROM_ENVIRONMENT
    elif row.source == variables.FROM_ENVIRONMENT and work.vault.decrypt(row.ciphertext) != value:
        variables.update(work.session, work.vault, BOOT, owner.id, row.id, {"value": value}, work.now)
        row.source = variables.FROM_ENVIRONMENT
    work.session.flush()


def _key(work: _Work, table: Table) -> None:
    """Make a key known that exists elsewhere."""
    owner, name = work.user(table), table.take("name", str)
    digest, key = table.take("digest", str), table.secret("key")
    if (digest is None) == (key is None):
        raise DeclarationError(f'{table.where} needs either digest ("sha256:...") or key ("env:NAME")')
    if key is not None and not key_text.is_well_formed(key):
        raise DeclarationError(f"{table.where}: what key refers to is not an API key")
    found = _DIGEST.fullmatch(digest) if digest is not None else None
    if digest is not None and found is None:
        raise DeclarationError(f"{table.where}: digest is written as sha256: and 64 hexadecimal digits")
    stored = StoredKey.of(key) if key is not None else StoredKey.of_digest(found.group(1) if found else "")
    rights = rights_from(
        table.texts("scopes"), _flow_ids(work, owner, table), table.texts("networks"), _rate(table),
        table.take("parallel", int),
    )  # fmt: skip
    new = NewKey(name, _instant(table), rights)
    keys.declare(work.session, owner.id, stored, new, work.now, work.rules)


def _rate(table: Table) -> Rate | None:
    text = table.take("rate", str)
    if text is None:
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        raise DeclarationError(f'{table.where}: rate is written as requests/seconds, as "100/60"')
    return Rate(int(found.group(1)), int(found.group(2)))


def _flow_ids(work: _Work, owner: User, table: Table) -> list[str] | None:
    """Flows may be named by id or by endpoint name."""
    named = table.texts("flows")
    if named is None:
        return None
    found = []
    for name in named:
        match = or_(Flow.id == _uuid(name), Flow.endpoint_name == name)
        flow_id = work.session.scalar(select(Flow.id).where(Flow.user_id == owner.id, match))
        if flow_id is None:
            raise DeclarationError(f"{table.where}: {owner.username} has no flow {name}")
        found.append(str(flow_id))
    return found


def _instant(table: Table) -> datetime | None:
    value = table.take("expires_at", date)
    if value is None:
        return None
    instant = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
    try:
        return in_utc(instant)
    except ValueError as error:
        raise DeclarationError(f"{table.where}: expires_at is {error}") from None


def _uuid(text: object) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(text)) if text else None
    except ValueError:
        return None


def _tables(section: str, entries: object, environment: Mapping[str, str]) -> list[Table]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DeclarationError(f"write [[{section}]] with two brackets")
    return [
        Table(f"[[{section}]] number {number}", dict(entry), lambda text: _secret(text, environment))
        for number, entry in enumerate(entries, 1)
    ]


def _secret(reference: str, environment: Mapping[str, str]) -> str:
    """Follow a reference.

    Raises:
        DeclarationError: it is none, or leads nowhere. The text never repeats what may be a secret.
    """
    kind, _, where = reference.partition(":")
    if kind == "env" and where:
        if not environment.get(where):
            raise DeclarationError(f"names env:{where}, which is not set, or is a secret of the server itself")
        return environment[where]
    if kind == "file" and where:
        try:
            return Path(where).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise DeclarationError(f"names file:{where}, which cannot be read") from None
    raise DeclarationError('is given in clear: write "env:NAME" or "file:/path" instead')


#: In this order: keys name flows, and everything names users.
_APPLY: dict[str, Callable[[_Work, Table], None]] = {
    "users": _user,
    "flows": _flows,
    "variables": _variable,
    "keys": _key,
}
