"""What a run may do to the machine: next to nothing. Linux alone can do this; there is no second, weaker fence.

Four walls, each of which holds without the others: limits of the process (``setrlimit``), no new privileges, a list
of refused system calls (seccomp), and a list of the files and ports that may be reached (Landlock).
The numbers are the kernel's: ``linux/seccomp.h``, ``linux/landlock.h``, ``linux/prctl.h``.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from service.adapters.lfx_child.seccomp import AUDIT_ARCH, program

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
_SECCOMP_MODE_FILTER = 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_CAPSET = {"x86_64": 126, "aarch64": 91}
_LAST_CAPABILITY = 63
_MOST_THREADS = 256

#: Rights of Landlock on files: 13 in its first version, one more in each of 2, 3 and 5.
_READ_RIGHTS = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a folder; execute is what loads libraries
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
#: Where Python, its libraries, certificates and the name service lie. No /home, no /root, no /var, no /proc.
_READABLE = (
    "/usr", "/lib", "/lib64", "/bin", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/resolv.conf",
    "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/localtime", "/etc/mime.types",
    "/etc/ld.so.cache", "/dev/urandom", "/dev/random", "/dev/zero", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat",
)  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


class FenceError(OSError):
    """A wall could not be built; nothing may run without it."""


def landlock_version() -> int:
    """The kernel's version of Landlock; 0 where it has none."""
    return max(0, int(_libc.syscall(_LANDLOCK_CREATE, None, 0, 1)))


def has_seccomp() -> bool:
    """Whether this machine's system calls can be filtered here."""
    return platform.machine() in AUDIT_ARCH and Path("/proc/sys/kernel/seccomp").is_dir()


def for_the_forker() -> None:
    """Close what nobody needs: privileges, the memory to others of the same user, core files."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.getuid() == 0:
        _drop_capabilities()


def for_a_run(folder: str, parent: int, ports: Sequence[int] | None, memory: int, seconds: int, file: int) -> None:
    """Shut this process in, for good.

    Args:
        folder: the only place that may be written.
        parent: the process whose death ends this one.
        ports: TCP ports that may be connected to; none: no network at all; None: every port.
        memory: bytes of address space beyond what lfx itself has taken.
        seconds: of processor time.
        file: bytes of the largest file.

    Raises:
        FenceError: a wall could not be built.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    _prctl(_PR_SET_DUMPABLE, 0)
    _limit(memory, seconds, file)
    version = landlock_version()
    if not version:
        raise FenceError("this kernel has no Landlock")
    _landlock(folder, ports, version)
    _seccomp(sockets=ports is None or bool(ports))


def _limit(memory: int, seconds: int, file: int) -> None:
    taken = int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
    for kind, most in (
        (resource.RLIMIT_AS, taken + memory),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_NPROC, _tasks_of(os.getuid()) + _MOST_THREADS),
    ):
        resource.setrlimit(kind, (most, most))
    # The first ends it with SIGXCPU, which can be told apart; the second cannot be caught.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 2))


def _tasks_of(user: int) -> int:
    """How many threads a user has on this machine: the kernel counts all of them against one limit."""
    count = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):  # it has just ended
                facts = dict(line.split(":", 1) for line in Path(entry.path, "status").read_text().splitlines())
                count += int(facts["Threads"]) if int(facts["Uid"].split()[0]) == user else 0
    return count


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise FenceError(ctypes.get_errno(), f"prctl({option}) was refused")


def _drop_capabilities() -> None:
    """Leave root only its name. Without this it could trace, mount and send raw packets."""
    for capability in range(_LAST_CAPABILITY + 1):
        _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
    header, data = struct.pack("=II", 0x20080522, 0), bytes(24)
    if _libc.syscall(_CAPSET[platform.machine()], header, data) != 0:
        raise FenceError(ctypes.get_errno(), "capabilities could not be dropped")


def _landlock(folder: str, ports: Sequence[int] | None, version: int) -> None:
    bits = 13 + (version >= 2) + (version >= 3) + (version >= 5)
    handled = (1 << bits) - 1
    # Ports can be told apart from version 4 on, other processes' sockets and signals from 6 on.
    network = 0b11 if version >= 4 and ports is not None else 0
    if ports and not network:
        raise FenceError("this kernel cannot tell ports apart")
    attributes = struct.pack("=QQQ", handled, network, 0b11 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = _libc.syscall(_LANDLOCK_CREATE, attributes, size, 0)
    if rules < 0:
        raise FenceError(ctypes.get_errno(), "Landlock refused its rules")
    places = {*_READABLE, sys.prefix, sys.base_prefix, *filter(os.path.isdir, sys.path)}
    for place in sorted(map(os.path.realpath, places)):
        _allow(rules, place, _READ_RIGHTS & handled)
    _allow(rules, "/dev/null", 0b110)
    _allow(rules, folder, handled)
    for port in ports or ():
        _libc.syscall(_LANDLOCK_ADD, rules, 2, struct.pack("=QQ", 0b10, port), 0)
    if _libc.syscall(_LANDLOCK_RESTRICT, rules, 0) != 0:
        raise FenceError(ctypes.get_errno(), "Landlock could not be switched on")
    os.close(rules)


def _allow(rules: int, place: str, rights: int) -> None:
    try:
        target = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this machine, or not for this user
    if not Path(place).is_dir():
        rights &= _FILE_RIGHTS
    failed = _libc.syscall(_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", rights, target), 0)
    os.close(target)
    if failed:
        raise FenceError(ctypes.get_errno(), "Landlock refused a rule")


def _seccomp(*, sockets: bool) -> None:
    instructions = program(platform.machine(), os.getpid(), sockets=sockets)
    code = ctypes.create_string_buffer(b"".join(_packed(instructions)), len(instructions) * 8)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    held = Program(len(instructions), ctypes.cast(code, ctypes.c_void_p))
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(held), 0, 0) != 0:
        raise FenceError(ctypes.get_errno(), "system calls could not be filtered")


def _packed(instructions: Iterable[tuple[int, int, int, int]]) -> Iterable[bytes]:
    return (struct.pack("=HBBI", *one) for one in instructions)
