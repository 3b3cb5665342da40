"""Two engines as one: a flow runs embedded where that can be, and elsewhere otherwise."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.errors import UnknownComponents
from service.domain.ports import CompiledFlow, FlowEngine
from service.engine.elsewhere import ElsewhereEngine


class EitherEngine:
    """Implements ``domain.ports.FlowEngine`` with two of them.

    Args:
        embedded: this process's own engine.
        elsewhere: the other one.
        always_elsewhere: never use the first.
    """

    def __init__(self, embedded: FlowEngine, elsewhere: ElsewhereEngine, *, always_elsewhere: bool) -> None:
        self._embedded, self._elsewhere, self._always = embedded, elsewhere, always_elsewhere

    def compile(self, data: Mapping[str, object]) -> CompiledFlow:
        """Parse, check and plan a flow; see ``domain.ports.FlowEngine``."""
        if self._always:
            return self._elsewhere.compile(data)
        try:
            return self._embedded.compile(data)
        except UnknownComponents:
            return self._elsewhere.compile(data)

    def check(self, data: Mapping[str, object]) -> None:
        """Refuse a graph that goes in circles; see ``domain.ports.FlowEngine``."""
        self._embedded.check(data)
