"""Password hashing: argon2id with OWASP's parameters, bounded in parallel; bcrypt of users from Langflow is read."""

from __future__ import annotations

import os
import threading

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

#: OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
_MEMORY_KIB, _PASSES, _LANES = 19 * 1024, 2, 1
_BCRYPT = ("$2a$", "$2b$", "$2y$")
#: What bcrypt reads of a password; passlib, with which Langflow hashed, dropped the rest without a word.
_BCRYPT_BYTES = 72


class Argon2Hasher:
    """Hashes passwords; at most one at a time per core, so that logins cannot starve the rest."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES)
        self._slots = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._nobody: str | None = None

    def hash(self, password: str) -> str:
        with self._slots:
            return self._hasher.hash(_encoded(password))

    def verify(self, stored: str | None, password: str) -> bool:
        # An unknown user costs as much as a known one, so that time tells nobody who exists.
        if stored is None and self._nobody is None:
            self._nobody = self.hash(os.urandom(16).hex())
        with self._slots:
            if stored is not None and stored.startswith(_BCRYPT):
                return _bcrypt_fits(stored, password)
            try:
                self._hasher.verify(stored or self._nobody or "", _encoded(password))
            except (VerificationError, InvalidHashError):
                return False
        return stored is not None

    def needs_rehash(self, stored: str) -> bool:
        return stored.startswith(_BCRYPT) or self._hasher.check_needs_rehash(stored)


def _bcrypt_fits(stored: str, password: str) -> bool:
    try:
        return bcrypt.checkpw(_encoded(password)[:_BCRYPT_BYTES], stored.encode())
    except ValueError:  # a damaged hash, or a NUL in the password
        return False


def _encoded(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
