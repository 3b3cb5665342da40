"""MCP servers that a user has set up: kept for the user's programs, never called from here.

Everything of a configuration is encrypted, and what may be a secret is masked in every answer; sending the mask back
leaves the stored value as it is.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.domain.depth import is_deeper
from service.domain.errors import Conflict, Forbidden, Invalid, NotFound
from service.domain.mcp_secrets import Config, masked, unmasked
from service.domain.names import NAME_LENGTH
from service.domain.ports import Vault
from service.storage.mcp_servers import McpServer

MOST_SERVERS = 200
_LONGEST, _MOST_LEVELS = 64_000, 20


def check_unlocked(*, locked: bool, is_superuser: bool) -> None:
    """Leave changes to superusers where the operator wants it so.

    Raises:
        Forbidden: in Langflow's words.
    """
    if locked and not is_superuser:
        raise Forbidden(
            "MCP server configuration is locked. Contact an administrator to manage external MCP servers."
        )


def names_of(session: Session, user_id: uuid.UUID) -> list[str]:
    """Return the names of the user's servers."""
    return list(session.scalars(select(McpServer.name).where(McpServer.user_id == user_id).order_by(McpServer.name)))


def get(session: Session, vault: Vault, user_id: uuid.UUID, name: str) -> Config:
    """Return a server's configuration, masked.

    Raises:
        NotFound: none of that name.
    """
    return masked(_opened(vault, _find(session, user_id, name)))


def create(session: Session, vault: Vault, user_id: uuid.UUID, name: str, config: Config, now: datetime) -> Config:
    """Keep a server; returns its configuration, masked.

    Raises:
        Conflict: there is one of that name, or there are too many.
        Invalid: the name or the configuration cannot be kept, or a mask stands where nothing is stored.
    """
    _check(name, config)
    if len(names_of(session, user_id)) >= MOST_SERVERS:
        raise Conflict(f"There are {MOST_SERVERS} servers already. Delete one first.")
    config = unmasked(config, {})
    session.add(
        McpServer(user_id=user_id, name=name, ciphertext=_closed(vault, config), created_at=now, updated_at=now)
    )
    try:
        session.flush()
    except IntegrityError as error:
        if "mcp_server" in str(error.orig) and "name" in str(error.orig):
            raise Conflict("Server already exists.") from None
        raise
    return masked(config)


def change(session: Session, vault: Vault, user_id: uuid.UUID, name: str, changes: Config, now: datetime) -> Config:
    """Set the parts that ``changes`` names; returns the configuration, masked.

    Raises:
        NotFound: none of that name.
        Invalid: as for ``create``.
    """
    # Locked, or two changes at once would each write the other's part as it was before.
    row = _find(session, user_id, name, lock=True)
    stored = _opened(vault, row)
    _check(name, changes)
    config = stored | unmasked(changes, stored)
    _check(name, config)
    row.ciphertext, row.updated_at = _closed(vault, config), now
    return masked(config)


def remove(session: Session, user_id: uuid.UUID, name: str) -> None:
    """Forget a server.

    Raises:
        NotFound: none of that name.
    """
    session.delete(_find(session, user_id, name))


def _check(name: str, config: Config) -> None:
    if not name.strip() or len(name) > NAME_LENGTH or not name.isprintable():
        raise Invalid.field(f"Value error, use up to {NAME_LENGTH} printable characters", "path", "server_name")
    if is_deeper(config, _MOST_LEVELS):
        raise Invalid.field(f"Value error, the configuration has more than {_MOST_LEVELS} levels", "body")
    if len(json.dumps(config)) > _LONGEST:
        raise Invalid.field(f"Value error, the configuration has more than {_LONGEST} characters", "body")


def _find(session: Session, user_id: uuid.UUID, name: str, *, lock: bool = False) -> McpServer:
    query = select(McpServer).where(McpServer.user_id == user_id, McpServer.name == name)
    # Asking PostgreSQL for what it cannot hold is an error.
    row = session.scalar(query.with_for_update() if lock else query) if "\x00" not in name else None
    if row is None:
        raise NotFound("Server not found.")
    return row


def _opened(vault: Vault, row: McpServer) -> Config:
    return dict(json.loads(vault.decrypt(row.ciphertext)))


def _closed(vault: Vault, config: Config) -> str:
    return vault.encrypt(json.dumps(config))
