"""How much one flow and one run may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Policy = Literal["permissive", "declared", "off"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a flow and of a run.

    Args:
        max_nodes: nodes of a flow after its groups are opened.
        max_steps: component executions in one run.
        max_loop_items: items of one loop.
        wall_seconds: seconds from the start of a run to its end.
        max_input_bytes: UTF-8 bytes of the input value.
        tweaks_policy: which fields callers may set, beyond those that nobody may (LANGFLOW_TWEAKS_POLICY):
            ``permissive`` all others, ``declared`` those that the author has marked, where any is, ``off`` none.
        max_output_bytes: characters that all components of a run may produce together.
    """

    max_nodes: int = 500
    max_steps: int = 1000
    max_loop_items: int = 1000
    wall_seconds: float = 300.0
    max_input_bytes: int = 1_000_000
    max_output_bytes: int = 10_000_000
    tweaks_policy: Policy = "permissive"
