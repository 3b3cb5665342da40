"""What a key check costs by the number of keys: ``python -m benchmarks.keys [--keys 1000000] [--rounds 10]``.

Two servers of the same settings, one with 1,000 keys in its database and one with a million, are asked ``whoami``
in turn, round by round, each request with another key at random. It prints server CPU per request and the ratio, the
plan of the look-up, the memory of the processes, and how long lists of keys take. ``--database`` is ``sqlite`` or
``postgresql``. ``--uncounted`` leaves out the writing of uses, a row for each key, and so measures the check alone.
The texts of the keys come from a counter, so that nothing has to be remembered.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import random
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text, update
from sqlalchemy.orm import Session

from benchmarks.footprint import family, memory_bytes
from benchmarks.http import cpu_seconds
from benchmarks.soak import database
from service.adapters.key_cache import FOREIGN_SECONDS
from service.domain import key_records, key_text
from service.storage import ApiKey, User
from tests.support.server import BIN, Process, clean_environment, free_port
from tests.support.waiting import wait_until_it_answers

FEW, BATCH, WARM_UP = 1000, 5000, 500
PASSWORD = "benchmark-password-77"


@dataclass
class Server:
    """One server and the keys that its database holds."""

    keys: int
    port: int
    process: Process
    engine: Engine
    cpu: float = 0.0
    requests: int = 0
    seconds: float = 0.0

    def load(self, requests: int, chosen: random.Random) -> None:
        """Ask with another key each time, over one kept connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        # Each once: uses are written by key, so that keys that come again would cost less.
        wanted = [key_of(number) for number in chosen.sample(range(self.keys), min(requests, self.keys))]
        requests = len(wanted)
        before, begun = cpu_seconds(self.process.pid), time.monotonic()
        for key in wanted:
            connection.request("GET", "/api/v1/users/whoami", headers={"x-api-key": key})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"a key was answered with {answer.status}")
        self.cpu += cpu_seconds(self.process.pid) - before
        self.seconds += time.monotonic() - begun
        self.requests += requests
        connection.close()

    def forget(self) -> None:
        """Have it look every key up again: what it keeps in memory ends with a change of a user."""
        with self.engine.begin() as connection:
            # SQLite writes nothing, and tells nobody, where a value stays the same.
            connection.execute(update(User).values(updated_at=datetime.now(UTC)))
        time.sleep(2 * FOREIGN_SECONDS)

    def time_of(self, path: str) -> tuple[float, int]:
        """Milliseconds until the whole answer to a request with the first key is there, and its bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        begun = time.monotonic()
        connection.request("GET", path, headers={"x-api-key": key_of(0)})
        size = len(connection.getresponse().read())
        connection.close()
        return (time.monotonic() - begun) * 1000, size

    @property
    def memory(self) -> float:
        """MiB of the master and the worker."""
        return sum(map(memory_bytes, family(self.process.pid))) / 2**20


def key_of(number: int) -> str:
    """The key of a number: what a server would have made, had chance been so."""
    return key_text.derived(b"benchmark", str(number))


def fill(connection: Connection, count: int) -> None:
    """Make so many keys of the one user, in bulk."""
    owner = connection.execute(select(User.id)).scalar_one()
    if connection.dialect.name == "postgresql":
        _copy(connection, owner, count)
        return
    # Nothing is lost if this is cut short, and the indexes are written in no order.
    for pragma in ("synchronous=OFF", "cache_size=-400000"):
        connection.exec_driver_sql(f"PRAGMA {pragma}")
    for start in range(0, count, BATCH):
        rows = [_row(number, owner) for number in range(start, min(start + BATCH, count))]
        connection.execute(insert(ApiKey), rows)
        connection.commit()


def _copy(connection: Connection, owner: uuid.UUID, count: int) -> None:
    driver: Any = connection.connection.driver_connection
    names = list(_row(0, owner))
    with driver.cursor() as cursor, cursor.copy(f"COPY api_key ({', '.join(names)}) FROM STDIN") as copy:
        for number in range(count):
            copy.write_row(list(_row(number, owner).values()))
    driver.commit()


def _row(number: int, owner: uuid.UUID) -> dict[str, Any]:
    key = key_of(number)
    return {
        "id": uuid.UUID(bytes=hashlib.md5(key.encode(), usedforsecurity=False).digest()),
        "digest": key_text.digest(key), "prefix": key[:8], "length": len(key), "name": f"key {number}",
        "user_id": owner, "is_active": True, "created_at": datetime.now(UTC), "total_uses": 0, "rotations": 0,
    }  # fmt: skip


@contextmanager
def serving(kind: str, keys: int, *, uncounted: bool) -> Iterator[Server]:
    """A server of one worker with so many keys."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(database(kind, folder))
        port = free_port()
        environment = clean_environment(
            LANGFLOW_CONFIG_DIR=str(folder), LANGFLOW_DATABASE_URL=url.render_as_string(hide_password=False),
            LANGFLOW_SUPERUSER_PASSWORD=PASSWORD, LANGFLOW_LOG_LEVEL="error",
            LANGFLOW_DISABLE_TRACK_APIKEY_USAGE=str(uncounted),
        )  # fmt: skip
        process = Process([str(BIN / "keyturn"), "run", "--port", str(port)], folder, environment)
        engine = create_engine(url)
        stack.callback(engine.dispose)
        stack.callback(process.stop)
        wait_until_it_answers(f"http://127.0.0.1:{port}")
        begun = time.monotonic()
        with engine.connect() as connection:
            fill(connection, keys)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE api_key" if kind == "postgresql" else "ANALYZE api_key"))
        print(f"{keys:9} keys made in {time.monotonic() - begun:.0f} s", flush=True)
        yield Server(keys, port, process, engine)


def plan_of(server: Server) -> list[str]:
    """How the database looks a key up, in its own words."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        asked.append((statement, parameters))

    with Session(server.engine) as session:
        connection = session.connection()
        event.listen(server.engine, "before_cursor_execute", note)
        key_records.find(session, key_text.digest(key_of(0)))
        event.remove(server.engine, "before_cursor_execute", note)
        prefix = "EXPLAIN " if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
        rows = connection.exec_driver_sql(prefix + asked[0][0], asked[0][1]).all()
    return [str(row[-1]).strip() for row in rows]


def main() -> None:
    """Fill, ask in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--uncounted", action="store_true")
    asked = parser.parse_args()
    chosen = random.Random(7)
    with ExitStack() as stack:
        few, many = servers = tuple(
            stack.enter_context(serving(asked.database, keys, uncounted=asked.uncounted))
            for keys in (FEW, asked.keys)
        )
        for server in servers:
            server.load(WARM_UP, chosen)
            server.cpu, server.requests, server.seconds = 0.0, 0, 0.0
        for turn in range(asked.rounds):
            for server in servers if turn % 2 else servers[::-1]:
                server.forget()
                server.load(asked.requests, chosen)
        for server in servers:
            cpu, wall = server.cpu / server.requests * 1e6, server.seconds / server.requests * 1e6
            print(f"{server.keys:9} keys: {cpu:5.0f} us of server CPU and {wall:5.0f} us in all for a request; "
                  f"memory {server.memory:.0f} MiB")  # fmt: skip
        ratio = (many.cpu / many.requests) / (few.cpu / few.requests)
        print(f"ratio of CPU per request: {ratio:.3f}")
        for path in ("/api/v1/api_key/", "/api/v1/api_key/?stale=true"):
            times = [server.time_of(path) for server in servers]
            told = ", ".join(f"{one:.0f} ms ({size} bytes)" for one, size in times)
            print(f"GET {path}: {told}")
        print("\n".join(["the look-up:", *(f"  {line}" for line in plan_of(many))]))
        print(json.dumps({"ratio": round(ratio, 3), "database": asked.database, "keys": asked.keys}))


if __name__ == "__main__":
    main()
