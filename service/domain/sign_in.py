"""Limits on guessing passwords, without a way to lock somebody else out.

Two counters. One is per address: whoever guesses from one place is slow. The other is per account, for those who
guess from many places: once it is used up, only addresses from which that account has signed in before may go on.
So the owner stays in from where they work, and an attacker with a thousand addresses is stopped all the same
(OWASP Authentication Cheat Sheet, "Account Lockout"; its device cookies, with the address for the cookie).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address

from service.domain.errors import TooManyAttempts
from service.domain.ports import LimitStore

#: How long an address counts as known for an account.
KNOWN_FOR = timedelta(days=30)
_MINUTE = 60


def network_of(address: str | None) -> str:
    """Return what limits count an address under: an IPv6 network of 64 bits is one household."""
    text = (address or "unknown").partition("%")[0]
    try:
        parsed = ip_address(text)
    except ValueError:
        return text[:64]
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
    return str(parsed)


@dataclass(frozen=True, slots=True)
class SignInLimits:
    """Implements the limits on attempts.

    ``per_minute`` is None where limits are switched off.
    """

    store: LimitStore
    per_minute: int | None
    account_failures: int
    account_seconds: int

    def attempt(self, what: str, address: str | None) -> None:
        """Count an attempt from an address.

        Raises:
            TooManyAttempts: it has used up its attempts of this minute.
        """
        if self.per_minute is None:
            return
        standing = self.store.hit(f"{what}:{network_of(address)}", self.per_minute, _MINUTE)
        if not standing.allowed:
            raise TooManyAttempts(standing.resets)

    def guess(self, account: str, is_known: Callable[[], bool]) -> bool:
        """Count a guess at an account's password; ``guessed`` takes it back when it was right.

        Args:
            account: the normal form of the name, whether or not there is such an account.
            is_known: whether the account has signed in from there before; asked only when it matters.

        Returns:
            Whether it was counted.

        Raises:
            TooManyAttempts: too many wrong ones, and this address is not known.
        """
        if self.per_minute is None:
            return False
        standing = self.store.hit(_subject(account), self.account_failures, self.account_seconds)
        if not standing.allowed and not is_known():
            raise TooManyAttempts(standing.resets)
        return standing.allowed

    def guessed(self, account: str) -> None:
        """Take a guess back that was right."""
        self.store.forgive(_subject(account))

    def own_password(self, user_id: uuid.UUID) -> None:
        """Count an attempt of a signed-in user to change the password.

        Raises:
            TooManyAttempts: too many in this minute.
        """
        if self.per_minute is None:
            return
        standing = self.store.hit(f"password:{user_id}", self.per_minute, _MINUTE)
        if not standing.allowed:
            raise TooManyAttempts(standing.resets)


def _subject(account: str) -> str:
    # A name has up to 300 characters, and may hold anything.
    return "account:" + hashlib.sha256(account.encode("utf-8", "surrogatepass")).hexdigest()
