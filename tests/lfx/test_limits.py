"""How much a run of lfx may use, and what becomes of one that uses more, breaks, or lies."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.lfx.conftest import MEGABYTE, store, text_of
from tests.support import lfx
from tests.support.client import Api
from tests.support.waiting import until


@pytest.fixture(scope="module")
def app(start: Callable[..., Flask]) -> Flask:
    """An application whose flows may bring code, with small limits."""
    return start(
        allow_custom_components=True, lfx_memory_mb=300, lfx_max_output_bytes=MEGABYTE, run_timeout=20.0,
        lfx_max_runs=3,
    )  # fmt: skip


def processes_of(app: Flask) -> list[int]:
    """Every process that lfx has forked for a run and that is not gone."""
    forker = app.extensions["keyturn"].lfx.forker.pid
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _parent(entry) == forker]


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return -1


def folders_of(app: Flask) -> list[Path]:
    """The folders of runs that are there."""
    folder = app.extensions["keyturn"].lfx.forker.folder
    return [entry for entry in folder.iterdir() if entry.is_dir() and len(entry.name) == 32]


def test_too_much_memory_is_a_failure_of_that_run(refusal: Callable[..., tuple[int, str]]) -> None:
    status, text = refusal("kept = [bytearray(10_000_000) for _ in range(1000)]")
    assert (status, text) == (500, "The run needed more memory than it may use.")


def test_an_endless_loop_ends_with_the_runs_time(start: Callable[..., Flask], app: Flask) -> None:
    slow = start(allow_custom_components=True, run_timeout=3.0)
    api = Api.of_superuser(slow)
    store(api, lfx.probe("while True: pass"))
    answer = api.post("/run/flow", json={"input_value": "x"})
    assert (answer.status_code, json.loads(answer.json["detail"])["message"]) == (
        504, "The run took longer than 3 seconds.",
    )  # fmt: skip


def test_a_flood_of_output_is_cut_off(refusal: Callable[..., tuple[int, str]]) -> None:
    status, text = refusal("return Message(text='x' * 5_000_000)")
    assert (status, text) == (500, f"The run put out more than {MEGABYTE} bytes.")


def test_a_flood_of_printed_text_harms_nobody(found: Callable[..., dict[str, Any]]) -> None:
    seen = found("import sys", "for _ in range(200): sys.stderr.write('x' * 100_000); print('y' * 100_000)",
                 "found['done'] = True")  # fmt: skip
    assert seen == {"done": True}


def test_nothing_that_a_run_prints_gets_into_the_log(
    found: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    found("import sys", "sys.stderr.write('printed-7d1'); print('printed-7d1')")
    assert "printed-7d1" not in caplog.text


@pytest.mark.parametrize(
    "code",
    ["import os; os._exit(0)", "import os; os._exit(7)", "import os; os.kill(os.getpid(), 11)",
     "import ctypes; ctypes.string_at(0)", "import os; os.abort()"],
)  # fmt: skip
def test_a_crash_is_a_clean_failure(refusal: Callable[..., tuple[int, str]], code: str) -> None:
    status, text = refusal(code)
    assert status == 500
    assert text == "The process that ran this flow ended unexpectedly."


@pytest.mark.parametrize("line", ["[]", '{"end": 1}', '{"end": {"outputs": [1]}}', "nonsense", "[" * 100_000])
def test_nonsense_on_the_wire_is_a_clean_failure(refusal: Callable[..., tuple[int, str]], line: str) -> None:
    status, text = refusal(f"import os, time; os.write(10, {line!r}.encode() + b'\\n'); time.sleep(60)")
    assert (status, text) == (500, "The process that ran this flow gave an answer that cannot be read.")


def test_a_made_up_failure_brings_no_text_into_an_answer(refusal: Callable[..., tuple[int, str]]) -> None:
    told = {"failed": {"kind": "component", "node": f"{lfx.PROBE}-p", "type": "<b>/etc/secret</b>", "where": "sk-1"}}
    line = json.dumps(told)
    _, text = refusal(f"import os, time; os.write(10, {line!r}.encode() + b'\\n'); time.sleep(60)")
    assert text == "Error building Component Escape Probe: The component failed (Exception)."


def test_the_text_of_a_failure_is_told_to_nobody(
    refusal: Callable[..., tuple[int, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    status, text = refusal("raise ValueError('sk-in-the-text ' + '/etc/passwd')")
    assert (status, text) == (500, "Error building Component Escape Probe: The component failed (ValueError).")
    assert "sk-in-the-text" not in caplog.text


def test_runs_go_on_side_by_side_and_one_too_many_is_told_to_come_back(app: Flask, mine: Api) -> None:
    store(mine, lfx.probe("import time; time.sleep(2); found['given'] = given"))

    def run(text: str) -> Any:
        return Api(app, mine.key, mine.user_id).post("/run/flow", json={"input_value": text})

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(run, "abcdef"))
    served = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert 1 <= len(served) <= 5
    assert all(json.loads(text_of(a))["given"] == a.json["outputs"][0]["inputs"]["input_value"] for a in served)
    assert all(a.headers["Retry-After"] for a in answers if a.status_code == 503)


def test_nothing_is_left_of_runs_that_have_ended(app: Flask, refusal: Callable[..., tuple[int, str]]) -> None:
    refusal("import os; os.makedirs('a/b'); open('a/b/c', 'w').close(); os.chmod('a/b', 0); os.chmod('a', 0)",
            "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
            "os._exit(1)")  # fmt: skip
    until(lambda: (processes_of(app), folders_of(app)), lambda left: left == ([], []), 30)


def test_lfx_is_started_again_when_it_has_been_killed(app: Flask, mine: Api) -> None:
    store(mine, lfx.probe("found['ok'] = True"))
    assert text_of(mine.post("/run/flow", json={"input_value": "x"}))
    os.kill(app.extensions["keyturn"].lfx.forker.pid, 9)
    until(lambda: app.extensions["keyturn"].lfx.forker, lambda one: one is None, 30)
    assert text_of(mine.post("/run/flow", json={"input_value": "x"}))


def test_threads_come_to_an_end(app: Flask, found: Callable[..., dict[str, Any]]) -> None:
    seen = found(
        "import threading",
        """
threading.stack_size(65536)
go_on, found["started"] = threading.Event(), 0
try:
    for _ in range(2000):
        threading.Thread(target=go_on.wait, daemon=True).start()
        found["started"] += 1
except RuntimeError:
    pass
go_on.set()
""",
    )
    # The kernel does not count the threads of root, for whom memory is the only limit.
    most = 2000 if app.extensions["keyturn"].settings.lfx_user == "root" else 256
    assert 0 < seen["started"] <= most
