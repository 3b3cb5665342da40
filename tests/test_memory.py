"""What was needed for a moment is given back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_CODE = """
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
memory.trim()
print(pages() - before)
done.wait(60)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is set")
def test_threads_that_have_hashed_passwords_do_not_keep_the_memory() -> None:
    grown = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True, timeout=120)
    assert int(grown.stdout) < 19
