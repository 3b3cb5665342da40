"""Which system calls a run is refused, as a program for the kernel's filter (classic BPF).

Refused is what starts, watches or disturbs other processes, what makes sockets, what changes the fence itself, and
what has often been a way out of one. Threads may be started; processes and programs may not. A refused call fails
with EPERM, as an ordinary error, so that a library that can do without goes on.
"""

from __future__ import annotations

Instruction = tuple[int, int, int, int]

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LOAD, _EQUAL, _GREATER, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_CLONE_THREAD = 0x00010000
_INET, _INET6 = 2, 10

#: Numbers by name, for x86_64 and aarch64; None where there is no such call.
_CALLS: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "tkill": (200, 130),
    "setsid": (112, 157), "setpgid": (109, 154), "unshare": (272, 97), "setns": (308, 268),
    "setpriority": (141, 140), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "ioprio_set": (251, 30),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "open_by_handle_at": (304, 265),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "acct": (163, 89),
    "seccomp": (317, 277),
}  # fmt: skip
_CLONE, _CLONE3 = (56, 220), (435, 435)
_KILL_CALL, _TGKILL, _PRLIMIT = (62, 129), (234, 131), (302, 261)
_PRCTL, _SOCKET = (157, 167), (41, 198)


def program(machine: str, pid: int, *, sockets: bool) -> list[Instruction]:
    """The filter for this machine and process.

    Args:
        machine: ``x86_64`` or ``aarch64``.
        pid: of the process itself, the only one that it may send signals to.
        sockets: whether it may speak IP; sockets of the machine itself (AF_UNIX) are refused either way.
    """
    at = 0 if machine == "x86_64" else 1
    code: list[Instruction] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        # The x32 numbers are a second set of all calls.
        (_GREATER, 0, 1, 0x40000000),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
    ]
    for numbers in _CALLS.values():
        number = numbers[at]
        if number is not None:
            code += _when(number, [(_RETURN, 0, 0, _ERRNO | _EPERM)])
    # glibc falls back to clone, whose flags can be seen.
    code += _when(_CLONE3[at], [(_RETURN, 0, 0, _ERRNO | _ENOSYS)])
    threads_only: list[Instruction] = [_argument(0), (_AND, 0, 0, _CLONE_THREAD), *_unless([_CLONE_THREAD])]
    code += _when(_CLONE[at], threads_only)
    code += _when(_KILL_CALL[at], [_argument(0), *_unless([pid])])
    code += _when(_TGKILL[at], [_argument(0), *_unless([pid])])
    code += _when(_PRLIMIT[at], [_argument(0), *_unless([0, pid])])
    # What dies with its parent, and whose memory is nobody else's, has to stay so.
    code += _when(_PRCTL[at], [_argument(0), *_refused([1, 4])])
    code += _when(_SOCKET[at], [_argument(0), *_unless([_INET, _INET6] if sockets else [])])
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _argument(index: int) -> Instruction:
    """Load the lower half of an argument."""
    return (_LOAD, 0, 0, 16 + 8 * index)


def _when(number: int, body: list[Instruction]) -> list[Instruction]:
    """Run ``body``, which always returns, for one call; the number is still loaded after it."""
    return [(_EQUAL, 0, len(body), number), *body]


def _unless(allowed: list[int]) -> list[Instruction]:
    """Allow these values and refuse the others."""
    checks: list[Instruction] = []
    for value in allowed:
        checks += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*checks, (_RETURN, 0, 0, _ERRNO | _EPERM)]


def _refused(values: list[int]) -> list[Instruction]:
    """Refuse these values and allow the others."""
    checks: list[Instruction] = []
    for value in values:
        checks += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    return [*checks, (_RETURN, 0, 0, _ALLOW)]
