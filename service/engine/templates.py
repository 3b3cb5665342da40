"""Text templates: ``{name}`` stands for a value, ``{{`` and ``}}`` for braces.

Python's own ``str.format`` is never called with a stored or a caller's template: it would follow attributes and items
into objects, and pad to any width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter

#: (literal text, name of the variable that follows it or None)
Parts = tuple[tuple[str, str | None], ...]

_NAME = re.compile(r"[^\s{}.\[\]!:\"',;?/\\()]+")
_COLUMN = re.compile(r"[^{}.\[\]!:]+")
_MUSTACHE = re.compile(r"\{\{([a-zA-Z_][a-zA-Z0-9_]*)\}\}")


def parse(template: str, *, columns: bool = False) -> Parts:
    """Split a template into literals and names.

    Args:
        template: the text with names in braces.
        columns: names may be those of columns, with blanks in them.

    Raises:
        ValueError: an unpaired brace, or something in braces that is no plain name.
    """
    allowed = _COLUMN if columns else _NAME
    parts: list[tuple[str, str | None]] = []
    for literal, name, spec, conversion in Formatter().parse(template):
        if name is not None and (spec or conversion or not allowed.fullmatch(name)):
            raise ValueError(f"{{{name[:80]}}} is not a variable; write {{{{ and }}}} for braces")
        parts.append((literal, name))
    return tuple(parts)


def parse_mustache(template: str) -> Parts:
    """Split a ``{{name}}`` template; everything else is literal.

    Raises:
        ValueError: sections, partials and the like, which Langflow refuses too.
    """
    pieces = _MUSTACHE.split(template)
    if "{{{" in template or any("{{" in literal for literal in pieces[::2]):
        raise ValueError("only {{name}} is allowed between double braces")
    names = [*pieces[1::2], None]
    return tuple(zip(pieces[::2], names, strict=True))


def names(parts: Parts) -> list[str]:
    """The names in a template, each once, in order."""
    return list(dict.fromkeys(name for _, name in parts if name is not None))


def fill(parts: Parts, values: Mapping[str, str]) -> str:
    """Put values in; a name without one stands for nothing."""
    return "".join([literal if name is None else literal + values.get(name, "") for literal, name in parts])
