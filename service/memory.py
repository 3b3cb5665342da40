"""Memory that is no longer needed goes back to the system: glibc's allocator is told how a server uses it.

By itself it keeps what was freed for each thread apart, and after the first large block no longer returns large ones:
every thread that has hashed a password then holds its 19 MiB for ever (mallopt(3), ``M_MMAP_THRESHOLD``).
"""

from __future__ import annotations

import ctypes
import gc
from functools import cache

#: From malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
#: Blocks from this size on are the system's own, and go back to it at once.
_LARGE_BYTES = 1024 * 1024
#: Python lets one thread allocate at a time; only libraries that work without its lock meet in an arena.
_ARENAS = 2


def give_back() -> None:
    """Set this process's allocator, and that of its children; does nothing where it is not glibc's."""
    library = _glibc()
    if library is not None:
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        library.mallopt(_M_ARENA_MAX, _ARENAS)


def share() -> None:
    """Leave what is loaded by now to the processes that are forked from this one, unwritten.

    Looking for garbage writes to every object, and so would copy each page of the parent's into every child.
    """
    gc.collect()
    gc.freeze()


def trim() -> None:
    """Return the pages that are free in the middle, which the allocator keeps by itself."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        library.mallopt, library.malloc_trim  # noqa: B018 - asks whether they are there
    except (AttributeError, OSError):
        return None
    return library
