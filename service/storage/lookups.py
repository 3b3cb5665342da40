"""Reads that are asked for all day: one SELECT each, written once, and asked of the driver without a detour.

SQLAlchemy puts the statement together, and knows what its types are to the database; all of that is found out once.
What it does for each execution beside (a context, a result, a transaction, events) costs several times what the
question does.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Engine, Select, func, select
from sqlalchemy import create_engine as sqlalchemy_engine
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from service.storage import outages
from service.storage.engine import EVERYWHERE, unsaid

#: Each look-up takes a part of a millisecond, so a few connections serve all threads of a process; whoever waits for
#: one for so many seconds waits for a database that is away.
_CONNECTIONS, _SECONDS = 4, 2


def for_lookups(engine: Engine) -> Engine:
    """Return an engine for ``Lookup``.

    On PostgreSQL it has few connections of its own, without BEGIN and ROLLBACK: each is a round trip that costs as
    much as the statement. On SQLite it is the same engine.
    """
    if engine.dialect.name != "postgresql":
        return engine
    made = sqlalchemy_engine(
        engine.url,
        **EVERYWHERE,
        isolation_level="AUTOCOMMIT",
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_SECONDS,
        pool_recycle=1800,
        pool_reset_on_return=None,
        connect_args=unsaid(engine.url),
    )
    outages.watch(made, beside=engine)
    return made


class Lookup:
    """A SELECT and its rows.

    Args:
        statement: with a ``bindparam`` for each value that is asked with; ``IN`` and its lists are not known here.
        at_once: there may be many rows. SQLite's driver lets another thread in before each, which costs a busy server
            several times what the rows do, so there they are asked for as one JSON text; then the columns hold texts
            and whole numbers only, and the order is nobody's promise.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]], *, at_once: bool = False) -> None:
        self._statement, self._at_once = statement, at_once
        self._row = _row_of(statement)
        self._plans: dict[str, _Plan] = {}

    def all(self, where: Engine | Session, values: Mapping[str, Any]) -> list[Any]:
        """Return the rows, as named tuples.

        Args:
            where: an engine of ``for_lookups``, or a session whose transaction shall be asked.
            values: by name of the ``bindparam``.

        Raises:
            SQLAlchemyError: the database cannot be asked.
        """
        if isinstance(where, Session):
            return list(where.execute(self._statement, dict(values)).all())
        dialect = where.dialect
        plan = self._plans.get(dialect.name)
        if plan is None:
            plan = self._plans[dialect.name] = _plan(
                self._statement, dialect, at_once=self._at_once and dialect.name == "sqlite"
            )
        try:
            rows = plan.ask(where, values)
        except dialect.loaded_dbapi.Error:
            # Whatever it is, SQLAlchemy meets it too, and has the words for it; a connection that was found dead has
            # been replaced by then.
            rows = self._ask_again(where, values)
        return list(map(self._row, rows))

    def first(self, where: Engine | Session, values: Mapping[str, Any]) -> Any:
        """Return the first row, or None; as ``all``."""
        rows = self.all(where, values)
        return rows[0] if rows else None

    def _ask_again(self, engine: Engine, values: Mapping[str, Any]) -> list[Any]:
        for attempt in range(2):
            try:
                with engine.connect() as connection:
                    return list(connection.execute(self._statement, dict(values)).all())
            except DBAPIError as error:
                # Every connection of the pool may have died with the server's restart.
                if attempt or not error.connection_invalidated:
                    raise
        raise AssertionError("the loop returns or raises")


@dataclass(frozen=True, slots=True)
class _Plan:
    """A statement in the words of one database."""

    text: str
    #: Names in the order of the text, where values have no names there.
    order: list[str] | None
    fixed: Mapping[str, Any]
    into: Mapping[str, Callable[[Any], Any]]
    out_of: list[tuple[int, Callable[[Any], Any]]]
    is_one_text: bool

    def ask(self, engine: Engine, values: Mapping[str, Any]) -> list[Any]:
        given = {**self.fixed, **values}
        for name, process in self.into.items():
            given[name] = process(given[name])
        connection = engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(self.text, given if self.order is None else [given[name] for name in self.order])
            rows = orjson.loads(cursor.fetchone()[0]) if self.is_one_text else cursor.fetchall()
            cursor.close()
        except BaseException:
            connection.invalidate()
            raise
        connection.close()
        return [self._read(row) for row in rows] if self.out_of else list(rows)

    def _read(self, row: Any) -> list[Any]:
        read = list(row)
        for place, process in self.out_of:
            read[place] = process(read[place])
        return read


def _row_of(statement: Select[*tuple[Any, ...]]) -> Callable[[Any], Any]:
    made = namedtuple("Row", statement.selected_columns.keys())  # type: ignore[misc]
    return made._make


def _plan(statement: Select[*tuple[Any, ...]], dialect: Dialect, *, at_once: bool) -> _Plan:
    inner = statement.subquery()
    asked = select(func.json_group_array(func.json_array(*inner.c))) if at_once else statement
    compiled = asked.compile(dialect=dialect)
    binds = compiled.binds
    into = {name: _impl(bind.type, dialect).bind_processor(dialect) for name, bind in binds.items()}
    out_of = [_impl(column.type, dialect).result_processor(dialect, None) for column in statement.selected_columns]
    return _Plan(
        text=compiled.string,
        order=compiled.positiontup,
        fixed={name: bind.value for name, bind in binds.items() if not bind.required},
        into={name: process for name, process in into.items() if process is not None},
        out_of=[(place, process) for place, process in enumerate(out_of) if process is not None],
        is_one_text=at_once,
    )


def _impl(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return kind.dialect_impl(dialect)
