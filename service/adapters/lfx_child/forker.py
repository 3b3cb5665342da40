"""A process that has lfx imported and forks for each run. It never sees a flow: that goes to the run itself.

It hears ``{"run": id, ...}`` with a socket and a pipe, and ``{"kill": id}``; it says ``{"ready": ...}`` once and
``{"ended": id, "status": number}`` for each run. When the server's end closes, for whatever reason, it kills every
run, removes every file and ends.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.adapters.lfx_child import fence

Json = dict[str, Any]
_MOST_BYTES = 200_000
_LOOK_SECONDS = 5.0


@dataclass
class _Run:
    id: str
    pid: int
    handle: int
    deadline: float
    folder: Path


class Forker:
    """Forks, watches and cleans up; has one thread, so that forking is safe."""

    def __init__(self, control: socket.socket, place: Path, stock: Any) -> None:
        self._control, self._place, self._stock = control, place, stock
        self._parent = os.getppid()
        self._runs: dict[int, _Run] = {}

    def serve(self) -> None:
        """Work until the server has gone away."""
        try:
            while self._round():
                pass
        finally:
            for run in list(self._runs.values()):
                self._end(run)
            _clear(self._place)

    def _round(self) -> bool:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        for handle in self._runs:
            poll.register(handle, select.POLLIN)
        nearest = min((run.deadline for run in self._runs.values()), default=time.monotonic() + _LOOK_SECONDS)
        found = dict(poll.poll(max(0.0, min(nearest - time.monotonic(), _LOOK_SECONDS)) * 1000))
        for handle in found:
            if handle in self._runs:
                self._end(self._runs[handle])
        for run in list(self._runs.values()):
            if run.deadline <= time.monotonic():
                self._end(run)
        if self._control.fileno() in found:
            return self._hear()
        # The socket closes when the server dies; this is for the case that somebody else holds its end.
        return os.getppid() == self._parent

    def _hear(self) -> bool:
        try:
            text, handles, _, _ = socket.recv_fds(self._control, _MOST_BYTES, 4)
        except OSError:
            return False
        if not text:
            return False
        said = json.loads(text)
        if "kill" in said:
            for run in [one for one in self._runs.values() if one.id == said["kill"]]:
                self._end(run)
        else:
            self._start(said, handles)
        for handle in handles:
            os.close(handle)
        return True

    def _start(self, said: Json, handles: list[int]) -> None:
        folder = self._place / said["run"]
        folder.mkdir(mode=0o700)
        me = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(said, handles, folder, me)
        deadline = time.monotonic() + said["seconds"]
        run = _Run(said["run"], pid, os.pidfd_open(pid), deadline, folder)
        self._runs[run.handle] = run

    def _become(self, said: Json, handles: list[int], folder: Path, parent: int) -> None:
        """Be a run, in the forked process; does not return."""
        status = 70
        try:
            os.setpgid(0, 0)
            wire, errors = socket.socket(fileno=os.dup2(handles[0], 10)), os.dup2(handles[1], 2)
            os.dup2(os.open("/dev/null", os.O_RDWR), 0)
            os.dup2(errors, 1)
            os.closerange(3, 10)
            os.closerange(11, 65_536)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(said["environment"], HOME=str(folder), TMPDIR=str(folder))
            tempfile.tempdir = None
            _run(wire, said, folder, parent, self._stock)
            status = 0
        except BaseException as error:  # the process ends here in any case
            with contextlib.suppress(OSError):
                os.write(2, f"{type(error).__name__}\n".encode())
        finally:
            os._exit(status)

    def _end(self, run: _Run) -> None:
        """Kill a run with everything that it may have started, and say how it ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(run.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(run.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(run.pid, 0)[1])
        os.close(run.handle)
        del self._runs[run.handle]
        _clear(run.folder)
        with contextlib.suppress(OSError):
            self._control.send(json.dumps({"ended": run.id, "status": status}).encode())


def _clear(folder: Path) -> None:
    """Remove a folder, also one whose inner folders a run has shut."""
    for place, _, _ in os.walk(folder):
        for inner in Path(place).iterdir():
            if inner.is_dir() and not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _run(wire: socket.socket, said: Json, folder: Path, parent: int, stock: Any) -> None:
    from service.adapters.lfx_child import flow

    lines = wire.makefile("rwb")
    fence.for_a_run(str(folder), parent, said["ports"], said["memory"], said["seconds"], said["file"])
    order = json.loads(lines.readline())

    def tell(line: Json) -> None:
        lines.write(json.dumps(line, default=str).encode() + b"\n")
        lines.flush()

    flow.run(order, stock, tell, folder)


def main() -> None:
    """Import lfx, say what it has, and serve. The arguments are the control socket's number and a folder."""
    control, place = socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])
    control.set_inheritable(False)
    fence.for_the_forker()
    from lfx.preload import prewarm_core_imports

    from service.adapters.lfx_child.stock import Stock

    prewarm_core_imports(warmup_run=False)
    stock = Stock()
    from service.adapters.lfx_child.flow import warm_up

    warm_up(stock, place)

    ready = {"names": sorted(stock.names), "that_run_code": sorted(stock.that_run_code)}
    gc.collect()
    gc.freeze()
    control.send(json.dumps({"ready": ready}).encode())
    Forker(control, place, stock).serve()
