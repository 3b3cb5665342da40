"""Numbers over several workers: each answer is counted once, and a worker that dies takes none along."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import requests

from tests.support.prometheus import value
from tests.support.server import free_port, running
from tests.support.waiting import until, wait_until_it_answers


def test_numbers_are_those_of_all_workers_and_outlive_a_worker(tmp_path: Path) -> None:
    port, own_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "LANGFLOW_CONFIG_DIR": str(tmp_path), "LANGFLOW_SUPERUSER_PASSWORD": "securepassword",
        "LANGFLOW_WORKERS": "3", "KEYTURN_METRICS": f"127.0.0.1:{own_port}", "KEYTURN_THREADS": "4",
    }  # fmt: skip

    def ask_for_health(times: int) -> None:
        for _ in range(times):
            assert requests.get(f"{url}/health", timeout=60).ok

    def numbers() -> str:
        return requests.get(f"http://127.0.0.1:{own_port}/metrics", timeout=60).text

    def answers() -> float:
        return value(numbers(), "keyturn_requests_total", endpoint="monitor.health", status="2xx")

    with running(["keyturn", "run", "--port", str(port)], tmp_path, **environment) as server:
        wait_until_it_answers(url)
        until(lambda: value(numbers(), "keyturn_workers"), lambda found: found == 3, seconds=60)
        before = answers()
        ask_for_health(60)
        assert answers() == before + 60
        assert {answers() for _ in range(10)} == {before + 60}
        former = server.workers
        os.kill(former[0], signal.SIGKILL)
        until(lambda: server.workers, lambda pids: len(pids) == 3 and former[0] not in pids, seconds=60)
        until(lambda: value(numbers(), "keyturn_workers"), lambda found: found == 3, seconds=60)
        assert answers() == before + 60
        ask_for_health(20)
        assert answers() == before + 80
        assert requests.get(f"{url}/metrics", timeout=60).status_code == 403
        assert requests.get(f"http://127.0.0.1:{own_port}/health", timeout=60).status_code == 404
