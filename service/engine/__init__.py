"""The embedded flow engine: plain Python that knows no Flask, no database and no stored code."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.errors import FlowInvalid
from service.engine.component import Outside
from service.engine.graph import parse
from service.engine.limits import Limits
from service.engine.plan import check_plan, compile_plan
from service.engine.runner import BoundFlow, CompiledFlow

__all__ = ["BoundFlow", "CompiledFlow", "EmbeddedEngine", "Limits", "Outside"]


class EmbeddedEngine:
    """Runs flows in this process; implements ``domain.ports.FlowEngine``.

    Args:
        outside: what flows may reach: models, the web, well-known services.
        limits: bounds of flows and runs.
    """

    def __init__(self, outside: Outside, limits: Limits | None = None) -> None:
        self._outside = outside
        self._limits = limits or Limits()

    def compile(self, data: Mapping[str, object]) -> CompiledFlow:
        """Parse, check and plan ``{"nodes": [...], "edges": [...]}``.

        Raises:
            UnknownComponents: names every component type and model provider that this server lacks.
            FlowInvalid: the graph cannot be run.
        """
        graph = parse(data, max_nodes=self._limits.max_nodes)
        return CompiledFlow(compile_plan(graph, self._outside, self._limits))

    def check(self, data: Mapping[str, object]) -> None:
        """Refuse a graph that goes in circles; a draft that cannot be read yet is let pass.

        Raises:
            FlowInvalid: it goes in a circle that is no loop.
        """
        try:
            graph = parse(data, max_nodes=self._limits.max_nodes)
        except FlowInvalid:
            return
        check_plan(graph)
