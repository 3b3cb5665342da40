"""How deep JSON goes: what is nested without end could be stored, and then not be written out again."""

from __future__ import annotations

from typing import Any


def is_deeper(content: Any, levels: int) -> bool:
    """Say whether lists and objects lie in one another for more than so many levels."""
    parts = [content]
    for _ in range(levels):
        below = (part.values() if isinstance(part, dict) else part for part in parts)
        parts = [item for items in below for item in items if isinstance(item, dict | list)]
        if not parts:
            return False
    return True
