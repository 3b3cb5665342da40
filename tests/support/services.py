"""A PostgreSQL and a Redis of a test's own, to be stopped and started while a server works with them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis
from sqlalchemy import URL

from tests.support.server import free_port
from tests.support.waiting import until

#: PostgreSQL refuses to run as root.
_ACCOUNT = "postgres"


def postgresql_programs() -> Path | None:
    """The folder of PostgreSQL's server programs, which Debian keeps out of the PATH; None: not installed."""
    config = shutil.which("pg_config")
    told = [Path(subprocess.check_output([config, "--bindir"], text=True).strip())] if config else []
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in (*told, *debian) if (folder / "initdb").exists()), None)


class OwnPostgreSQL:
    """A cluster in a temporary folder, on a free port.

    Args:
        programs: where its programs lie.
        folder: an empty one that its account may write.
        options: of ``postgresql.conf``, by name.
    """

    def __init__(self, programs: Path, folder: Path, **options: str) -> None:
        self._programs, self._data = programs, folder / "data"
        self.port = free_port()
        self._run("initdb", "--auth=trust", f"--username={_ACCOUNT}", "--no-sync", "--encoding=UTF8", "--locale=C")
        # A process that ends loses nothing that it has handed to the system, so no disk has to be waited for.
        fixed = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
        }
        self.set(**fixed, **options)

    @property
    def url(self) -> URL:
        return URL.create("postgresql+psycopg", _ACCOUNT, host="127.0.0.1", port=self.port, database=_ACCOUNT)

    def set(self, **options: str) -> None:
        """Change options; they hold from the next start on, or once ``reload`` was called."""
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in options.items())

    def start(self) -> None:
        self._run("pg_ctl", "start", "--wait", "--log", str(self._data / "log"))

    def reload(self) -> None:
        self._run("pg_ctl", "reload")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; ``immediate`` as a crash would, ``fast`` as a host that shuts down, with a word to each client."""
        self._run("pg_ctl", "stop", "--wait", "--mode", mode)

    def ask(self, query: str) -> list[tuple[object, ...]]:
        """Ask it something, past the server that is tested."""
        with psycopg.connect(host="127.0.0.1", port=self.port, user=_ACCOUNT, dbname=_ACCOUNT) as connection:
            return connection.execute(query.encode()).fetchall()

    @property
    def is_running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "--pgdata", str(self._data), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", _ACCOUNT, "--", *command]
        done = subprocess.run(
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@contextmanager
def own_postgresql(programs: Path, **options: str) -> Iterator[OwnPostgreSQL]:
    """A running cluster; it is gone afterwards."""
    # Not in pytest's folders, which are closed to other accounts.
    folder = Path(tempfile.mkdtemp(prefix="keyturn-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, _ACCOUNT)
    made = OwnPostgreSQL(programs, folder, **options)
    try:
        made.start()
        yield made
    finally:
        if made.is_running:
            made.stop()
        shutil.rmtree(folder)


class OwnRedis:
    """A Redis that keeps nothing, on a free port."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder, self.port = program, folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until(self._answers)

    def freeze(self) -> None:
        """Let it take connections and say nothing."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False
