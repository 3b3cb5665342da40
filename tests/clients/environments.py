"""Environments of their own for the clients: their pins are theirs, and none of them is installed beside Keyturn.

``tests/clients/NAME/requirements.txt`` becomes a virtual environment, ``tests/clients/NAME/package.json`` a folder
with ``node_modules``; both lie in ``.clients/``, and are made again when the file changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import NOTHING_MAY_BE_SKIPPED
from tests.support.server import ROOT, clean_environment

_PLACE = ROOT / ".clients"


def python_of(name: str) -> Path:
    """The interpreter of a client's virtual environment."""
    pins = Path(__file__).parent / name / "requirements.txt"
    folder = _PLACE / name

    def make() -> None:
        _call([sys.executable, "-m", "venv", str(folder)], ROOT)
        _call([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--requirement", str(pins)], ROOT)

    _made(folder, pins, make)
    return folder / "bin" / "python"


def node_folder_of(name: str) -> Path:
    """A folder with the client's ``node_modules`` and a copy of its scripts."""
    source, folder = Path(__file__).parent / name, _PLACE / name
    if shutil.which("npm") is None:
        _unavailable("npm is not installed")

    def make() -> None:
        folder.mkdir(parents=True)
        shutil.copy(source / "package.json", folder)
        _call(["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"], folder)

    _made(folder, source / "package.json", make)
    for script in source.glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


def run_client(
    command: list[str], cwd: Path, seconds: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a client's program to its end, without anything of this process's that Keyturn or Langflow would read."""
    return subprocess.run(
        command, cwd=cwd, env=clean_environment(**environment), capture_output=True, text=True, timeout=seconds,
        check=False,
    )  # fmt: skip


def _made(folder: Path, pins: Path, make: object) -> None:
    stamp, wanted = folder / ".made", hashlib.sha256(pins.read_bytes()).hexdigest()
    folder.parent.mkdir(exist_ok=True)
    # Files of several workers may need the same environment: the first one makes it.
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        shutil.rmtree(folder, ignore_errors=True)
        try:
            make()  # type: ignore[operator]
        except subprocess.CalledProcessError as error:
            _unavailable(f"{folder.name} could not be installed: {(error.stderr or error.stdout).strip()[-300:]}")
        stamp.write_text(wanted)


def _call(command: list[str], cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=900)


def _unavailable(reason: str) -> None:
    pytest.fail(reason) if NOTHING_MAY_BE_SKIPPED else pytest.skip(reason)
