"""Statements that are executed all day: put together once, and given to the driver without a detour.

SQLAlchemy writes them, and knows what its types are to the database; all of that is found out once. What it does for
each execution beside (a context, a result, the state of objects) costs several times what the database does.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Insert, Select, UpdateBase, bindparam, func, insert, select
from sqlalchemy import create_engine as sqlalchemy_engine
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from service.storage import outages
from service.storage.base import Base
from service.storage.engine import EVERYWHERE, unsaid

#: Each look-up takes a part of a millisecond, so a few connections serve all threads of a process; whoever waits for
#: one for so many seconds waits for a database that is away.
_CONNECTIONS, _SECONDS = 4, 2
#: So many rows are written sooner than their JSON is read.
_FEW = 4
_JSON_BYTES = 2_000_000


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


class _Planned:
    """A statement, and what was found out about it for each kind of database."""

    def __init__(self, statement: Select[*tuple[Any, ...]] | UpdateBase, *, at_once: bool = False) -> None:
        self._statement, self._at_once = statement, at_once
        self._plans: dict[type[Dialect], _Plan] = {}

    def _plan(self, dialect: Dialect) -> _Plan:
        plan = self._plans.get(type(dialect))
        if plan is None:
            at_once = self._at_once and dialect.name == "sqlite"
            plan = self._plans[type(dialect)] = _planned(self._statement, dialect, at_once=at_once)
        return plan


class Lookup(_Planned):
    """A SELECT and its rows.

    Args:
        statement: with a ``bindparam`` for each value that is asked with; ``IN`` and its lists are not known here.
        at_once: there may be many rows. SQLite's driver lets another thread in before each, which costs a busy server
            several times what the rows do, so there they are asked for as one JSON text; then the columns hold texts
            and whole numbers only, and the order is nobody's promise.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]], *, at_once: bool = False) -> None:
        super().__init__(statement, at_once=at_once)
        self._row = _named(statement.selected_columns.keys())._make

    def all(self, where: Engine | Session, values: Mapping[str, Any]) -> list[list[Any]]:
        """Return the rows, each in the order of the columns.

        Args:
            where: an engine of ``for_lookups``, or a session whose transaction shall be asked.
            values: by name of the ``bindparam``.

        Raises:
            SQLAlchemyError: the database cannot be asked.
        """
        if isinstance(where, Session):
            return self._in_sqlalchemys_way(where, values)
        try:
            return self._plan(where.dialect).ask(where, values)
        except where.dialect.loaded_dbapi.Error:
            # Whatever it is, SQLAlchemy meets it too, and has the words for it; a connection that was found dead has
            # been replaced by then.
            return self._ask_again(where, values)

    def first(self, where: Engine | Session, values: Mapping[str, Any]) -> Any:
        """Return the first row as a named tuple, or None; as ``all``."""
        rows = self.all(where, values)
        return self._row(rows[0]) if rows else None

    def _ask_again(self, engine: Engine, values: Mapping[str, Any]) -> list[list[Any]]:
        for attempt in range(2):
            try:
                with engine.connect() as connection:
                    return self._in_sqlalchemys_way(connection, values)
            except DBAPIError as error:
                # Every connection of the pool may have died with the server's restart.
                if attempt or not error.connection_invalidated:
                    raise
        raise AssertionError("the loop returns or raises")

    def _in_sqlalchemys_way(self, where: Connection | Session, values: Mapping[str, Any]) -> list[list[Any]]:
        return list(map(list, where.execute(self._statement, dict(values))))


class Batch(_Planned):
    """A statement that writes, executed for many sets of values at once.

    Args:
        statement: with a ``bindparam`` for each value, or an INSERT without any.
        at_once: an INSERT of many rows. SQLite's driver lets another thread in after each, and holds the lock of all
            writers until that one has had its turn; so there they are given as one JSON text. Then the columns hold
            texts and whole numbers only.
    """

    def __init__(self, statement: UpdateBase, *, at_once: bool = False) -> None:
        super().__init__(statement, at_once=at_once)

    def write(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Execute it; each set has a value for every ``bindparam``, or for every column of an INSERT without any.

        Raises:
            SQLAlchemyError: the database does not take a row.
        """
        plan = self._plan(connection.dialect)
        written = [plan.written(row) for row in rows]
        if plan.many is not None and len(written) > _FEW:
            for text in _in_json(written):
                connection.exec_driver_sql(plan.many, (text,))
        else:
            connection.exec_driver_sql(plan.text, written)


class Insertion(_Planned):
    """An INSERT of one row, within somebody's transaction.

    Args:
        model: whose row it is; its defaults for Python do not count here.
        columns: that get a value; the others stay NULL, or what the database gives them.
    """

    def __init__(self, model: type[Base], columns: Iterable[str]) -> None:
        table: Any = model.__table__
        super().__init__(insert(table).values({name: bindparam(name, type_=table.c[name].type) for name in columns}))
        self._row = _named(table.c.keys())

    def add(self, where: Session | Connection, values: Mapping[str, Any]) -> Any:
        """Write the row, after all that a session still holds; returns it as a named tuple.

        Raises:
            SQLAlchemyError: the database does not take it.
        """
        if isinstance(where, Session):
            where.flush()
            connection = where.connection()
        else:
            connection = where
        plan = self._plan(connection.dialect)
        connection.exec_driver_sql(plan.text, plan.written(values))
        return self._row(**values)


def _named(columns: list[str]) -> Any:
    return namedtuple("Row", columns, defaults=[None] * len(columns))


@dataclass(frozen=True, slots=True)
class _Plan:
    """A statement in the words of one database."""

    text: str
    #: The same for the rows of a JSON text, where that is to be preferred.
    many: str | None
    #: Names in the order of the text, where values have no names there.
    order: list[str] | None
    fixed: Mapping[str, Any]
    into: Mapping[str, Callable[[Any], Any]]
    out_of: list[tuple[int, Callable[[Any], Any]]]
    is_one_text: bool

    def written(self, values: Mapping[str, Any]) -> Any:
        """The values as the driver takes them."""
        given = {**self.fixed, **values}
        for name, process in self.into.items():
            given[name] = process(given[name])
        return given if self.order is None else tuple([given[name] for name in self.order])

    def ask(self, engine: Engine, values: Mapping[str, Any]) -> list[list[Any]]:
        """The rows, as the columns' types read them."""
        connection = engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(self.text, self.written(values))
            rows = cursor.fetchall()
            cursor.close()
        except BaseException:
            connection.invalidate()
            raise
        connection.close()
        read: list[list[Any]] = orjson.loads(rows[0][0]) if self.is_one_text else list(map(list, rows))
        for row in read:
            for place, process in self.out_of:
                row[place] = process(row[place])
        return read


def _planned(statement: Select[*tuple[Any, ...]] | UpdateBase, dialect: Dialect, *, at_once: bool) -> _Plan:
    asked: Select[*tuple[Any, ...]] | UpdateBase = statement
    out_of = []
    if isinstance(statement, Select):
        kinds = [column.type for column in statement.selected_columns]
        out_of = [_impl(kind, dialect).result_processor(dialect, None) for kind in kinds]
        if at_once:
            asked = select(func.json_group_array(func.json_array(*statement.subquery().c)))
    compiled = asked.compile(dialect=dialect)
    binds = compiled.binds
    into = {name: _impl(bind.type, dialect).bind_processor(dialect) for name, bind in binds.items()}
    return _Plan(
        text=compiled.string,
        many=_of_json(compiled.string, len(binds)) if at_once and isinstance(statement, Insert) else None,
        order=compiled.positiontup,
        fixed={name: bind.value for name, bind in binds.items() if not bind.required},
        into={name: process for name, process in into.items() if process is not None},
        out_of=[(place, process) for place, process in enumerate(out_of) if process is not None],
        is_one_text=at_once,
    )


def _in_json(rows: Iterable[Any]) -> Iterator[str]:
    """The rows as JSON texts: all in one, unless they are large and would be in memory twice."""
    gathered: list[bytes] = []
    size = 0
    for row in rows:
        gathered.append(orjson.dumps(row))
        size += len(gathered[-1])
        if size > _JSON_BYTES:
            yield _joined(gathered)
            gathered, size = [], 0
    if gathered:
        yield _joined(gathered)


def _joined(rows: list[bytes]) -> str:
    return f"[{b','.join(rows).decode()}]"


def _of_json(text: str, columns: int) -> str:
    """SQLite's ``INSERT ... VALUES (?, ...)`` for the rows of one JSON text."""
    into, _, rest = text.partition(" VALUES (")
    picked = ", ".join(f"json_extract(value, '$[{column}]')" for column in range(columns))
    # Without a WHERE the grammar takes ON CONFLICT for the condition of a join.
    return f"{into} SELECT {picked} FROM json_each(?) WHERE true{rest.partition(')')[2]}"  # noqa: S608 # nosec B608


def _impl(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return kind.dialect_impl(dialect)
