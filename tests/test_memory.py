"""What was needed for a moment is given back."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from typing import Any

import pytest

_HASHING = """
import threading
from pathlib import Path
from service import memory
from service.adapters.passwords import Argon2Hasher

def pages():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20

memory.give_back()
hasher = Argon2Hasher()
hasher.hash("warm up")
before, done = pages(), threading.Barrier(9)

def work():
    hasher.hash("password")
    done.wait(60)  # the thread stays, with whatever its part of the heap holds
    done.wait(60)

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
done.wait(60)
memory.tidy()
print(pages() - before)
done.wait(60)
"""
#: Garbage in a circle, and a module that is loaded late, as a provider's SDK is.
_LATE = """
import gc, json, sys, weakref
from service import memory

class Thing:
    pass

def gone(late=None):
    thing = Thing()
    thing.itself, seen = thing, weakref.ref(thing)
    del thing
    if late:
        __import__(late)
    before = gc.get_freeze_count()
    memory.tidy()
    return seen() is None, gc.get_freeze_count() > before

gc.disable()
as_found = gone("sqlite3")
memory.share()
print(json.dumps({"elsewhere": as_found, "server": gone(), "server, late": gone("xml.dom.minidom"), "then": gone()}))
"""


def _printed_by(code: str) -> Any:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is set")
def test_threads_that_have_hashed_passwords_do_not_keep_the_memory() -> None:
    assert _printed_by(_HASHING) < 19


@pytest.fixture(scope="module")
def tidied() -> Any:
    """By place: whether garbage was gone, and whether what was loaded late was set aside."""
    return _printed_by(_LATE)


@pytest.mark.parametrize("place", ["server", "server, late", "then"])
def test_a_server_looks_for_garbage_when_it_tidies(tidied: Any, place: str) -> None:
    assert tidied[place][0]


def test_a_server_sets_aside_what_was_loaded_late_and_nothing_else(tidied: Any) -> None:
    assert [tidied[place][1] for place in ("server", "server, late", "then")] == [False, True, False]


def test_the_collector_of_a_process_that_is_no_server_is_left_alone(tidied: Any) -> None:
    assert tidied["elsewhere"] == [False, False]
