"""Which class runs which of Langflow's component types."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, ModuleType

from service.engine.component import Component
from service.engine.components import FAMILIES


def _declared(family: ModuleType) -> list[type[Component]]:
    found = (item for item in vars(family).values() if isinstance(item, type) and issubclass(item, Component))
    return [item for item in found if item.names and item.__module__ == family.__name__]


def build(families: tuple[ModuleType, ...] = FAMILIES) -> Mapping[str, type[Component]]:
    """Map every type name and alias to its class.

    Raises:
        ValueError: two classes claim one name.
    """
    registry: dict[str, type[Component]] = {}
    for component in (item for family in families for item in _declared(family)):
        for name in component.names:
            if registry.setdefault(name, component) is not component:
                raise ValueError(f"Two components are called {name}.")
    return MappingProxyType(registry)


CATALOGUE = build()
