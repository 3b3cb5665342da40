"""Names: those that are taken get a number, as in Langflow, and some sound like a secret's."""

from __future__ import annotations

import re

from service.domain.errors import Invalid

NAME_LENGTH = 255
_SECRET = re.compile(
    r"(^|_)(password|passwd|secret|token|credentials?|api_?key|access_key|authorization|headers|env)(_|$)",
    re.IGNORECASE,
)
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def sounds_secret(name: str) -> bool:
    """Say whether what stands under a name such as ``api_key`` or ``clientSecret`` is likely to be a secret."""
    return _SECRET.search(_CAPITAL.sub("_", name).replace("-", "_")) is not None


def numbered(wanted: str, taken: set[str], form: str) -> str:
    """Return the name, or the first one with a number that is free.

    Args:
        wanted: the name.
        taken: names that begin alike.
        form: of a name with a number, such as ``"{} ({})"``.

    Raises:
        Invalid: with a number it would be too long.
    """
    if wanted not in taken:
        return wanted
    for number in range(1, len(taken) + 2):
        name = form.format(wanted, number)
        if name not in taken:
            break
    if len(name) > NAME_LENGTH:
        raise Invalid.field("Value error, the name is taken and too long for a number", "body", "name")
    return name
