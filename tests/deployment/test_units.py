"""The shipped systemd units: systemd takes them, finds them closed, and gives Keyturn the time that it asks for."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from service.settings import Settings
from tests.conftest import NOTHING_MAY_BE_SKIPPED
from tests.support.server import BIN, ROOT

SHIPPED = ROOT / "docs" / "deployment"
SERVICES = ["keyturn.service", "keyturn-worker.service"]
Analyze = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def analyze(tmp_path: Path) -> Analyze:
    """Ask systemd about the units, of which the program's path alone is exchanged."""
    if shutil.which("systemd-analyze") is None:
        reason = "no systemd-analyze on this machine"
        pytest.fail(reason) if NOTHING_MAY_BE_SKIPPED else pytest.skip(reason)
    for unit in ["keyturn.socket", *SERVICES]:
        text = (SHIPPED / unit).read_text()
        (tmp_path / unit).write_text(text.replace("/opt/keyturn/bin/", f"{BIN}/"))

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["systemd-analyze", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    return ask


def setting_of(unit: str, name: str) -> str:
    found = re.search(rf"^{name}=(.*)$", (SHIPPED / unit).read_text(), re.MULTILINE)
    assert found, f"{unit} has no {name}"
    return found[1]


def test_systemd_has_nothing_to_say_against_the_units(analyze: Analyze) -> None:
    said = analyze("verify", "./keyturn.socket", *(f"./{unit}" for unit in SERVICES))
    ours = [line for line in said.stderr.splitlines() if "keyturn" in line]
    assert (said.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", SERVICES)
def test_systemd_finds_little_that_a_service_could_do_beyond_its_work(analyze: Analyze, unit: str) -> None:
    said = analyze("security", "--offline=true", "--no-pager", "--threshold=15", f"./{unit}")
    assert said.returncode == 0, said.stdout


def test_the_worker_is_closed_like_the_server() -> None:
    closed = [(SHIPPED / unit).read_text().partition("NoNewPrivileges=")[2] for unit in SERVICES]
    assert closed[0] == closed[1] != ""


@pytest.mark.parametrize(("unit", "field"), [(SERVICES[0], "graceful_timeout"), (SERVICES[1], "run_timeout")])
def test_systemd_waits_longer_than_what_is_waited_for(unit: str, field: str) -> None:
    default = Settings.__dataclass_fields__[field].default
    assert int(setting_of(unit, "TimeoutStopSec")) > default


def test_a_wrong_setting_is_not_tried_again_and_again() -> None:
    assert [setting_of(unit, "RestartPreventExitStatus") for unit in SERVICES] == ["3", "3"]
