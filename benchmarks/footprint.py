"""What a server and its workers hold: memory, threads, files, connections, dead children; and its database's rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, inspect, text


def family(pid: int) -> list[int]:
    """A process and its descendants, dead ones that nobody has taken notice of included."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def memory_bytes(pid: int) -> int:
    """Memory of one process, shared pages divided among those who share them (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def open_files(pid: int) -> list[str]:
    """What each open descriptor of a process leads to."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except OSError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Footprint:
    """One look at a server and its workers, added up."""

    memory: int
    threads: int
    files: int
    sockets: int
    zombies: int
    connections: int
    in_transaction: int
    leftovers: int
    is_postgresql: bool

    @classmethod
    def of(cls, pid: int, engine: Engine, folder: Path) -> Footprint:
        """Look.

        Args:
            pid: of the master.
            engine: its database.
            folder: where it puts temporary files.
        """
        pids = family(pid)
        dead = [one for one in pids if _is_dead(one)]
        alive = [one for one in pids if one not in dead]
        files = [name for one in alive for name in open_files(one)]
        connections, in_transaction = _connections(engine, files)
        return cls(
            memory=sum(map(memory_bytes, alive)),
            threads=sum(len(list(Path(f"/proc/{one}/task").iterdir())) for one in alive),
            files=len([name for name in files if not name.startswith("socket:") and not _is_database(name, engine)]),
            sockets=len([name for name in files if name.startswith("socket:")]),
            zombies=len(dead),
            connections=connections,
            in_transaction=in_transaction,
            leftovers=len(list(folder.iterdir())),
            is_postgresql=engine.dialect.name == "postgresql",
        )


def rows_of(engine: Engine) -> dict[str, int]:
    """How many rows each table has."""
    quote = engine.dialect.identifier_preparer.quote
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        return {name: int(connection.execute(text(f"SELECT count(*) FROM {quote(name)}")).scalar_one())
                for name in sorted(names)}  # fmt: skip


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def _is_database(name: str, engine: Engine) -> bool:
    """Whether a file is SQLite's, or one of the two beside it."""
    return engine.dialect.name == "sqlite" and name.removesuffix("-wal").removesuffix("-shm") == engine.url.database


def _connections(engine: Engine, files: list[str]) -> tuple[int, int]:
    """Connections to the database, and those of them that are in a transaction, which SQLite does not tell."""
    if engine.dialect.name != "postgresql":
        return files.count(str(engine.url.database)), 0
    question = text(
        "SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%') FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'keyturn'"
    )
    with engine.connect() as connection:
        row = connection.execute(question).one()
    return int(row[0]), int(row[1])
