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
from service.storage.mcp_servers import McpServer
from service.storage.secrets import SecretCheck
from service.storage.variables import Variable

BATCH = 100
Encrypted = type[Variable] | type[McpServer]
#: What holds values that the server's secret opens.
ENCRYPTED: tuple[Encrypted, ...] = (Variable, McpServer)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is; ``broken`` are names of what opens with no known secret."""

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
    for model in ENCRYPTED:
        after: uuid.UUID | None = None
        while True:
            with open_session() as session:
                rows = _next(session, model, key_id, after)
                if not rows:
                    break
                for row in rows:
                    done += _renewed(session, vault, model, row, broken)
                session.commit()
                tell(Progress(done, left(session, key_id) - len(broken), tuple(broken)))
            after = rows[-1].id
    with open_session() as session:
        return Progress(done, left(session, key_id) - len(broken), tuple(broken))


def _renewed(session: Session, vault: Vault, model: Encrypted, row: Any, broken: list[str]) -> int:
    """Encrypt one value anew; returns 1, or 0 where it does not open or was changed meanwhile."""
    try:
        fresh = vault.encrypt(vault.decrypt(row.ciphertext))
    except NotDecryptable:
        broken.append(row.name)
        return 0
    same = (model.id == row.id, model.ciphertext == row.ciphertext)
    return len(session.execute(update(model).where(*same).values(ciphertext=fresh).returning(model.id)).all())


def left(session: Session, key_id: str) -> int:
    """Count the values that another secret than that of ``key_id`` encrypted."""
    return sum(
        session.scalar(select(func.count()).select_from(model).where(_foreign(model, key_id))) or 0
        for model in ENCRYPTED
    )


def texts(session: Session) -> list[str]:
    """Return everything that is encrypted."""
    return [text for model in ENCRYPTED for text in session.scalars(select(model.ciphertext))]


def forget_others(session: Session, key_id: str) -> None:
    """Forget the proofs of former secrets, once nothing is encrypted with them."""
    session.execute(delete(SecretCheck).where(SecretCheck.key_id != key_id))


def _next(session: Session, model: Encrypted, key_id: str, after: uuid.UUID | None) -> Sequence[Any]:
    query = select(model.id, model.name, model.ciphertext).where(_foreign(model, key_id)).order_by(model.id)
    if after is not None:
        query = query.where(model.id > after)
    return session.execute(query.limit(BATCH)).all()


def _foreign(model: Encrypted, key_id: str) -> ColumnElement[bool]:
    return model.ciphertext.not_like(f"kt1:{key_id}:%")
