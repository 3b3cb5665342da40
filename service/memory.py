"""Memory that is no longer needed goes back to the system: glibc's allocator is told how a server uses it.

By itself it keeps what was freed for each thread apart, and after the first large block no longer returns large ones:
every thread that has hashed a password then holds its 19 MiB for ever (mallopt(3), ``M_MMAP_THRESHOLD``).
"""

from __future__ import annotations

import ctypes

#: From malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
#: Blocks from this size on are the system's own, and go back to it at once.
_LARGE_BYTES = 1024 * 1024
#: Python lets one thread allocate at a time; only libraries that work without its lock meet in an arena.
_ARENAS = 2


def give_back() -> None:
    """Set this process's allocator, and that of its children; does nothing where it is not glibc's."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    mallopt(_M_ARENA_MAX, _ARENAS)
