"""The database engine: one way to make it, for the web application, the CLI, migrations and tests."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy import create_engine as sqlalchemy_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from service.json_text import stored
from service.storage import outages
from service.storage.generation import Telling, announcing

#: Values stay out of errors: a log prints those, and a value may be what somebody said, or a secret.
EVERYWHERE: dict[str, Any] = {"json_serializer": stored, "hide_parameters": True}

#: Seconds that a SQLite writer waits for the one before it.
BUSY_SECONDS = 30

#: What libpq is told where the URL does not say it. A host that vanished in the middle of a query is given up after
#: half a minute or so, and not after the two hours of TCP.
_POSTGRESQL: dict[str, Any] = {
    "application_name": "keyturn",
    "connect_timeout": outages.CONNECT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

#: What each SQLite connection keeps in memory.
_CACHE_KIB, _CACHED_STATEMENTS = 128, 16

_WRITE, _QUIET = "keyturn_write", "keyturn_quiet"


def engine_options(url: URL, *, pool_size: int = 5) -> dict[str, Any]:
    """Return keyword arguments of ``sqlalchemy.create_engine`` for a database.

    Args:
        url: SQLite or PostgreSQL.
        pool_size: connections kept; as many as the process has threads.
    """
    if url.get_backend_name() == "sqlite":
        if is_memory(url):
            return EVERYWHERE
        return {
            **EVERYWHERE,
            "pool_size": pool_size,
            "max_overflow": 10,
            # Another one has to read again what this one's cache holds.
            "pool_use_lifo": True,
            "connect_args": {
                "timeout": BUSY_SECONDS,
                "factory": announcing(Path(str(url.database))),
                "cached_statements": _CACHED_STATEMENTS,
            },
        }
    return {
        **EVERYWHERE,
        "pool_size": pool_size,
        "max_overflow": 10,
        "pool_recycle": 1800,
        "connect_args": unsaid(url),
    }


def create_engine(url: URL, *, pool_size: int = 5) -> Engine:
    """Make an engine with this project's connection rules."""
    return install_rules(sqlalchemy_engine(url, **engine_options(url, pool_size=pool_size)))


def install_rules(engine: Engine) -> Engine:
    """Add the rules for connections to an engine."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
    else:
        outages.watch(engine)
    return engine


def limit_statements(engine: Engine, seconds: int) -> Engine:
    """Have PostgreSQL give a statement up after so many seconds, also one that waits for a lock.

    For servers: a command on the console may take its time. SQLite's waits end after ``BUSY_SECONDS``.
    """

    def set_limit(connection: Any, _record: Any) -> None:
        # Not among what libpq sends when it connects: proxies of PostgreSQL refuse that.
        connection.execute("SELECT set_config('statement_timeout', %s, false)", [str(seconds * 1000)])
        if not connection.autocommit:
            connection.commit()

    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", set_limit)
    return engine


def unsaid(url: URL) -> dict[str, Any]:
    """What libpq is told beside what the URL says."""
    return {name: value for name, value in _POSTGRESQL.items() if name not in url.query}


def begin_write(session: Session, *, quiet: bool = False) -> Session:
    """Open the session's transaction as a writer's; call it before the first query.

    A SQLite transaction that first reads and then writes fails at once, without waiting, when somebody
    else wrote in between; one that begins as a writer waits its turn.

    Args:
        session: that has asked nothing yet.
        quiet: whatever is written, no key, user or flow that was found before is different by it (a count, a message,
            something new); so what is kept of them in memory stays good.
    """
    session.connection(execution_options={_WRITE: True, _QUIET: quiet})
    return session


def begin_quietly(connection: Connection) -> Connection:
    """As ``begin_write`` with ``quiet``, for a connection without a session."""
    return connection.execution_options(**{_WRITE: True, _QUIET: True})


def is_memory(url: URL) -> bool:
    """Say whether the URL names a SQLite database without a file."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def _on_sqlite_connect(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling is turned off: it commits behind our back. `begin` below rules.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_SECONDS * 1000}",
        # The system keeps the file's pages for all connections anyway.
        f"cache_size=-{_CACHE_KIB}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_sqlite_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    own: Any = connection.connection.dbapi_connection
    if isinstance(own, Telling):
        own.is_quiet = options.get(_QUIET, False)
    begin = "BEGIN IMMEDIATE" if options.get(_WRITE, False) else "BEGIN"
    try:
        # Not by SQLAlchemy's own way, which makes a context and a result of each.
        own.execute(begin)
    except sqlite3.Error as error:
        raise DBAPIError.instance(begin, None, error, sqlite3.Error, hide_parameters=True) from error
