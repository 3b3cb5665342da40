"""Every row of every table of the models, as it stands in the database."""

from __future__ import annotations

import threading
from typing import Any

from flask import Flask
from sqlalchemy import Table, select

from service.storage import Base

Row = dict[str, Any]
#: table -> primary key -> row
Rows = dict[str, dict[tuple[Any, ...], Row]]

TABLES: dict[str, Table] = dict(Base.metadata.tables)
#: table -> column -> the table that it points to
POINTERS: dict[str, dict[str, str]] = {
    name: {column.name: key.column.table.name for column in table.columns for key in column.foreign_keys}
    for name, table in TABLES.items()
}

#: What the server writes of its own accord at any request: rows may come, and none that is there may change.
COUNTERS = {"key_usage", "limit_window", "limit_lease"}
OF_THE_SERVER = COUNTERS | {"audit_event"}


def dump(app: Flask) -> Rows:
    """Read everything, after what is still in memory is written."""
    for thread in threading.enumerate():
        if thread.name == "run":  # a webhook's, that nobody waits for
            thread.join(30)
    own = app.extensions["keyturn"]
    own.usage.flush()
    own.messages.flush()
    own.run_log.flush()
    found: Rows = {}
    with own.engine.connect() as connection:
        for name, table in TABLES.items():
            keys = [column.name for column in table.primary_key]
            rows = (dict(row) for row in connection.execute(select(table)).mappings())
            found[name] = {tuple(row[key] for key in keys): row for row in rows}
    return found


def owners_of(table: str, row: Row) -> set[str]:
    """The users that a row points to; of a user the user itself."""
    if table == "user":
        return {str(row["id"])}
    return {str(row[column]) for column, other in POINTERS[table].items() if other == "user" and row[column]}


def without(rows: Rows, *users: str) -> Rows:
    """The rows that are none of these users'."""
    return {
        table: {key: row for key, row in found.items() if not owners_of(table, row) & set(users)}
        for table, found in rows.items()
    }


def changes(before: Rows, after: Rows) -> set[str]:
    """What moved in the rows that were there before: ``table.column``, or ``table`` for a row that is gone."""
    moved = set()
    for table, rows in before.items():
        for key, row in rows.items() if table not in COUNTERS else ():
            now = after[table].get(key)
            if now is None:
                moved.add(table)
            else:
                moved |= {f"{table}.{column}" for column, value in row.items() if now[column] != value}
    return moved


def added(before: Rows, after: Rows) -> list[tuple[str, Row]]:
    """The rows that were not there before, but for those that the server writes by itself."""
    return [
        (table, row)
        for table, rows in after.items()
        for key, row in rows.items()
        if table not in OF_THE_SERVER and key not in before[table]
    ]
