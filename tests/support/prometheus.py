"""Reading Prometheus's text format."""

from __future__ import annotations

import re

_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="[^"\\\n]*",?)+)\})? ([0-9.e+-]+)')


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Values by name and labels; fails on any line that is none, and on series that come twice."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            continue
        parts = _SAMPLE.fullmatch(line)
        assert parts, line
        labels = frozenset(re.findall(r'([a-z]+)="([^"]*)"', parts[2] or ""))
        assert (parts[1], labels) not in found, line
        found[parts[1], labels] = float(parts[3])
    return found


def value(text: str, name: str, **labels: str) -> float:
    """The sum of the series of a name that have these labels."""
    return sum(number for (found, of), number in samples(text).items() if found == name and set(labels.items()) <= of)
