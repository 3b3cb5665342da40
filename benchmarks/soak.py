"""Whether a server still holds after many requests what it held after the first thousand, and no more.

``python -m benchmarks.soak [--requests 20000] [--database sqlite|postgresql|URL]`` sends everything that clients do,
the wrong things included, to a server of two workers with model providers on loopback. After each thousand it waits
until nothing runs and prints a line. It ends with status 1 when an answer was not the expected one, when memory has
grown by more than 5 %, when a thread, a connection, a file or a dead child was left, or when rows gather in a table
that nothing bounds.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, make_url

from benchmarks.footprint import Footprint, rows_of
from benchmarks.soak_mix import MIX, PASSWORD, SUPERUSER, Caller, Place, occupy, prepare
from tests.support.databases import empty_database
from tests.support.provider import serving
from tests.support.server import BIN, Process, clean_environment, free_port
from tests.support.waiting import wait_until_it_answers

STEP, CLIENTS, THREADS, WORKERS = 1000, 12, 8, 2
POSTGRESQL = os.environ.get("KEYTURN_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
MOST_GROWTH = 1.05
#: A thread of a pool that comes a little later is no leak; what leaks does so with each of some hundred requests.
SLACK = 2 * WORKERS
#: A pool of connections fills as it is needed: one for each thread, ten for what runs beside them, two that watch.
#: SQLite keeps the files of closed ones for the next.
MOST_CONNECTIONS = WORKERS * (THREADS + 12)
#: Where rows may gather, and what bounds them.
MAY_GROW = {
    "api_key": "what users make", "audit_event": "the audit trail forgets nothing by itself",
    "file": "what users upload", "flow": "what users make", "job": "KEYTURN_JOB_RETENTION_HOURS",
    "key_usage": "a line for each key, day and status; 366 days", "limit_window": "an hour after their window",
    "message": "what users said; they delete it", "run": "366 days", "session_token": "the life of a refresh token",
    "variable": "what users make",
}  # fmt: skip


@dataclass
class Soak:
    """A server under load, and one look at it for each step."""

    place: Place
    process: Process
    engine: Engine
    temporary: Path
    kinds: tuple[str, ...] = ()
    looks: list[Footprint] = field(default_factory=list)

    def send(self, until: int, seed: int) -> None:
        """Have clients send requests until so many were sent."""
        threads = [threading.Thread(target=self._client, args=(until, seed + at)) for at in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def look(self, rest: float = 12) -> Footprint:
        """Wait until nothing runs any more, at least for so many seconds, and look."""
        self._settle(rest)
        self.looks.append(Footprint.of(self.process.pid, self.engine, self.temporary))
        return self.looks[-1]

    def _client(self, until: int, seed: int) -> None:
        caller = Caller(self.place, seed)
        mix = {kind: weight for kind, weight in MIX.items() if kind.__name__ in self.kinds or not self.kinds}
        kinds, weights = list(mix), list(mix.values())
        # The first thousand hold every kind, so that what is loaded when it is first needed is loaded by then.
        first = [] if self.looks else caller.random.sample(kinds, len(kinds))
        try:
            while self.place.sent < until:
                kind = first.pop() if first else caller.random.choices(kinds, weights)[0]
                kind(caller)
        except Exception as error:
            self.place.wrong.append(f"a client ended: {error!r}")
        finally:
            caller.close()

    def _settle(self, rest: float) -> None:
        """Runs whose client hung up are noticed at the next sign of life, kept connections end after 5 seconds, and
        free memory is given back every 10.
        """
        time.sleep(rest)
        deadline = time.monotonic() + 60
        last = None
        while time.monotonic() < deadline:
            found = Footprint.of(self.process.pid, self.engine, self.temporary)
            state = (found.threads, found.sockets, found.files, found.leftovers)
            if state == last:
                return
            last = state
            time.sleep(2)


def broken_rules(looks: list[Footprint], place: Place, grown: dict[str, int]) -> list[str]:
    """What is not as it should be."""
    first, last = looks[0], looks[-1]
    found = list(place.wrong)
    if last.memory > first.memory * MOST_GROWTH:
        found.append(f"memory grew by {(last.memory / first.memory - 1) * 100:.1f} %")
    found += [
        f"{name}: {getattr(first, name)} after the first {STEP}, {getattr(last, name)} at the end"
        for name in ("threads", "files", "sockets", "leftovers")
        if getattr(last, name) - pool_of(last, name) > getattr(first, name) - pool_of(first, name) + SLACK
    ]
    if last.connections > MOST_CONNECTIONS:
        found.append(f"connections: {last.connections}, where {MOST_CONNECTIONS} are what the pools keep")
    found += [f"{name}: {getattr(last, name)}" for name in ("zombies", "in_transaction") if getattr(last, name)]
    found += [f"{rows} rows more in {table}, which nothing bounds" for table, rows in grown.items()
              if table not in MAY_GROW]  # fmt: skip
    return found


def pool_of(look: Footprint, name: str) -> int:
    """Connections to PostgreSQL are sockets too, and are counted apart."""
    return look.connections if name == "sockets" and look.is_postgresql else 0


@contextmanager
def database(wanted: str, folder: Path) -> Iterator[URL]:
    """An empty database: in the folder, or on a PostgreSQL server, where it is dropped in the end."""
    if wanted == "sqlite":
        yield make_url(f"sqlite:///{folder / 'keyturn.db'}")
        return
    server = make_url(POSTGRESQL if wanted == "postgresql" else wanted)
    with empty_database(server) as url:
        yield url


@contextmanager
def soaking(wanted: str) -> Iterator[Soak]:
    """A server of two workers, its providers, and clients that know it."""
    with tempfile.TemporaryDirectory() as name, serving() as quick, serving() as slow:
        folder, port = Path(name), free_port()
        temporary = folder / "tmp"
        temporary.mkdir()
        # Its answers never end by themselves: whoever is asked for one hangs up.
        slow.go_on.clear()
        with database(wanted, folder) as url:
            environment = clean_environment(
                LANGFLOW_CONFIG_DIR=str(folder), LANGFLOW_DATABASE_URL=url.render_as_string(hide_password=False),
                LANGFLOW_SUPERUSER=SUPERUSER, LANGFLOW_SUPERUSER_PASSWORD=PASSWORD, TMPDIR=str(temporary),
                LANGFLOW_RATE_LIMIT_PER_MINUTE="100000", KEYTURN_BAD_KEYS_PER_MINUTE="100000",
                KEYTURN_THREADS=str(THREADS), KEYTURN_HEARTBEAT_SECONDS="1", LANGFLOW_LOG_LEVEL="error",
                KEYTURN_OPENAI_BASE_URL=quick.url, KEYTURN_ANTHROPIC_BASE_URL=slow.url.removesuffix("/v1"),
            )  # fmt: skip
            command = [str(BIN / "keyturn"), "run", "--port", str(port), "--workers", str(WORKERS)]
            process = Process(command, folder, environment)
            engine = create_engine(url)
            try:
                wait_until_it_answers(f"http://127.0.0.1:{port}")
                place = Place(port)
                prepare(place)
                occupy(place, 2 * WORKERS * THREADS)
                yield Soak(place, process, engine, temporary)
            finally:
                status = process.stop()
                engine.dispose()
                if status or "Traceback" in process.output:
                    print(f"the server ended with {status}:\n{process.output[-4000:]}")


def main() -> None:
    """Send, look, and say what is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql, or the URL of a PostgreSQL server")
    names = [kind.__name__ for kind in MIX]
    parser.add_argument("--only", action="append", choices=names, help="this kind of request, to find what leaks")
    asked = parser.parse_args()
    rows: dict[str, int] = {}
    with soaking(asked.database) as soak:
        soak.kinds = tuple(asked.only or ())
        print("requests  memory MiB  threads  files  sockets  connections  leftovers  zombies  seconds", flush=True)
        for step in range(1, max(1, asked.requests // STEP) + 1):
            begun = time.monotonic()
            soak.send(step * STEP, step * 1000)
            seconds = time.monotonic() - begun
            one = soak.look()
            rows = rows or rows_of(soak.engine)
            print(
                f"{soak.place.sent:8}  {one.memory / 2**20:10.1f}  {one.threads:7}  {one.files:5}  {one.sockets:7}  "
                f"{one.connections:11}  {one.leftovers:9}  {one.zombies:7}  {seconds:7.0f}",
                flush=True,
            )
        after = rows_of(soak.engine)
        place = soak.place
    grown = {table: count - rows[table] for table, count in after.items() if count > rows[table]}
    growth = (soak.looks[-1].memory / soak.looks[0].memory - 1) * 100
    print(f"\nmemory at the end beside memory after the first {STEP}: {growth:+.1f} %")
    print("answers by status: " + ", ".join(f"{status}: {count}" for status, count in sorted(place.statuses.items())))
    for table, count in sorted(grown.items()):
        print(f"{count:6} rows more in {table:14} {MAY_GROW.get(table, 'UNBOUNDED')}")
    broken = broken_rules(soak.looks, place, grown)
    print("\n".join(["", *(f"BROKEN: {one}" for one in broken)]) if broken else "\nevery rule holds")
    raise SystemExit(bool(broken))


if __name__ == "__main__":
    main()
