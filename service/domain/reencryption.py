"""Encrypting stored values anew, while the server goes on."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from service.domain.errors import NotDecryptable
from service.domain.ports import Vault
from service.storage.base import Base
from service.storage.jobs import Job
from service.storage.mcp_servers import McpServer
from service.storage.secrets import SecretCheck
from service.storage.variables import Variable

BATCH = 100


@dataclass(frozen=True, slots=True)
class _Place:
    """A column with encrypted values, and what names one that cannot be opened."""

    model: type[Base]
    id: Any
    ciphertext: Any
    name: Any


_PLACES = (
    _Place(Variable, Variable.id, Variable.ciphertext, Variable.name),
    _Place(McpServer, McpServer.id, McpServer.ciphertext, McpServer.name),
    _Place(Job, Job.id, Job.request, Job.id),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is; ``broken`` are names, and ids of jobs, of what opens with no known secret."""

    done: int
    left: int
    broken: tuple[str, ...] = ()


def reencrypt(
    open_session: Callable[[], Session], vault: Vault, key_id: str, tell: Callable[[Progress], None]
) -> Progress:
    """Encrypt every stored value with the secret of ``key_id``, a batch in each transaction.

    Stopped in the middle, it goes on where it was when it is started again: each ciphertext carries its key's id. A
    value that somebody changes meanwhile is left as they wrote it, for that was written with the new secret or is
    found by the next batch.

    Args:
        open_session: opens a session that begins as a writer.
        vault: encrypts with the new secret and knows the former ones.
        key_id: of the new secret.
        tell: is called after each batch.
    """
    done = 0
    broken: list[str] = []
    for place in _PLACES:
        after: uuid.UUID | None = None
        while True:
            with open_session() as session:
                rows = _next(session, place, key_id, after)
                done += _renew(session, place, vault, rows, broken)
                session.commit()
                progress = Progress(done, left(session, key_id) - len(broken), tuple(broken))
            if not rows:
                break
            tell(progress)
            after = rows[-1].id
    return progress


def texts(session: Session) -> list[str]:
    """Every value that is stored encrypted, as it is stored."""
    return [
        text
        for place in _PLACES
        for text in session.scalars(select(place.ciphertext).where(place.ciphertext.is_not(None)))
    ]


def left(session: Session, key_id: str) -> int:
    """Count the values that another secret than that of ``key_id`` encrypted."""
    return sum(
        session.scalar(select(func.count()).select_from(place.model).where(_foreign(place, key_id))) or 0
        for place in _PLACES
    )


def forget_others(session: Session, key_id: str) -> None:
    """Forget the proofs of former secrets, once nothing is encrypted with them."""
    session.execute(delete(SecretCheck).where(SecretCheck.key_id != key_id))


def _renew(session: Session, place: _Place, vault: Vault, rows: Sequence[Any], broken: list[str]) -> int:
    """Encrypt a batch anew; returns how many, and adds the names of those that do not open."""
    done = 0
    for row in rows:
        try:
            fresh = vault.encrypt(vault.decrypt(row.ciphertext))
        except NotDecryptable:
            broken.append(str(row.name))
            continue
        same = (place.id == row.id, place.ciphertext == row.ciphertext)
        change = update(place.model).where(*same).values({place.ciphertext: fresh}).returning(place.id)
        done += len(session.execute(change).all())
    return done


def _next(session: Session, place: _Place, key_id: str, after: uuid.UUID | None) -> Sequence[Any]:
    columns = place.id, place.name.label("name"), place.ciphertext.label("ciphertext")
    query = select(*columns).where(_foreign(place, key_id)).order_by(place.id)
    if after is not None:
        query = query.where(place.id > after)
    return session.execute(query.limit(BATCH)).all()


def _foreign(place: _Place, key_id: str) -> ColumnElement[bool]:
    foreign: ColumnElement[bool] = place.ciphertext.not_like(f"kt1:{key_id}:%")
    return foreign
