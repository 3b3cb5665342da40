"""How many runs may go on at once: of a key, over all workers, and in this process."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from typing import Protocol

from service.domain.errors import TooManyAttempts
from service.domain.permissions import Rights
from service.domain.ports import LimitStore

TOO_MANY_RUNS = "This API key has as many runs going on as it may. Please try again later."


class Slot(Protocol):
    """What holds the runs of somebody to a number."""

    def enter(self) -> str:
        """Take a place and return its token.

        Raises:
            TooManyAttempts: all are taken.
        """

    def leave(self, token: str) -> None:
        """Give a place back."""


@dataclass(frozen=True, slots=True)
class KeySlot:
    """The runs that a key may have going on at once, over all workers.

    ``lease`` is how many seconds a place is held at most, should its holder die.
    """

    store: LimitStore
    subject: str
    most: int
    lease: float

    def enter(self) -> str:
        """Take a place and return its token.

        Raises:
            TooManyAttempts: all are taken.
        """
        token = self.store.enter(self.subject, self.most, self.lease)
        if token is None:
            raise TooManyAttempts(1, TOO_MANY_RUNS)
        return token

    def leave(self, token: str) -> None:
        """Give a place back."""
        self.store.leave(self.subject, token)

    def look(self) -> None:
        """Refuse what would be refused now, without keeping a place.

        Raises:
            TooManyAttempts: all are taken.
        """
        self.leave(self.enter())


def slot_of(rights: Rights | None, key_id: uuid.UUID | None, store: LimitStore, run_timeout: float) -> KeySlot | None:
    """Return what holds the runs of a key to their number; None: there is no such limit."""
    most = rights.max_parallel if rights is not None else None
    if most is None:
        return None
    # Whoever dies in a run gives its place back by the end of the lease.
    return KeySlot(store, f"runs:{key_id}", most, run_timeout * 2 + 60)


class Places:
    """So many runs at once; nobody waits for a place, which is what makes Python's own semaphores slow."""

    __slots__ = ("_free", "_lock")

    def __init__(self, most: int) -> None:
        self._free, self._lock = most, threading.Lock()

    def take(self) -> bool:
        """Take a place; False: there is none."""
        with self._lock:
            if not self._free:
                return False
            self._free -= 1
            return True

    def give_back(self) -> None:
        """Give one's place to the next."""
        with self._lock:
            self._free += 1
