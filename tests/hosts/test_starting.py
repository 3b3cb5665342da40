"""What stands in the way of a host that joins others, and what clocks that differ change: nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text

from service import boot
from service.settings import Settings
from service.storage import schema
from tests.conftest import NOTHING_MAY_BE_SKIPPED, PASSWORD, SECRET, SUPERUSER
from tests.hosts.conftest import Host, Place, environment_of, started
from tests.hosts.test_hosts import of_many, run
from tests.support import flows
from tests.support.databases import empty_database
from tests.support.mcp import request_of
from tests.support.provider import serving
from tests.support.server import run as run_to_its_end
from tests.support.waiting import until

pytestmark = pytest.mark.postgresql


@pytest.fixture(scope="module")
def database(postgresql_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """A database that a first host has made."""
    with empty_database(postgresql_server) as url:
        first = Settings(
            config_dir=tmp_path_factory.mktemp("first"), database_url=url, secret_key=SECRET, superuser=SUPERUSER,
            superuser_password=PASSWORD,
        )  # fmt: skip
        boot.prepare(first)
        yield url


def refused(url: URL, folder: Path, **more: str) -> str:
    """What a second host says that must not start."""
    ended = run_to_its_end(["keyturn", "run", "--port", "1"], folder, **environment_of(url, folder) | more)
    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1), ended.stderr
    return ended.stderr


def test_a_host_with_another_secret_does_not_start(database: URL, tmp_path: Path) -> None:
    said = refused(database, tmp_path, LANGFLOW_SECRET_KEY="another-secret-0123456789-0123456789")
    assert "is not the one that this database was encrypted with" in said


def test_a_host_that_makes_a_secret_of_its_own_does_not_start(database: URL, tmp_path: Path) -> None:
    said = refused(database, tmp_path, LANGFLOW_SECRET_KEY="")
    assert "is not the one that this database was encrypted with" in said


@pytest.mark.parametrize(
    ("version", "says"),
    [("9999", "newer than this Keyturn"), ("0001", "run `keyturn db upgrade`")],
    ids=["newer", "older"],
)
def test_a_host_of_another_schema_does_not_start(database: URL, tmp_path: Path, version: str, says: str) -> None:
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
    try:
        assert says in refused(database, tmp_path, KEYTURN_AUTO_MIGRATE="false")
    finally:
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": schema.code_version()})
        engine.dispose()


@cache
def faketime() -> str | None:
    """The library that gives a process another clock."""
    if shutil.which("faketime") is None:
        return None
    told = subprocess.run(["faketime", "+1s", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or None


#: Seconds by which the clock of the second host is ahead: more than NTP ever lets happen, and more than MCP's streams
#: live without a sign of their holder.
AHEAD = 90


@pytest.fixture(scope="module")
def apart(database: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Two hosts, the second of which is ahead of the first."""
    library = faketime()
    if library is None:
        reason = "faketime is not installed"
        pytest.fail(reason) if NOTHING_MAY_BE_SKIPPED else pytest.skip(reason)
    root = tmp_path_factory.mktemp("apart")
    with serving() as provider:
        hosts = [
            Host(root / name, environment_of(database, root / name, KEYTURN_OPENAI_BASE_URL=provider.url, **more))
            for name, more in (
                ("on time", {}),
                ("ahead", {"LD_PRELOAD": library, "FAKETIME": f"+{AHEAD}s", "DONT_FAKE_MONOTONIC": "1"}),
            )
        ]
        with started(hosts, database, provider) as place:
            yield place


def test_hosts_whose_clocks_differ_count_a_keys_requests_in_one_window(apart: Place) -> None:
    key = apart.new_key(rate_limit={"requests": 10, "window_seconds": 60})["api_key"]
    assert of_many(30, lambda number: apart.turn(number).status("/users/whoami", key)) == {200: 10, 429: 20}


def test_a_host_that_is_ahead_leaves_the_jobs_and_streams_of_others_alone(apart: Place) -> None:
    name = apart.new_flow(flows.echo(), mcp_enabled=True)
    apart.provider.go_on.clear()
    apart.provider.failures.append("hold")
    job_id = run(apart.here, apart.model_flow(), apart.key, background=True).json()["id"]
    assert apart.provider.arrived.wait(60)
    with apart.here.ask("GET", "/mcp/sse", apart.key, stream=True) as stream:
        lines = stream.iter_lines(chunk_size=1)
        endpoint = next(line for line in lines if line.startswith(b"data: /")).decode()[6:]
        # Whoever opens a stream sweeps up those that have ended.
        apart.there.ask("GET", "/mcp/sse", apart.key, stream=True).close()
        call = request_of("tools/call", {"name": name, "arguments": {"input_value": "hi"}}, 7)
        assert apart.there.ask("POST", endpoint, apart.key, json=call).status_code == 202
        assert b'"hi"' in next(line for line in lines if line.startswith(b"data: {"))
    assert apart.there.make("GET", f"/jobs/{job_id}", apart.key)["status"] == "running"
    apart.provider.go_on.set()
    done = until(lambda: apart.there.make("GET", f"/jobs/{job_id}", apart.key)["status"], lambda s: s != "running")
    assert done == "done"
