"""The picture of a flow: boxes and curves, placed where its author put them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT, MARGIN = 200, 64, 24
_GAP_X, _GAP_Y = 90, 28
#: Langflow's nodes are 320 wide; ours are smaller.
_SCALE = 0.62
_LONGEST = 24
_MOST = 500


@dataclass(frozen=True, slots=True)
class Box:
    """One component; ``x`` and ``y`` are its upper left corner in pixels of the picture."""

    id: str
    name: str
    kind: str
    x: float
    y: float

    @property
    def label(self) -> str:
        """The name, cut to the width of the box."""
        return self.name if len(self.name) <= _LONGEST else self.name[: _LONGEST - 1] + "…"


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes, the ``d`` of each curve, and the size in pixels; ``links`` names what leads to what."""

    boxes: tuple[Box, ...]
    curves: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    width: int
    height: int


def graph_of(data: Mapping[str, Any]) -> Picture:
    """Draw ``{"nodes": [...], "edges": [...]}``; what cannot be read is left out."""
    nodes = [node for node in _listed(data, "nodes") if isinstance(node.get("id"), str)][:_MOST]
    nodes = [node for node in nodes if node.get("type") != "noteNode"]
    ends = [(edge.get("source"), edge.get("target")) for edge in _listed(data, "edges")]
    links = [(a, b) for a, b in ends if isinstance(a, str) and isinstance(b, str)]
    places = _placed(nodes) or _layered([node["id"] for node in nodes], links)
    boxes = {
        node["id"]: Box(node["id"], _name(node), _kind(node), x, y)
        for node, (x, y) in zip(nodes, places, strict=True)
    }
    drawn = [(boxes[a], boxes[b]) for a, b in dict.fromkeys(links) if a in boxes and b in boxes]
    width = max((box.x for box in boxes.values()), default=0) + WIDTH + MARGIN
    height = max((box.y for box in boxes.values()), default=0) + HEIGHT + MARGIN
    return Picture(
        tuple(boxes.values()),
        tuple(_curve(a, b) for a, b in drawn),
        tuple((a.name, b.name) for a, b in drawn),
        math.ceil(width),
        math.ceil(height),
    )


def _listed(data: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = data.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _placed(nodes: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]] | None:
    """Where the author put the nodes; None where that is not known, or where boxes would lie on each other."""
    places = []
    for node in nodes:
        position = node.get("position")
        spot = [_coordinate(position.get(axis)) for axis in "xy"] if isinstance(position, dict) else [None]
        x, y = spot[0], spot[-1]
        if x is None or y is None:
            return None
        places.append((x * _SCALE, y * _SCALE))
    if not places or _overlap(places):
        return None
    left, top = min(x for x, _ in places), min(y for _, y in places)
    return [(round(x - left + MARGIN, 1), round(y - top + MARGIN, 1)) for x, y in places]


def _coordinate(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e6 else None


def _overlap(places: Sequence[tuple[float, float]]) -> bool:
    return any(
        abs(x - u) < WIDTH + 8 and abs(y - v) < HEIGHT + 8
        for index, (x, y) in enumerate(places)
        for u, v in places[:index]
    )


def _layered(ids: Sequence[str], links: Sequence[tuple[str, str]]) -> list[tuple[float, float]]:
    """Columns from left to right along the edges; a circle ends where it would begin again."""
    level = dict.fromkeys(ids, 0)
    for _ in range(min(len(ids), 50)):
        moved = False
        for source, target in links:
            if source in level and target in level and level[target] < level[source] + 1 < len(ids):
                level[target], moved = level[source] + 1, True
        if not moved:
            break
    rows: dict[int, int] = {}
    places = []
    for one in ids:
        column = level[one]
        row = rows[column] = rows.get(column, -1) + 1
        places.append((float(MARGIN + column * (WIDTH + _GAP_X)), float(MARGIN + row * (HEIGHT + _GAP_Y))))
    return places


def _curve(a: Box, b: Box) -> str:
    x1, y1, x2, y2 = a.x + WIDTH, a.y + HEIGHT / 2, b.x, b.y + HEIGHT / 2
    bend = max(40.0, abs(x2 - x1) / 2)
    return f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"


def _name(node: Mapping[str, Any]) -> str:
    inner = node.get("data")
    body = inner.get("node") if isinstance(inner, dict) else None
    name = body.get("display_name") if isinstance(body, dict) else None
    return name[:200] if isinstance(name, str) and name else _kind(node)


def _kind(node: Mapping[str, Any]) -> str:
    inner = node.get("data")
    kind = inner.get("type") if isinstance(inner, dict) else None
    return kind[:200] if isinstance(kind, str) and kind else "unknown"
