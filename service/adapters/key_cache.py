"""Checked keys and found flows kept in memory, only where a change is still seen at the very next request."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Hashable
from pathlib import Path
from typing import Any

_MOST = 10_000


class NoCache:
    """For a shared database: each look-up is one indexed query."""

    def version(self) -> int | None:
        return None

    def get(self, key: Hashable, version: int | None) -> Any:  # noqa: ARG002 - the other cache's shape
        return None

    def put(self, key: Hashable, version: int | None, value: object) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Nothing to close."""


class DataVersionCache:
    """For SQLite: entries hold until anybody commits anything.

    ``PRAGMA data_version`` changes with each commit of every other connection, in this process and in
    others, and costs microseconds. It is read *before* the look-up whose result it stamps, so a look-up
    that is overtaken by a revocation is never kept as current. A key's entry lies under the full digest, a flow's
    under owner and name.

    Args:
        path: the database file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._pid = 0
        self._connection: sqlite3.Connection | None = None
        self._entries: dict[Hashable, tuple[int, Any]] = {}

    def version(self) -> int | None:
        with self._lock:
            if self._pid != os.getpid() or self._connection is None:
                self._connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
                self._pid, self._entries = os.getpid(), {}
            row: tuple[int] = self._connection.execute("PRAGMA data_version").fetchone()
            return row[0]

    def get(self, key: Hashable, version: int | None) -> Any:
        entry = self._entries.get(key)
        return entry[1] if entry is not None and entry[0] == version else None

    def put(self, key: Hashable, version: int | None, value: object) -> None:
        if version is None:
            return
        if len(self._entries) >= _MOST:
            self._entries = {}
        self._entries[key] = (version, value)

    def close(self) -> None:
        """Close the connection that watches the file."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None
