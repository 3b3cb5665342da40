"""Numbers about this server for Prometheus, counted over all workers.

The workers share one piece of memory that gunicorn's master makes before it forks: a slot for each, into which it
alone writes, and a new worker goes on in the slot of one that ended, so that nothing counted is lost. Whoever is
asked adds the slots up. Every series is known at start (endpoints, methods, classes of statuses, outcomes), so no
label can hold what a caller sent, and no number of callers makes more of them.

prometheus-client does this with files for each process that ever lived, and takes ten times as long for a request
(docs/security.md).
"""

from __future__ import annotations

import mmap
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

#: Upper bounds of the classes of durations, in seconds.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OUTCOMES = ("done", "failed", "cancelled")
#: Stands for what matched no route, and for methods that HTTP does not know.
OTHER = "other"

# A slot: these, and behind them a row for each endpoint and method: statuses by class, durations by class, seconds.
_PID, _STREAMS, _CONNECTIONS, _LIMITED, _RUNS = range(5)
_GAUGES = (_STREAMS, _CONNECTIONS)
_FIRST_ROW = _RUNS + len(OUTCOMES)
_CLASSES = 5
_SECONDS = _CLASSES + len(BUCKETS) + 1
_ROW = _SECONDS + 1
_SLOT = 16_384

Sample = tuple[Mapping[str, object], float]
#: Kind, explanation and samples, by name.
Metrics = dict[str, tuple[str, str, list[Sample]]]


class Board:
    """Slots of numbers in memory that is shared with processes which are forked later.

    Args:
        slots: how many processes count at most.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._numbers = memoryview(mmap.mmap(-1, slots * _SLOT * 8)).cast("d")
        self._free = list(range(slots))

    def take(self) -> int | None:
        """In the master: a slot for a new worker; None: there is none left, and that worker is not counted."""
        return self._free.pop(0) if self._free else None

    def give_back(self, slot: int) -> None:
        """In the master: a worker has ended. What it counted stays; what was open with it is not any more."""
        numbers = self.of(slot)
        for place in (_PID, *_GAUGES):
            numbers[place] = 0
        self._free.insert(0, slot)

    def of(self, slot: int) -> memoryview[float]:
        """The numbers of a slot."""
        return self._numbers[slot * _SLOT : (slot + 1) * _SLOT]

    def pids(self) -> list[int]:
        """The workers that live."""
        return [pid for slot in range(self.slots) if (pid := int(self.of(slot)[_PID]))]

    def total(self, place: int) -> float:
        """The sum of a number over all slots."""
        return sum(self._numbers[place::_SLOT])


#: Of this process and its siblings; set by gunicorn's hooks.
_mine: list[tuple[Board, int, int]] = []


def occupy(board: Board, slot: int, pid: int) -> None:
    """In a new worker: count into this slot from now on."""
    _mine[:] = [(board, slot, pid)]


class Meter:
    """Counts for one application."""

    def __init__(self) -> None:
        # Without gunicorn there is one process, and a board of its own.
        self.board, slot, pid = _mine[0] if _mine else (Board(1), 0, 0)
        self._mine = self.board.of(slot)
        self._mine[_PID] = pid
        self._lock = threading.Lock()
        self.know([])

    def know(self, routes: Iterable[tuple[str, str]]) -> None:
        """Learn endpoint and method of each route; all workers have the same.

        Raises:
            ValueError: there are more than a slot has room for.
        """
        names = [(OTHER, method) for method in (*METHODS, OTHER)] + sorted(set(routes))
        if len(names) * _ROW + _FIRST_ROW > _SLOT:
            raise ValueError(f"{len(names)} routes and methods need a larger _SLOT in service/metrics.py")
        self._rows = {name: _FIRST_ROW + number * _ROW for number, name in enumerate(names)}

    def answered(self, endpoint: str | None, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        row = self._rows.get((endpoint or OTHER, method)) or self._row_of_other(method)
        mine, took = self._mine, row + _CLASSES + bisect_left(BUCKETS, seconds)
        # Threads take turns between reading a number and writing it, so they need the lock.
        with self._lock:
            mine[row + status // 100 - 1] += 1
            mine[took] += 1
            mine[row + _SECONDS] += seconds
            if status == 429:
                mine[_LIMITED] += 1

    def ran(self, outcome: str) -> None:
        """Count a run that is over."""
        with self._lock:
            self._mine[_RUNS + OUTCOMES.index(outcome)] += 1

    def stream(self, change: int) -> None:
        """A stream was opened (1) or closed (-1)."""
        with self._lock:
            self._mine[_STREAMS] += change

    def connection(self, change: int) -> None:
        """A connection of the pool was taken (1) or given back (-1)."""
        with self._lock:
            self._mine[_CONNECTIONS] += change

    def text(self, more: Metrics) -> str:
        """All numbers, in Prometheus's text format.

        Args:
            more: what whoever asks has found out beside.
        """
        total = self.board.total
        found: Metrics = {
            "keyturn_requests_total": ("counter", "Answers.", list(self._statuses())),
            "keyturn_request_seconds": ("histogram", "Until the answer began.", []),
            "keyturn_rate_limited_total": ("counter", "Answers with status 429.", [({}, total(_LIMITED))]),
            "keyturn_runs_total": ("counter", "Runs of flows that are over.", [
                ({"outcome": name}, total(_RUNS + number)) for number, name in enumerate(OUTCOMES)
            ]),
            "keyturn_streams_open": ("gauge", "Streamed answers that go on.", [({}, total(_STREAMS))]),
            "keyturn_database_connections_in_use": ("gauge", "Of all workers' pools.", [({}, total(_CONNECTIONS))]),
            **more,
        }  # fmt: skip
        lines: list[str] = []
        for name, (kind, explanation, samples) in found.items():
            lines += [f"# HELP {name} {explanation}", f"# TYPE {name} {kind}"]
            lines += [_line(name, labels, value) for labels, value in samples]
            if kind == "histogram":
                lines += self._durations(name)
        return "\n".join([*lines, ""])

    def _row_of_other(self, method: str) -> int:
        return self._rows[OTHER, method if method in METHODS else OTHER]

    def _statuses(self) -> Iterator[Sample]:
        for (endpoint, method), row in self._rows.items():
            for number in range(_CLASSES):
                if value := self.board.total(row + number):
                    yield {"endpoint": endpoint, "method": method, "status": f"{number + 1}xx"}, value

    def _durations(self, name: str) -> Iterator[str]:
        for (endpoint, method), row in self._rows.items():
            counts = [self.board.total(row + _CLASSES + number) for number in range(len(BUCKETS) + 1)]
            if not any(counts):
                continue
            labels, so_far = {"endpoint": endpoint, "method": method}, 0.0
            for bound, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
                so_far += count
                yield _line(f"{name}_bucket", labels | {"le": bound}, so_far)
            yield _line(f"{name}_sum", labels, self.board.total(row + _SECONDS))
            yield _line(f"{name}_count", labels, so_far)


def _line(name: str, labels: Mapping[str, object], value: float) -> str:
    inner = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{inner}}} {value:.12g}" if inner else f"{name} {value:.12g}"
