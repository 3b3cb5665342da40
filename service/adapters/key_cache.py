"""Checked keys and found flows kept in memory, only where a change is still seen at the very next request."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Hashable
from pathlib import Path
from time import monotonic
from typing import Any

from service.storage.generation import Generation

#: Seconds after which a commit of another program is seen at the latest.
FOREIGN_SECONDS = 0.05
_MOST = 10_000

#: The mark of Keyturn's own commits, and what SQLite says of everybody's.
Version = tuple[bytes | None, int]


class NoCache:
    """For a shared database: each look-up is one indexed query."""

    def version(self) -> Version | None:
        return None

    def get(self, key: Hashable, version: Hashable | None) -> Any:  # noqa: ARG002 - the other cache's shape
        return None

    def put(self, key: Hashable, version: Hashable | None, value: object) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Nothing to close."""


class CommitCache:
    """For SQLite: entries hold until anybody commits anything.

    A commit of Keyturn, in whichever process, is seen at once by the database's mark (``storage/generation.py``). One
    of another program, an operator's SQL, is seen by ``PRAGMA data_version`` within ``FOREIGN_SECONDS``.

    The version is read *before* the look-up whose result it stamps, so a look-up that is overtaken by a revocation is
    never kept as current. A key's entry lies under the full digest, a flow's under owner and name.

    Args:
        path: the database file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._generation = Generation(path)
        self._lock = threading.Lock()
        self._pid = 0
        self._connection: sqlite3.Connection | None = None
        self._data_version, self._look_again = 0, 0.0
        self._newest: Version | None = None
        self._entries: dict[Hashable, tuple[Hashable, Any]] = {}

    def version(self) -> Version | None:
        mark = self._generation.read()
        if mark is None or monotonic() >= self._look_again:
            try:
                self._look()
            except sqlite3.Error:
                # Whatever it is, the look-up itself meets it too, and knows what to answer.
                return None
        version = mark, self._data_version
        if version != self._newest:
            # What was stamped before is never used again, and must not fill the memory.
            self._newest, self._entries = version, {}
        return version

    def _look(self) -> None:
        with self._lock:
            if self._pid != os.getpid() or self._connection is None:
                self._connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
                # Another connection counts anew, so its numbers mean nothing to older entries.
                self._pid, self._entries = os.getpid(), {}
            self._look_again = monotonic() + FOREIGN_SECONDS
            self._data_version = self._connection.execute("PRAGMA data_version").fetchone()[0]

    def get(self, key: Hashable, version: Hashable | None) -> Any:
        entry = self._entries.get(key)
        return entry[1] if entry is not None and entry[0] == version else None

    def put(self, key: Hashable, version: Hashable | None, value: object) -> None:
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
            self._connection, self._look_again = None, 0.0
