"""What the second engine costs: ``make bench-lfx``.

Lfx is imported once and forked for each run; beside that stands what a run would cost that started lfx by itself.
Seconds are this machine's.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from service.adapters.lfx import LfxExecutor
from service.adapters.lfx_fence import Fence
from service.adapters.providers import Providers
from service.domain.ports import RunInput, RunSpec
from service.engine import EmbeddedEngine, Limits, Outside
from service.engine.elsewhere import ElsewhereEngine
from tests.golden.recipes import CHAT, TALK
from tests.support import lfx

FLOW_ID = "00000000-0000-4000-8000-000000000001"
SPEC = RunSpec(FLOW_ID, FLOW_ID, RunInput("hello"))
RUNS = 30


def seconds(work: Callable[[], object], runs: int = RUNS) -> float:
    """The median of several calls."""
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def cpu_of_runs(forker: int) -> float:
    """Seconds of processor time of all runs that a forker has seen end (``proc_pid_stat(5)``)."""
    fields = Path(f"/proc/{forker}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def started() -> LfxExecutor:
    python, user = lfx.place()
    executor = LfxExecutor(Fence(python, user=user), most=4, most_bytes=10_000_000)
    executor.lacking(frozenset())
    return executor


def main() -> None:
    """Time starts and runs."""
    began = time.perf_counter()
    executor = started()
    start = time.perf_counter() - began
    engine = ElsewhereEngine(executor, Outside(Providers({})), Limits(), "nobody has")
    chat = engine.compile(lfx.exported(CHAT, TALK)).bind({})
    more = engine.compile(lfx.altered()).bind({})
    own = EmbeddedEngine(Outside(Providers({}))).compile(lfx.exported(CHAT, TALK)).bind({})

    def alone() -> None:
        second = started()
        second.close()

    assert executor.forker is not None
    forker = executor.forker.pid
    size = Path(f"/proc/{forker}/status").read_text()
    memory = next(line.split()[1] for line in size.splitlines() if line.startswith("VmRSS"))
    print(f"start of lfx, once for each worker   {start:8.2f} s")
    print(f"memory of that process               {int(memory) / 1024:8.0f} MB")
    print(f"a chat, embedded                     {seconds(lambda: list(own.run(SPEC, {}))) * 1e3:8.2f} ms")
    print(f"the same in lfx, forked              {seconds(lambda: list(chat.run(SPEC, {}))) * 1e3:8.0f} ms")
    print(f"with a component that only lfx has   {seconds(lambda: list(more.run(SPEC, {}))) * 1e3:8.0f} ms")
    before = cpu_of_runs(forker)
    seconds(lambda: list(more.run(SPEC, {})))
    print(f"the same, processor time alone       {(cpu_of_runs(forker) - before) / RUNS * 1e3:8.0f} ms")
    print(f"without forking, the start alone     {seconds(alone, 3) * 1e3:8.0f} ms")
    executor.close()


if __name__ == "__main__":
    main()
