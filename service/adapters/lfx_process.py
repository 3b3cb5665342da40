"""The process that has lfx imported: started once for each worker, when the first flow needs it.

It runs under the interpreter of lfx's own environment, as an unprivileged user, with environment variables that hold
nothing of the server's. What it runs is ``lfx_child``, sent as one archive in memory, so that its user need not be
able to read Keyturn's own folders.
"""

from __future__ import annotations

import io
import json
import logging
import os
import pwd
import shutil
import socket
import subprocess  # the interpreter that the operator names, never a shell # nosec B404
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from service.adapters.lfx_fence import Fence
from service.domain.errors import EngineFailed

log = logging.getLogger(__name__)

_START_SECONDS = 120.0
_STOP_SECONDS = 10.0
_MOST_BYTES = 2_000_000
_PACKAGE = "service.adapters.lfx_child"


@dataclass(slots=True)
class Child:
    """One run's process, seen from here: its socket, what it writes to standard error, and how it has ended."""

    id: str
    wire: socket.socket
    errors: int
    ended: threading.Event = field(default_factory=threading.Event)
    status: int | None = None

    def close(self) -> None:
        """Give both handles back."""
        self.wire.close()
        os.close(self.errors)


class Forker:
    """The started process; a new one is made when this one has ended.

    Args:
        fence: what its runs may use.

    Raises:
        EngineFailed: it did not come up.
    """

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._lock = threading.Lock()
        self._children: dict[str, Child] = {}
        self._is_over = self._is_closing = False
        #: Where its runs have their folders.
        self.folder = Path(tempfile.mkdtemp(prefix="keyturn-lfx-"))
        self._control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with other:
                self._process = self._started(other)
        except BaseException:
            self._control.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        try:
            ready = self._first_words()
        except BaseException:
            self.close()
            raise
        self.names = frozenset(ready["names"])
        self.that_run_code = frozenset(ready["that_run_code"])
        threading.Thread(target=self._listen, name="lfx", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return not self._is_over and self._process.poll() is None

    def launch(self) -> Child:
        """Fork a process for one run.

        Raises:
            EngineFailed: there is nobody to do it.
        """
        fence = self._fence
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        child = Child(uuid.uuid4().hex, ours, reading)
        mine = {
            "run": child.id,
            "ports": None if fence.ports is None else list(fence.ports),
            "memory": fence.memory,
            "seconds": max(1, round(fence.seconds)),
            "file": fence.file,
            "environment": fence.environment(),
        }
        with self._lock:
            self._children[child.id] = child
        try:
            socket.send_fds(self._control, [json.dumps(mine).encode()], [theirs.fileno(), writing])
        except OSError:
            self._forget(child, None)
            child.close()
            raise EngineFailed(EngineFailed.GONE) from None
        finally:
            theirs.close()
            os.close(writing)
        return child

    def kill(self, child: Child) -> None:
        """End a run, whatever it does; ``child.ended`` tells when it is gone."""
        with suppress(OSError):
            self._control.send(json.dumps({"kill": child.id}).encode())

    def close(self) -> None:
        """End it with all its runs, and remove its folder."""
        self._is_over = self._is_closing = True
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._control.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _started(self, other: socket.socket) -> subprocess.Popen[bytes]:
        whom: dict[str, Any] = {}
        if os.getuid() == 0:
            account = pwd.getpwnam(self._fence.user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            whom = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}
        home = {"HOME": str(self.folder), "TMPDIR": str(self.folder)}
        archive = _archive()
        try:
            with (self.folder / "errors").open("wb") as errors:
                return subprocess.Popen(  # noqa: S603 - the operator's own interpreter # nosec B603
                    [self._fence.python, "-I", f"/proc/self/fd/{archive}", str(other.fileno()), str(self.folder)],
                    env=self._fence.environment() | home, cwd=self.folder, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=errors, pass_fds=(archive, other.fileno()),
                    start_new_session=True, **whom,
                )  # fmt: skip
        except OSError as error:
            log.error("lfx could not be started: %s", type(error).__name__)
            raise EngineFailed(EngineFailed.NOT_STARTED) from None
        finally:
            os.close(archive)

    def _first_words(self) -> Mapping[str, Any]:
        self._control.settimeout(_START_SECONDS)
        try:
            text = self._control.recv(_MOST_BYTES)
            ready: Mapping[str, Any] = json.loads(text)["ready"]
        except (OSError, ValueError, KeyError):
            with suppress(OSError):
                last = (self.folder / "errors").read_text("utf-8", "replace").strip().splitlines()[-1:]
                log.error("lfx could not be started: %s", "".join(last)[:300] or "no answer")
            raise EngineFailed(EngineFailed.NOT_STARTED) from None
        self._control.settimeout(None)
        return ready

    def _listen(self) -> None:
        """Note how runs end, until the process itself has."""
        while True:
            try:
                text = self._control.recv(_MOST_BYTES)
            except OSError:
                text = b""
            if not text:
                break
            said = json.loads(text)
            with self._lock:
                child = self._children.get(said["ended"])
            if child is not None:
                self._forget(child, said["status"])
        self._is_over = True
        with self._lock:
            left = list(self._children.values())
        for child in left:
            self._forget(child, None)
        if not self._is_closing:
            # It was killed, so nobody else removes what its runs have written.
            self._process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _forget(self, child: Child, status: int | None) -> None:
        with self._lock:
            self._children.pop(child.id, None)
        child.status = status
        child.ended.set()


class Forkers:
    """The one started process of this worker, made when it is first asked for and again when it has ended."""

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._lock = threading.Lock()
        self._current: Forker | None = None
        self._failed_at = -1e9

    @property
    def living(self) -> Forker | None:
        """The process, where it has been started and lives."""
        current = self._current
        return current if current is not None and current.is_alive else None

    def current(self) -> Forker:
        """Return it; the first call takes seconds.

        Raises:
            EngineFailed: it does not come up; it is not tried again within five seconds.
        """
        with self._lock:
            if self._current is not None and self._current.is_alive:
                return self._current
            if self._current is not None:
                self._current.close()
                self._current = None
            if time.monotonic() - self._failed_at < 5:
                raise EngineFailed(EngineFailed.NOT_STARTED)
            try:
                self._current = Forker(self._fence)
            except EngineFailed:
                self._failed_at = time.monotonic()
                raise
            return self._current

    def close(self) -> None:
        """End it."""
        with self._lock:
            if self._current is not None:
                self._current.close()
                self._current = None


def _archive() -> int:
    """A file in memory with the program, that any user may read through its handle."""
    packed = io.BytesIO()
    folder = resources.files(_PACKAGE)
    with zipfile.ZipFile(packed, "w") as archive:
        parts = _PACKAGE.split(".")
        for depth in range(1, len(parts)):
            archive.writestr("/".join(parts[:depth]) + "/__init__.py", "")
        for source in folder.iterdir():
            if source.name.endswith(".py"):
                archive.writestr(f"{'/'.join(parts)}/{source.name}", source.read_text("utf-8"))
        archive.writestr("__main__.py", (folder / "__main__.py").read_text("utf-8"))
    handle = os.memfd_create("lfx")
    os.write(handle, packed.getvalue())
    return handle
