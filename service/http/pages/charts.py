"""Charts as numbers for a template to draw: bars of a fixed frame, no script and no style of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 110
_GAP = 2


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its rectangle in pixels, how much of it is trouble, and what it says."""

    x: float
    y: float
    width: float
    height: float
    bad_y: float
    bad_height: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars from left to right, the value that the frame's height stands for, and the names of both ends."""

    bars: tuple[Bar, ...]
    most: int
    first: str
    last: str


def bars(values: Sequence[tuple[str, int, int]]) -> Chart:
    """Draw (name, value, how many of them are trouble)."""
    most = max((value for _, value, _ in values), default=0)
    step = WIDTH / max(1, len(values))
    drawn = []
    for index, (name, value, bad) in enumerate(values):
        height, bad_height = (HEIGHT * part / most if most else 0.0 for part in (value, min(bad, value)))
        drawn.append(
            Bar(
                round(index * step, 1), round(HEIGHT - height, 1), round(max(1.0, step - _GAP), 1), round(height, 1),
                round(HEIGHT - bad_height, 1), round(bad_height, 1), f"{name}: {value}",
            )
        )  # fmt: skip
    return Chart(tuple(drawn), most, values[0][0] if values else "", values[-1][0] if values else "")
