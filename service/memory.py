"""Memory that is no longer needed goes back to the system: glibc's allocator is told how a server uses it.

By itself it keeps what was freed for each thread apart, and after the first large block no longer returns large ones:
every thread that has hashed a password then holds its 19 MiB for ever (mallopt(3), ``M_MMAP_THRESHOLD``).
"""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import cache

#: From malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
#: Blocks from this size on, such as uploads, are the system's own: they go back to it at once and leave no holes.
_LARGE_BYTES = 128 * 1024
#: Python lets one thread allocate at a time, and each arena has holes of its own.
_ARENAS = 1


class _SetAside:
    """How many modules were loaded when what they hold was last set aside; 0: this process is no server's."""

    modules = 0


def give_back() -> None:
    """Set this process's allocator, and that of its children; does nothing where it is not glibc's."""
    library = _glibc()
    if library is not None:
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        library.mallopt(_M_ARENA_MAX, _ARENAS)


def share() -> None:
    """Set aside what is there by now: no later look for garbage comes to it.

    Looking writes to every object, and so would copy each page into every process that is forked from this one.
    """
    _SetAside.modules = len(sys.modules)
    gc.collect()
    gc.freeze()


def tidy() -> None:
    """Look for garbage, in a server's process, and return the pages that are free in the middle of the heap.

    By themselves both wait: the collector until a quarter of all objects is new, glibc for ever. What was loaded
    since the last time is set aside, for it stays: with the SDKs of model providers in it, every later look for
    garbage would stop all threads for a tenth of a second.
    """
    if len(sys.modules) > _SetAside.modules > 0:
        share()
    elif _SetAside.modules:
        gc.collect()
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
