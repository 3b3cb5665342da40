"""Keyturn as its users start it: a process of its own on a real port."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]


def clean_environment(**values: str) -> dict[str, str]:
    """The environment of this process without anything that Keyturn would read."""
    ours = re.compile(r"LANGFLOW_|KEYTURN_|.*_API_KEY$")
    return {name: value for name, value in os.environ.items() if not ours.match(name)} | values


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A started server, and what it printed."""

    def __init__(self, command: list[str], cwd: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, text: str, seconds: float = 60) -> str:
        """Wait until the server has printed a text; returns everything printed so far."""
        with self._changed:
            found = self._changed.wait_for(lambda: text in "".join(self._lines) or self._ended, seconds)
            printed = "".join(self._lines)
        assert found, f"{text!r} was not printed in time:\n{printed}"
        assert text in printed, f"the server ended without printing {text!r}:\n{printed}"
        return printed

    def stop(self) -> int:
        """End it as an operator would, and return its status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(60)
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    def kill(self) -> None:
        """End it as a host does that loses its power."""
        self._process.kill()
        self._process.wait(60)

    def ask_to_stop(self) -> None:
        """Send SIGTERM, and do not wait."""
        self._process.send_signal(signal.SIGTERM)

    def children(self) -> list[int]:
        """The processes that it has forked."""
        pid = self._process.pid
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @property
    def _ended(self) -> bool:
        return not self._reader.is_alive() and self._process.poll() is not None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        self._process.wait()
        with self._changed:
            self._changed.notify_all()


@contextmanager
def running(command: list[str], cwd: Path, **environment: str) -> Iterator[Process]:
    """Run a command of the environment's bin folder, and stop it in the end."""
    process = Process([str(BIN / command[0]), *command[1:]], cwd, clean_environment(**environment))
    try:
        yield process
    finally:
        process.stop()


def run(command: list[str], cwd: Path, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment's bin folder to its end."""
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=cwd, env=clean_environment(**environment), input=text,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
