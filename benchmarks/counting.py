"""What it costs to count one answer: ours, and prometheus-client's where it is installed.

python -m benchmarks.counting
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from timeit import repeat

from service.metrics import Meter


def microseconds(act: Callable[[], object]) -> float:
    return min(repeat(act, number=20_000, repeat=7)) / 20_000 * 1e6


def main() -> None:
    meter = Meter()
    meter.know([("users.whoami", "GET")])
    ours = microseconds(lambda: meter.answered("users.whoami", "GET", 200, 0.003))
    print(f"service.metrics    {ours:5.1f} microseconds")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp()
    try:
        import prometheus_client
    except ImportError:
        print("prometheus-client  is not installed")
        return
    answers = prometheus_client.Counter("answers", "Answers.", ["endpoint", "method", "status"])
    seconds = prometheus_client.Histogram("seconds", "Until the answer began.", ["endpoint", "method"])

    def count() -> None:
        answers.labels("users.whoami", "GET", "2xx").inc()
        seconds.labels("users.whoami", "GET").observe(0.003)

    print(f"prometheus-client  {microseconds(count):5.1f} microseconds")


if __name__ == "__main__":
    main()
