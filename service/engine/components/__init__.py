"""The components, one file per family.

A new component is one class in a family's file; a new family is one file and one name in ``FAMILIES``.
"""

from __future__ import annotations

from types import ModuleType

from service.engine.components import (
    agents,
    files,
    flows,
    inputs_outputs,
    logic,
    memory,
    models,
    processing,
    prompts,
    records,
    search,
    structured,
    utilities,
    vendors,
    web,
)

FAMILIES: tuple[ModuleType, ...] = (
    inputs_outputs,
    prompts,
    models,
    vendors,
    agents,
    structured,
    memory,
    files,
    processing,
    records,
    logic,
    flows,
    web,
    search,
    utilities,
)
