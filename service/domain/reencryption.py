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
from service.storage.secrets import SecretCheck
from service.storage.variables import Variable

BATCH = 100


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is; ``broken`` are names of variables that open with no known secret."""

    done: int
    left: int
    broken: tuple[str, ...] = ()


def reencrypt(
    open_session: Callable[[], Session], vault: Vault, key_id: str, tell: Callable[[Progress], None]
) -> Progress:
    """Encrypt every variable with the secret of ``key_id``, a batch in each transaction.

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
    after: uuid.UUID | None = None
    while True:
        with open_session() as session:
            rows = _next(session, key_id, after)
            for row in rows:
                try:
                    fresh = vault.encrypt(vault.decrypt(row.ciphertext))
                except NotDecryptable:
                    broken.append(row.name)
                    continue
                same = (Variable.id == row.id, Variable.ciphertext == row.ciphertext)
                change = update(Variable).where(*same).values(ciphertext=fresh).returning(Variable.id)
                done += len(session.execute(change).all())
            session.commit()
            progress = Progress(done, left(session, key_id) - len(broken), tuple(broken))
        tell(progress)
        if not rows:
            return progress
        after = rows[-1].id


def left(session: Session, key_id: str) -> int:
    """Count the values that another secret than that of ``key_id`` encrypted."""
    return session.scalar(select(func.count()).select_from(Variable).where(_foreign(key_id))) or 0


def forget_others(session: Session, key_id: str) -> None:
    """Forget the proofs of former secrets, once nothing is encrypted with them."""
    session.execute(delete(SecretCheck).where(SecretCheck.key_id != key_id))


def _next(session: Session, key_id: str, after: uuid.UUID | None) -> Sequence[Any]:
    query = select(Variable.id, Variable.name, Variable.ciphertext).where(_foreign(key_id)).order_by(Variable.id)
    if after is not None:
        query = query.where(Variable.id > after)
    return session.execute(query.limit(BATCH)).all()


def _foreign(key_id: str) -> ColumnElement[bool]:
    return Variable.ciphertext.not_like(f"kt1:{key_id}:%")
