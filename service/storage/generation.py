"""A mark beside a SQLite database that changes with every commit of Keyturn, and is read without asking the system.

``PRAGMA data_version`` tells of every program's commits, but each such question lets other threads in, which costs a
busy server several times what the answer does. So what Keyturn commits is announced here, to all its processes at
once; what another program commits has to be looked for (``adapters/key_cache.py``).
"""

from __future__ import annotations

import logging
import mmap
import os
import sqlite3
from functools import cached_property
from pathlib import Path

from service.chance import octets

log = logging.getLogger(__name__)

_SIZE = 8


class Generation:
    """The mark of one database: a file of its name with ``-generation`` behind it, opened at the first use."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def read(self) -> bytes | None:
        """Return the mark; None: there can be none, and every commit has to be looked for."""
        mark = self._mark
        return None if mark is None else mark[:]

    def change(self) -> None:
        """Announce a commit; to be called when it is done, and before anybody is told."""
        if self._mark is not None:
            # It only has to differ. A number that is counted up would need a lock over all processes.
            self._mark[:] = octets(_SIZE)

    @cached_property
    def _mark(self) -> mmap.mmap | None:
        path = self._database.with_name(f"{self._database.name}-generation")
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            _tell(path, error)
            return None
        try:
            if os.geteuid() == 0:
                # A command of root's must not shut the server out.
                owner = self._database.stat()
                os.fchown(file, owner.st_uid, owner.st_gid)
            if os.fstat(file).st_size < _SIZE:
                # Written, not only made longer: storing into a mapped hole on a full disk ends the process (SIGBUS).
                os.pwrite(file, octets(_SIZE), 0)
            return mmap.mmap(file, _SIZE)
        except OSError as error:
            _tell(path, error)
            return None
        finally:
            os.close(file)


def _tell(path: Path, error: OSError) -> None:
    log.warning("%s cannot be used, which costs each request some time: %s", path, error.strerror)


class Telling(sqlite3.Connection):
    """A connection that may be told to keep its next commit to itself."""

    #: Of the transaction that goes on: see ``storage.engine.begin_write``.
    is_quiet = False


def announcing(database: Path) -> type[Telling]:
    """Return a kind of connection that changes the mark of a database after each commit that wrote something."""
    generation = Generation(database)

    class Announcing(Telling):
        _announced = 0

        def commit(self) -> None:
            super().commit()
            # Its count of changed rows, those of transactions that were undone included.
            if self.total_changes != self._announced:
                self._announced = self.total_changes
                if not self.is_quiet:
                    generation.change()

    return Announcing
