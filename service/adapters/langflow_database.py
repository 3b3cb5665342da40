"""A database of Langflow 1.5 to 1.13, SQLite or PostgreSQL, opened for reading only."""

from __future__ import annotations

import json
import sqlite3
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Engine, MetaData, RowMapping, Table, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError, SAWarning
from sqlalchemy.pool import NullPool

from service.adapters.langflow_secrets import MARK, LangflowSecret
from service.domain.moving import Old, OldKey, OldVariable
from service.instants import in_utc

_TABLES = ("user", "apikey", "variable", "folder", "flow", "message")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TRIES = 50


class LangflowDatabaseError(Exception):
    """The database cannot be read as Langflow's; the text is one line."""


class LangflowDatabase:
    """Implements ``domain.moving.LangflowSource``.

    Args:
        url: of Langflow's database.
        secret: opens its values.

    Raises:
        LangflowDatabaseError: it is not there, is not Langflow's, or was encrypted with another secret.
    """

    def __init__(self, url: URL, secret: LangflowSecret) -> None:
        self._secret, self._name = secret, url.render_as_string(hide_password=True)
        self._engine = _read_only(url)
        try:
            self._tables = self._reflected()
            self._check_secret()
        except DBAPIError as error:
            self.close()
            reason = str(error.orig).strip().splitlines()[0]
            raise LangflowDatabaseError(f"{self._name} cannot be read ({reason})") from None
        except LangflowDatabaseError:
            self.close()
            raise

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def count(self) -> int:
        """Return how many records there are in all."""
        with self._engine.connect() as connection:
            return sum(
                connection.scalar(select(func.count()).select_from(table)) or 0 for table in self._tables.values()
            )

    def users(self) -> Iterator[Old]:
        for row in self._rows("user"):
            made = _instant(row.get("create_at")) or _EPOCH
            columns = {
                "username": row["username"],
                "password_hash": row["password"],
                "is_active": bool(row["is_active"]),
                "is_superuser": bool(row["is_superuser"]),
                "profile_image": row.get("profile_image"),
                "optins": _json(row.get("optins")) or {},
                "created_at": made,
                "updated_at": _instant(row.get("updated_at")) or made,
                "last_login_at": _instant(row.get("last_login_at")),
            }
            yield Old(_id(row["id"]), None, columns)

    def keys(self) -> Iterator[OldKey]:
        for row in self._rows("apikey"):
            columns = {
                "name": row["name"],
                "is_active": bool(row["is_active"]),
                "created_at": _instant(row["created_at"]) or _EPOCH,
                "expires_at": _instant(row.get("expires_at")),
                "last_used_at": _instant(row["last_used_at"]),
                "total_uses": row["total_uses"] or 0,
            }
            key = self._secret.open(row["api_key"])
            yield OldKey(_id(row["id"]), _id(row["user_id"]), key, row.get("api_key_hash"), columns)

    def variables(self) -> Iterator[OldVariable]:
        for row in self._rows("variable"):
            made = _instant(row.get("created_at")) or _EPOCH
            columns = {
                "type": row["type"] or "Credential",
                "default_fields": _texts(_json(row.get("default_fields"))),
                "created_at": made,
                "updated_at": _instant(row.get("updated_at")) or made,
            }
            value = self._secret.open(row["value"])
            yield OldVariable(_id(row["id"]), _id(row["user_id"]), row["name"], value, columns)

    def projects(self) -> Iterator[Old]:
        for row in self._rows("folder"):
            columns = {"name": row["name"], "description": row["description"], "parent_id": _maybe(row["parent_id"])}
            yield Old(_id(row["id"]), _maybe(row["user_id"]), columns)

    def flows(self) -> Iterator[Old]:
        for row in self._rows("flow"):
            changed = _instant(row.get("updated_at")) or _EPOCH
            columns = {
                name: row.get(name)
                for name in ("name", "description", "endpoint_name", "icon", "icon_bg_color", "gradient",
                             "action_name", "action_description")
            } | {
                name: bool(row.get(name)) for name in ("is_component", "webhook", "locked", "mcp_enabled")
            }  # fmt: skip
            columns |= {
                "data": _json(row["data"]),
                "tags": _json(row.get("tags")),
                "folder_id": _maybe(row["folder_id"]),
                "access_type": str(row.get("access_type") or "PRIVATE"),
                "flow_type": str(row.get("flow_type") or "workflow"),
                "created_at": changed,
                "updated_at": changed,
            }
            yield Old(_id(row["id"]), _maybe(row["user_id"]), columns)

    def messages(self) -> Iterator[Old]:
        for row in self._rows("message"):
            columns = {
                "flow_id": _maybe(row["flow_id"]),
                "session_id": str(row["session_id"])[:1000],
                "context_id": str(row.get("context_id") or "")[:1000],
                "sender": str(row["sender"])[:255],
                "sender_name": str(row["sender_name"])[:1000],
                "text": row["text"] or "",
                "files": _json(row.get("files")) or [],
                "timestamp": _instant(row["timestamp"]) or _EPOCH,
                "error": bool(row.get("error")),
                "edit": bool(row.get("edit")),
                "category": str(row.get("category") or "message")[:64],
                "properties": _json(row.get("properties")) or {},
                "content_blocks": _json(row.get("content_blocks")) or [],
                "session_metadata": _json(row.get("session_metadata")),
                "duration": row.get("duration"),
            }
            yield Old(_id(row["id"]), None, columns)

    def _reflected(self) -> dict[str, Table]:
        metadata = MetaData()
        with self._engine.connect() as connection:
            names = set(connection.dialect.get_table_names(connection))
            if not {*_TABLES, "alembic_version"} <= names or "secret_check" in names:
                raise LangflowDatabaseError(
                    f"{self._name} is not a database of Langflow 1.5 to 1.13: it lacks tables that those have"
                )
            with warnings.catch_warnings():
                # Of indexes over expressions, which nobody needs here.
                warnings.simplefilter("ignore", SAWarning)
                metadata.reflect(connection, only=_TABLES)
        return {name: metadata.tables[name] for name in _TABLES}

    def _check_secret(self) -> None:
        """Stop early when the secret opens nothing of what it should."""
        variable, key = self._tables["variable"].c.value, self._tables["apikey"].c.api_key
        with self._engine.connect() as connection:
            texts = [
                text
                for column in (variable, key)
                for text in connection.scalars(select(column).where(column.startswith(MARK)).limit(_TRIES))
            ]
        if texts and all(self._secret.open(text) is None for text in texts):
            raise LangflowDatabaseError(
                f"the secret is not the one that {self._name} was encrypted with: give the file secret_key of that "
                "Langflow's config folder, or its LANGFLOW_SECRET_KEY"
            )

    def _rows(self, name: str) -> Iterator[RowMapping]:
        table = self._tables[name]
        order = [table.c[column] for column in ("create_at", "created_at", "timestamp") if column in table.c]
        with self._engine.connect() as connection:
            query = select(table).order_by(*order, table.c.id)
            try:
                for row in connection.execution_options(yield_per=200).execute(query).mappings():
                    if any(isinstance(value, bytes) for value in row.values()):
                        raise ValueError("none of these columns holds bytes")
                    yield row
            except (ValueError, TypeError, DBAPIError) as error:
                raise LangflowDatabaseError(f"a row of {name} cannot be read ({type(error).__name__})") from None


def _read_only(url: URL) -> Engine:
    backend = url.get_backend_name()
    if backend == "sqlite":
        path = Path(url.database or "")
        if not path.is_file():
            raise LangflowDatabaseError(f"there is no file {path}")
        # The driver's own read-only mode: nothing that happens here can change Langflow's file.
        address = f"file:{quote(str(path.absolute()))}?mode=ro"
        return create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(address, uri=True, check_same_thread=False),
            poolclass=NullPool,
            hide_parameters=True,
        )
    if backend not in {"postgresql", "postgres"}:
        raise LangflowDatabaseError("--database-url names neither SQLite nor PostgreSQL")
    engine = create_engine(url.set(drivername="postgresql+psycopg"), hide_parameters=True)

    @event.listens_for(engine, "connect")
    def forbid_writing(connection: Any, _record: Any) -> None:
        connection.read_only = True

    return engine


def _id(value: object) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))


def _maybe(value: object) -> uuid.UUID | None:
    return None if value is None else _id(value)


def _instant(value: object) -> datetime | None:
    """Langflow writes UTC, with its zone or without."""
    if value is None:
        return None
    instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return in_utc(instant)


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _json(value: object) -> Any:
    """Some columns of some versions are JSON, and some hold its text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return None
    return value
