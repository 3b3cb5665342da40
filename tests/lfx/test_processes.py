"""A real server with lfx: what happens to its processes when clients go away, when it stops and when it is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support import lfx
from tests.support.flows import Json
from tests.support.server import Process, free_port, run, running
from tests.support.waiting import until, wait_until_it_answers

SLEEP = "import time; time.sleep(300)"


class Place:
    """A running server, with one worker."""

    def __init__(self, url: str, key: str, server: Process) -> None:
        self.url, self.headers, self.server = url, {"x-api-key": key}, server

    def store(self, data: Json, name: str) -> None:
        body = {"name": name, "endpoint_name": name, "data": data}
        made = requests.post(f"{self.url}/api/v1/flows/", json=body, headers=self.headers, timeout=60)
        assert made.status_code == 201, made.text

    def stream(self, name: str) -> tuple[requests.Response, Iterator[bytes]]:
        """Start a run and return as soon as it has said something; the second are the lines that come next."""
        answer = requests.post(f"{self.url}/api/v1/run/{name}?stream=true", json={"input_value": "x"},
                               headers=self.headers, stream=True, timeout=120)  # fmt: skip
        assert answer.status_code == 200, answer.text
        lines = answer.iter_lines()
        assert next(line for line in lines if line)  # empty ones come while lfx is started
        return answer, lines

    def run(self, name: str) -> requests.Response:
        body = {"input_value": "x"}
        return requests.post(f"{self.url}/api/v1/run/{name}", json=body, headers=self.headers, timeout=120)


def forkers(server: Process) -> list[tuple[int, Path]]:
    """The processes that have lfx imported, below a server, with the folders of their runs."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if len(words) > 4 and b"/keyturn-lfx-" in words[4] and _is_below(int(entry.name), server.pid):
            found.append((int(entry.name), Path(words[4].decode())))
    return [one for one in found if _parent(one[0]) not in {pid for pid, _ in found}]


def runs_of(forker: int) -> list[int]:
    return [int(e.name) for e in Path("/proc").iterdir() if e.name.isdigit() and _parent(int(e.name)) == forker]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _is_below(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        pid = _parent(pid)
    return False


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    python, user = lfx.place()
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    settings = {
        "LANGFLOW_CONFIG_DIR": str(folder), "LANGFLOW_SUPERUSER": "administrator",
        "LANGFLOW_SUPERUSER_PASSWORD": "securepassword", "LANGFLOW_ALLOW_CUSTOM_COMPONENTS": "true",
        "KEYTURN_LFX_PYTHON": str(python), "KEYTURN_LFX_USER": user, "KEYTURN_HEARTBEAT_SECONDS": "1",
    }  # fmt: skip
    made = run(["keyturn", "api-key", "--plain"], folder, **settings)
    assert made.returncode == 0, made.stderr
    with running(["keyturn", "run", "--port", str(port), "--workers", "1"], folder, **settings) as server:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_answers(url)
        place = Place(url, made.stdout.strip(), server)
        place.store(lfx.altered(), "quick")
        place.store(lfx.probe(SLEEP), "slow")
        yield place


def test_a_run_ends_when_its_client_goes_away(place: Place) -> None:
    answer, lines = place.stream("slow")
    [(forker, folder)] = forkers(place.server)
    assert len(runs_of(forker)) == 1
    lines.close()
    answer.close()
    until(lambda: (runs_of(forker), [one for one in folder.iterdir() if one.is_dir() and len(one.name) == 32]),
          lambda left: left == ([], []), 60)  # fmt: skip


def test_nothing_survives_a_worker_that_is_killed(place: Place) -> None:
    _answer, _lines = place.stream("slow")
    [(forker, folder)] = forkers(place.server)
    [child] = runs_of(forker)
    os.kill(_parent(forker), signal.SIGKILL)
    until(lambda: (is_gone(child), is_gone(forker), folder.exists()), lambda s: s == (True, True, False), 60)
    # The next worker has a next lfx.
    wait_until_it_answers(place.url)
    assert place.run("quick").status_code == 200


def test_no_run_survives_the_process_that_has_forked_it(place: Place) -> None:
    _, lines = place.stream("slow")
    [(forker, folder)] = forkers(place.server)
    [child] = runs_of(forker)
    os.kill(forker, signal.SIGKILL)
    until(lambda: is_gone(child), seconds=60)
    assert any(b"ended unexpectedly" in line for line in lines)
    until(folder.exists, lambda there: not there, 60)
    assert place.run("quick").status_code == 200


def test_a_server_that_stops_leaves_nothing(place: Place) -> None:
    assert place.run("quick").status_code == 200
    [(forker, folder)] = forkers(place.server)
    place.server.stop()
    until(lambda: (is_gone(forker), folder.exists()), lambda state: state == (True, False), 60)
