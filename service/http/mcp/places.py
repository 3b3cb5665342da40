"""How much of a worker MCP's streams, and callers without a key, may occupy: never all of it."""

from __future__ import annotations

import math

from service.domain.errors import TooManyAttempts
from service.domain.ports import LimitStore
from service.domain.sign_in import network_of
from service.http.db import Services

_BUSY = "This server has as many of these open as it may. Please try again later."


class Places:
    """A place that is taken from several counts at once, or from none.

    Args:
        store: counts in this process.
        bounds: what is counted, and the most of each.
    """

    def __init__(self, store: LimitStore, bounds: list[tuple[str, int]]) -> None:
        self._store, self._bounds = store, bounds

    def enter(self) -> str:
        """Take a place and return its token.

        Raises:
            TooManyAttempts: all are taken.
        """
        tokens: list[str] = []
        for subject, most in self._bounds:
            # Whoever holds a place gives it back or dies with this process, and the counts with it.
            token = self._store.enter(f"mcp:{subject}", most, math.inf)
            if token is None:
                self.leave(" ".join(tokens))
                raise TooManyAttempts(1, _BUSY)
            tokens.append(token)
        return " ".join(tokens)

    def leave(self, token: str) -> None:
        """Give a place back."""
        for (subject, _), part in zip(self._bounds, token.split(), strict=False):
            self._store.leave(f"mcp:{subject}", part)


def keyless_runs(own: Services, address: str | None) -> Places:
    """The runs that callers without a key may have going on at once in this worker; half of them from one address."""
    most = own.settings.mcp_max_keyless_runs
    return Places(own.mcp_places, _shared("runs", most, address))


def streams(own: Services, address: str | None, *, keyless: bool) -> Places:
    """The streams that may be open at once in this worker; half of them without a key, a quarter from one address."""
    most = own.settings.mcp_max_streams
    bounds = _shared("keyless-streams", max(1, most // 2), address) if keyless else []
    return Places(own.mcp_places, [("streams", most), *bounds])


def _shared(kind: str, most: int, address: str | None) -> list[tuple[str, int]]:
    return [(kind, most), (f"{kind}:{network_of(address)}", max(1, most // 2))]
