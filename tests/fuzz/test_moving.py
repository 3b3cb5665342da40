"""Databases of Langflow in which some cells hold something else: moved as far as it goes, or refused in words."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import make_url
from sqlalchemy.orm import Session

from service.adapters.langflow_database import LangflowDatabase, LangflowDatabaseError
from service.adapters.langflow_secrets import LangflowSecret
from service.domain.audit import BOOT
from service.domain.moving import Move
from tests.fuzz.conftest import FEW

FIXTURES = Path(__file__).parents[1] / "moving" / "fixtures"
NAMES = ["1.5.1-sqlite", "1.13.0-sqlite"]
TABLES = ["apikey", "flow", "folder", "message", "user", "variable"]
CELLS = [
    None, "", "x", "null", "[]", "{}", "[1]",
    '{"nodes": 1}', '{"nodes": [1], "edges": {}}', "5", -1, 2**62, 1.5, b"\x80\xff",
    "2026-99-01", "9999-12-31 23:59:59", "0001-01-01T00:00:00+14:00", "gAAAAA", "a" * 3000, "\x00", "true",
    "00000000000000000000000000000000", '"text"', "{" * 2000, "NaN",
]  # fmt: skip


@pytest.fixture(scope="module")
def moved(make_lasting: Callable[..., Flask], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Change cells of a copy, move it, and take everything back."""
    own = make_lasting().extensions["keyturn"]
    scripts = {name: gzip.decompress((FIXTURES / f"{name}.sql.gz").read_bytes()).decode() for name in NAMES}
    secrets = {name: json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))["secret"] for name in NAMES}
    folder = tmp_path_factory.mktemp("langflow")
    for name, script in scripts.items():
        connection = sqlite3.connect(folder / f"{name}.db")
        connection.executescript(script)
        connection.close()

    def move(name: str, changes: list[tuple[str, float, float, Any]]) -> None:
        path = folder / "changed.db"
        path.write_bytes((folder / f"{name}.db").read_bytes())
        _change(path, changes)
        try:
            source = LangflowDatabase(make_url(f"sqlite:///{path}"), LangflowSecret(secrets[name]))
        except LangflowDatabaseError as error:
            assert str(error)
            return
        try:
            with Session(own.engine) as session:
                # Each step is written, and nothing is committed.
                for _ in Move(session, own.vault, source, BOOT, datetime.now(UTC)).steps():
                    pass
                session.rollback()
        except (LangflowDatabaseError, ValueError) as error:
            assert str(error)
        finally:
            source.close()

    return move


def _change(path: Path, changes: list[tuple[str, float, float, Any]]) -> None:
    connection = sqlite3.connect(path)
    for table, column_at, row_at, cell in changes:
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
        rows = [row[0] for row in connection.execute(f'SELECT rowid FROM "{table}"')]
        if rows:
            column, row = columns[int(column_at * len(columns))], rows[int(row_at * len(rows))]
            # What Langflow's own rules forbid cannot be there.
            connection.execute(f'UPDATE OR IGNORE "{table}" SET "{column}" = ? WHERE rowid = ?', (cell, row))
    connection.commit()
    connection.close()


PART = st.floats(0, 1, exclude_max=True)
CHANGES = st.lists(st.tuples(st.sampled_from(TABLES), PART, PART, st.sampled_from(CELLS)), min_size=1, max_size=4)


@FEW
@given(st.sampled_from(NAMES), CHANGES)
@example(NAMES[0], [("variable", 0.5, 0.0, "0001-01-01T00:00:00+14:00")])
def test_a_database_with_odd_cells_is_moved_or_refused(
    moved: Callable[..., None], name: str, changes: list[tuple[str, float, float, Any]]
) -> None:
    moved(name, changes)
