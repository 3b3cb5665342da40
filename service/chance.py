"""Names that have to differ and need not be hard to guess: ids of requests, messages, runs and rows.

The system's randomness is for what opens a door. To ask for it lets another thread in, which costs a busy server more
than the rest of a row. The generator is this module's own: whoever seeds Python's, a library or a test, would have
ids come twice.
"""

from __future__ import annotations

import os
import random
import uuid

_source = random.Random()  # noqa: S311 # nosec B311
# A forked process would go on with the same numbers as its parent.
os.register_at_fork(after_in_child=_source.seed)


def hexadecimal(digits: int) -> str:
    """So many hexadecimal digits."""
    return f"{_source.getrandbits(digits * 4):0{digits}x}"


def octets(count: int) -> bytes:
    """So many bytes."""
    return _source.randbytes(count)


def new_uuid() -> uuid.UUID:
    """A UUID of version 4."""
    return uuid.UUID(int=_source.getrandbits(128), version=4)


def new_id() -> str:
    """The same as text, at half the cost of ``str`` of one."""
    digits = hexadecimal(32)
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
