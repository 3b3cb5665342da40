"""Password hashing: argon2id with OWASP's parameters, bounded in parallel; reads Langflow's bcrypt hashes as well."""

from __future__ import annotations

import os
import threading

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

#: OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
_MEMORY_KIB, _PASSES, _LANES = 19 * 1024, 2, 1
#: What Langflow hashes with (``lfx/services/settings/password_hashing.py`` of 1.13, passlib before it).
_LANGFLOW_ROUNDS = 12
#: bcrypt reads no further. Langflow cuts here without a word; bcrypt 5 raises instead.
_BCRYPT_BYTES = 72
#: Where a bcrypt hash begins; ``LIKE`` patterns and ``startswith`` take it alike.
BCRYPT_MARK = "$2"


class Argon2Hasher:
    """Hashes passwords; at most one at a time per core, so that logins cannot starve the rest.

    Args:
        legacy: bcrypt hashes that came from Langflow are stored. Each check then costs one hash of either kind,
            whoever is asked for: bcrypt is ten times slower, and time would tell which names exist. A hasher that
            meets a bcrypt hash behaves so from then on.
    """

    def __init__(self, *, legacy: bool = False) -> None:
        self._hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES)
        self._slots = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._nobody: str | None = None
        self._nobodys_bcrypt: bytes | None = None
        self._legacy = legacy

    def hash(self, password: str) -> str:
        with self._slots:
            return self._hasher.hash(_encoded(password))

    def verify(self, stored: str | None, password: str) -> bool:
        # An unknown user costs as much as a known one, so that time tells nobody who exists.
        if self._nobody is None:
            self._nobody = self.hash(os.urandom(16).hex())
        is_old = is_bcrypt(stored)
        self._legacy = self._legacy or is_old
        if self._legacy and self._nobodys_bcrypt is None:
            self._nobodys_bcrypt = bcrypt.hashpw(os.urandom(16).hex().encode(), bcrypt.gensalt(_LANGFLOW_ROUNDS))
        with self._slots:
            fits = self._fits_argon2(self._nobody if stored is None or is_old else stored, password)
            if self._legacy:
                old = stored.encode() if stored is not None and is_old else self._nobodys_bcrypt or b""
                fits_old = _fits_bcrypt(old, password)
                return fits_old if is_old else fits and stored is not None
        return fits and stored is not None

    def needs_rehash(self, stored: str) -> bool:
        return is_bcrypt(stored) or self._hasher.check_needs_rehash(stored)

    def _fits_argon2(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, _encoded(password))
        except (VerificationError, InvalidHashError):
            return False


def is_bcrypt(stored: str | None) -> bool:
    """Say whether a stored password is a bcrypt hash, as Langflow writes it."""
    return stored is not None and stored.startswith(BCRYPT_MARK)


def _fits_bcrypt(stored: bytes, password: str) -> bool:
    encoded = _encoded(password)
    # As in Langflow, which refuses NUL: to some implementations it ends the password.
    if b"\x00" in encoded:
        return False
    try:
        return bcrypt.checkpw(encoded[:_BCRYPT_BYTES], stored)
    except ValueError:
        return False


def _encoded(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
