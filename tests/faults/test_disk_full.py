"""The disk of a SQLite database is full, or the log's."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, make_url

from tests.faults.conftest import Server, serving
from tests.faults.making import Maker
from tests.support.client import Api
from tests.support.crowd import Answer
from tests.support.waiting import until


@pytest.fixture
def full(lite: Flask) -> Api:
    """A caller of an application whose database may not grow any more."""
    api = Api.of_superuser(lite)
    own = lite.extensions["keyturn"]

    def limit(connection: Any, _record: Any) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    own.engine.dispose()
    event.listen(own.engine, "connect", limit)
    return api


LARGE = "x" * 100_000


def test_what_cannot_be_stored_is_507_and_not_to_be_tried_again_by_itself(full: Api) -> None:
    answer = full.post("/flows/", json={"name": "large", "data": {"nodes": [], "edges": [], "notes": LARGE}})
    assert (answer.status_code, answer.json) == (507, {"detail": "The server has no space left to store this."})
    assert "Retry-After" not in answer.headers


def test_reading_goes_on(full: Api) -> None:
    full.post("/flows/", json={"name": "large", "data": {"nodes": [], "edges": [], "notes": LARGE}})
    assert [full.get(path).status_code for path in ("/users/whoami", "/flows/", "/variables/")] == [200, 200, 200]


def test_nothing_of_what_was_refused_is_there(full: Api) -> None:
    full.post("/flows/", json={"name": "large", "data": {"nodes": [], "edges": [], "notes": LARGE}})
    assert "large" not in {flow["name"] for flow in full.get("/flows/").json}


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk of a few megabytes, where this process may mount one."""
    folder = tmp_path_factory.mktemp("disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "keyturn-test", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        pytest.skip(f"no disk can be mounted here ({error.strerror})")
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", str(folder)], timeout=60, check=True)


@dataclass
class Story:
    """What was seen while the disk of the database and of the log was full, and after there was room again."""

    made: Maker
    refused: Answer
    asked: dict[str, Answer]
    log: str
    printed: str
    #: The file's own check, and the uses of a key of which nothing else is asked.
    check: str
    uses: int


@pytest.fixture(scope="module")
def story(small_disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    url, log = make_url(f"sqlite:///{small_disk / 'keyturn.db'}"), small_disk / "log"
    to_file = {"LANGFLOW_LOG_FILE": str(log), "LANGFLOW_LOG_LEVEL": "info"}
    with serving(url, tmp_path_factory.mktemp("server"), **to_file) as server:
        made = Maker(server, "disk")
        for make in (made.variable, made.key, made.user, made.flow):
            make()
        used = server.post("/api_key/", json={"name": "used"}).body["api_key"]
        ballast = fill(small_disk)
        refused = until(made.flow, lambda answer: not answer.is_kept, seconds=60)
        asked = {path: server.get(path) for path in ("/health", "/ready", "/variables/")}
        asked["run"] = server.post("/run/keyturn-echo", json={"input_value": "hello"})
        replace_workers(server)
        for _ in range(5):
            asked["whoami"] = server.get("/users/whoami", used)
        ballast.unlink()
        asked["afterwards"] = until(made.flow, lambda answer: answer.is_kept, seconds=30)
        made.look_again()
        server.process.stop()
    with closing(sqlite3.connect(str(url.database))) as connection:
        check = connection.execute("PRAGMA integrity_check").fetchone()[0]
        uses = connection.execute("SELECT total_uses FROM api_key WHERE name = 'used'").fetchone()[0]
    return Story(made, refused, asked, log.read_text(), server.process.output, check, uses)


def replace_workers(server: Server) -> None:
    """Kill every worker, and wait for its successor."""
    former = server.process.workers
    for worker in former:
        os.kill(worker, signal.SIGKILL)
    until(lambda: len(set(server.process.workers) - set(former)) == len(former), seconds=60)
    until(lambda: server.get("/health").status == 200, seconds=60)


def fill(disk: Path) -> Path:
    """Write until nothing more goes in."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return ballast


def test_a_server_on_a_full_disk_refuses_to_write_with_507(story: Story) -> None:
    assert (story.refused.status, tuple(story.refused.body)) == (507, ("detail",))


def test_a_server_on_a_full_disk_reads_and_runs(story: Story) -> None:
    assert {name: answer.status for name, answer in story.asked.items() if answer.status != 200} == {
        "afterwards": 201
    }


def test_once_there_is_room_it_writes_again_and_has_lost_nothing(story: Story) -> None:
    assert (story.made.missing, story.check) == ([], "ok")


def test_uses_of_keys_wait_for_the_room(story: Story) -> None:
    assert story.uses == 5


def test_a_log_that_cannot_be_written_is_told_of_once(story: Story) -> None:
    assert story.printed.count("the log cannot be written") <= 2  # by each of the two workers
    assert "Logging error" not in story.printed
    assert "Traceback" not in story.printed + story.log
