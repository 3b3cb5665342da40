"""Moving in from Langflow: its records become ours, ids kept, as often as one likes."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Protocol, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.domain import audit, key_text, projects
from service.domain.audit import Action, Actor
from service.domain.keys import NAME_LENGTH, StoredKey
from service.domain.ports import Vault
from service.domain.usernames import USERNAME_LENGTH, by_name, name_key
from service.storage.base import Base
from service.storage.flows import Flow, Project
from service.storage.keys import ApiKey
from service.storage.messages import StoredChatMessage
from service.storage.users import User
from service.storage.variables import Variable

BATCH = 500
Model = TypeVar("Model", bound=Base)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OldKey:
    """A key of Langflow; ``key`` is its text where it is known, ``digest`` its SHA-256 where that is stored."""

    id: uuid.UUID
    user_id: uuid.UUID
    key: str | None = field(repr=False)
    digest: str | None
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OldVariable:
    """A variable of Langflow; ``value`` is None when the secret does not open it."""

    id: uuid.UUID
    user_id: uuid.UUID
    name: str
    value: str | None = field(repr=False)
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Old:
    """Any other record: its columns by our names; ``owner_id`` is None for what Langflow itself made."""

    id: uuid.UUID
    owner_id: uuid.UUID | None
    columns: dict[str, Any]


class LangflowSource(Protocol):
    """A database of Langflow, read and never changed; each method yields rows in a stable order."""

    def users(self) -> Iterator[Old]: ...

    def keys(self) -> Iterator[OldKey]: ...

    def variables(self) -> Iterator[OldVariable]: ...

    def projects(self) -> Iterator[Old]: ...

    def flows(self) -> Iterator[Old]: ...

    def messages(self) -> Iterator[Old]: ...


@dataclass(slots=True)
class Tally:
    """What became of the records of one kind."""

    brought: int = 0
    already_here: int = 0
    #: Why some cannot come, in words.
    refused: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What came, what was here, and what cannot come."""

    kinds: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    #: What the operator should know: users who were joined or got another name, for example.
    notes: list[str] = field(default_factory=list)

    @property
    def refused(self) -> int:
        """How many records cannot come."""
        return sum(len(tally.refused) for tally in self.kinds.values())


class Move:
    """Brings everything, a batch at a time.

    Args:
        session: of our database; the caller commits after each step, or rolls back at the end of a dry run.
        vault: encrypts anew.
        source: Langflow's database.
        by: who moves in.
        now: when.
    """

    def __init__(self, session: Session, vault: Vault, source: LangflowSource, by: Actor, now: datetime) -> None:
        self._session, self._vault, self._source, self._by, self._now = session, vault, source, by, now
        self.report = Report()
        #: Langflow's user id -> ours.
        self._users: dict[uuid.UUID, uuid.UUID] = {}
        self._flows: dict[uuid.UUID, uuid.UUID] = {}
        self._empty = 0

    def steps(self) -> Iterator[str]:
        """Do a batch at each step and yield what kind it was of; after any of them it may be stopped for good."""
        source = self._source
        yield from self._each("users", source.users(), self._user)
        yield from self._each("projects", source.projects(), self._project)
        yield from self._each("flows", source.flows(), self._flow)
        yield from self._each("variables", source.variables(), self._variable)
        yield from self._each("keys", source.keys(), self._key)
        yield from self._each("messages", source.messages(), self._message)
        if self._empty:
            # Langflow 1.13 makes four of them for each user.
            self.report.notes.append(f"{self._empty} variables without a value stay in Langflow")
        counts = {kind: tally.brought for kind, tally in self.report.kinds.items() if tally.brought}
        if counts:
            audit.record(self._session, self._by, Action.LANGFLOW_IMPORTED, self._now, details=counts)
            self._session.flush()
            yield "audit"

    def _each(self, kind: str, records: Iterator[T], bring: Callable[[T, Tally], None]) -> Iterator[str]:
        tally = self.report.kinds[kind]
        while batch := list(islice(records, BATCH)):
            for one in batch:
                bring(one, tally)
            self._session.flush()
            self._session.expunge_all()
            yield kind

    def _user(self, old: Old, tally: Tally) -> None:
        name = old.columns["username"]
        if self._session.get(User, old.id) is not None:
            self._users[old.id] = old.id
            tally.already_here += 1
            return
        known = by_name(self._session, name)
        if known is not None and known.id not in self._users.values():
            self._users[old.id] = known.id
            tally.already_here += 1
            self.report.notes.append(
                f"the user {name} is joined with the one of that name here, whose password and rights stay"
            )
            return
        if known is not None:
            fresh = self._free_username(name)
            self.report.notes.append(f"the user {name} is called {fresh} here: {known.username} is the same name")
            name = fresh
        if not 0 < len(name) <= USERNAME_LENGTH:
            tally.refused.append(f"user {name[:40]!r}: the name is empty or too long")
            return
        columns = old.columns | {"username": name, "username_key": name_key(name)}
        self._session.add(User(id=old.id, **columns))
        self._session.flush()
        self._users[old.id] = old.id
        tally.brought += 1

    def _project(self, old: Old, tally: Tally) -> None:
        owner = self._owner(old.owner_id, tally, f"project {old.columns['name']!r}")
        if owner is None or self._is_here(Project, old.id, tally):
            return
        taken = self._session.scalars(select(Project.name).where(Project.user_id == owner))
        columns = old.columns | {"name": _free(old.columns["name"], set(taken))}
        parent = columns.pop("parent_id", None)
        if parent is not None and self._session.get(Project, parent) is None:
            parent = None
        self._session.add(Project(id=old.id, user_id=owner, parent_id=parent, created_at=self._now, **columns))
        self._session.flush()
        tally.brought += 1

    def _flow(self, old: Old, tally: Tally) -> None:
        if old.owner_id is None:
            return  # Langflow's own examples
        owner = self._owner(old.owner_id, tally, f"flow {old.columns['name']!r}")
        if owner is None:
            return
        if not isinstance(old.columns["data"], dict | None):
            tally.refused.append(f"flow {old.columns['name']!r}: its graph is no object")
            return
        self._flows[old.id] = owner
        if self._is_here(Flow, old.id, tally):
            return
        columns = dict(old.columns)
        mine = select(Flow.name, Flow.endpoint_name).where(Flow.user_id == owner)
        taken = self._session.execute(mine).all()
        columns["name"] = _free(columns["name"], {row.name for row in taken})
        if columns["endpoint_name"]:
            wanted = columns["endpoint_name"]
            columns["endpoint_name"] = _free(wanted, {row.endpoint_name for row in taken}, "{}-{}")
            if columns["endpoint_name"] != wanted:
                self.report.notes.append(
                    f"the flow {columns['name']} runs as {columns['endpoint_name']}: {wanted} is taken"
                )
        folder = columns.pop("folder_id")
        if folder is None or self._session.get(Project, folder) is None:
            folder = projects.checked(self._session, owner, None)
        data = columns.pop("data")
        version = uuid.uuid4() if data and data.get("nodes") else None
        flow = Flow(id=old.id, user_id=owner, folder_id=folder, version_token=version, **columns)
        flow.data = data
        self._session.add(flow)
        self._session.flush()
        tally.brought += 1

    def _variable(self, old: OldVariable, tally: Tally) -> None:
        what = f"variable {old.name!r}"
        owner = self._owner(old.user_id, tally, what)
        if owner is None or self._is_here(Variable, old.id, tally):
            return
        if old.value is None:
            tally.refused.append(f"{what}: the secret does not open it")
        elif not old.value:
            self._empty += 1
        elif self._taken_variable(owner, old.name):
            tally.refused.append(f"{what}: there is one of that name here already")
        else:
            text = self._vault.encrypt(old.value)
            self._session.add(Variable(id=old.id, user_id=owner, name=old.name, ciphertext=text, **old.columns))
            self._session.flush()
            tally.brought += 1

    def _key(self, old: OldKey, tally: Tally) -> None:
        what = f"key {old.columns['name']!r}"
        owner = self._owner(old.user_id, tally, what)
        if owner is None or self._is_here(ApiKey, old.id, tally):
            return
        if old.key is None and old.digest is None:
            tally.refused.append(f"{what}: the secret does not open it")
            return
        if old.key is not None and not key_text.is_well_formed(old.key):
            tally.refused.append(f"{what}: it has not the form of a key (sk- and 43 characters)")
            return
        stored = StoredKey.of(old.key) if old.key is not None else StoredKey.of_digest(str(old.digest))
        if self._session.scalar(select(ApiKey.id).where(ApiKey.digest == stored.digest)) is not None:
            tally.already_here += 1
            return
        columns = old.columns | {"name": (old.columns["name"] or "")[:NAME_LENGTH] or None}
        row = ApiKey(
            id=old.id, user_id=owner, digest=stored.digest, prefix=stored.prefix, length=stored.length, **columns
        )  # fmt: skip
        self._session.add(row)
        self._session.flush()
        tally.brought += 1

    def _message(self, old: Old, tally: Tally) -> None:
        flow_id = old.columns["flow_id"]
        owner = self._flows.get(flow_id)
        if owner is None:
            tally.refused.append("message: its flow is gone")
        elif not self._is_here(StoredChatMessage, old.id, tally):
            self._session.add(StoredChatMessage(id=old.id, user_id=owner, **old.columns))
            tally.brought += 1

    def _owner(self, user_id: uuid.UUID | None, tally: Tally, what: str) -> uuid.UUID | None:
        owner = self._users.get(user_id) if user_id is not None else None
        if owner is None and user_id is not None:
            tally.refused.append(f"{what}: its owner is gone or cannot come")
        return owner

    def _is_here(self, model: type[Model], row_id: uuid.UUID, tally: Tally) -> bool:
        here = self._session.get(model, row_id) is not None
        tally.already_here += here
        return here

    def _taken_variable(self, owner: uuid.UUID, name: str) -> bool:
        mine = (Variable.user_id == owner, Variable.name == name)
        return self._session.scalar(select(Variable.id).where(*mine)) is not None

    def _free_username(self, name: str) -> str:
        number = 2
        while by_name(self._session, f"{name}-{number}") is not None:
            number += 1
        return f"{name}-{number}"


def _free(wanted: str, taken: set[str], form: str = "{} ({})") -> str:
    name, number = wanted[:NAME_LENGTH], 1
    while name in taken:
        name = form.format(wanted[: NAME_LENGTH - 10], number)
        number += 1
    return name
