"""Comparing texts: what a flow's author writes meets what its callers send.

A regular expression without a time limit could hold a worker for ever, and Python's own ``re`` has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import regex

SECONDS = 1.0
#: Characters of a pattern: nothing limits the time that it takes to be read.
_LONGEST = 10_000

#: Langflow's operators for two texts; the second one is the author's.
COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "equals": lambda text, wanted: text == wanted,
    "not equals": lambda text, wanted: text != wanted,
    "contains": lambda text, wanted: wanted in text,
    "starts with": str.startswith,
    "ends with": str.endswith,
}


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern matches at the start of the text; an unreadable pattern matches nothing.

    Raises:
        ValueError: it took too long, or is too long.
    """
    try:
        return _compiled(pattern).match(text, timeout=SECONDS) is not None
    except regex.error:
        return False
    except TimeoutError:
        raise ValueError("The regular expression takes too long for this text.") from None


def find_all(pattern: str, text: str) -> Iterator[str]:
    """Every match; of groups in one match, their texts together.

    Raises:
        ValueError: the pattern cannot be read, is too long, or it took too long.
    """
    try:
        for match in _compiled(pattern).finditer(text, timeout=SECONDS):
            yield "".join(group or "" for group in match.groups()) if match.re.groups else match[0]
    except regex.error:
        raise ValueError("The regular expression cannot be read.") from None
    except TimeoutError:
        raise ValueError("The regular expression takes too long for this text.") from None


def _compiled(pattern: str) -> regex.Pattern[str]:
    if len(pattern) > _LONGEST:
        raise ValueError(f"A regular expression has more than {_LONGEST} characters.")
    return regex.compile(pattern)
