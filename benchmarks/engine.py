"""The embedded engine beside lfx, Langflow's own executor, in one run: ``make bench-engine``.

Both run the same flows against the same loopback provider. lfx builds its graph for each run, as Langflow's server
does; Keyturn compiles a flow once for each version and binds it for each run. Ratios are what counts: the machine
decides about the seconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.adapters.providers import providers
from service.domain.ports import RunInput, RunSpec
from service.engine import EmbeddedEngine, Limits, Outside
from tests.support import flows
from tests.support.provider import serving

FLOW_ID = "00000000-0000-4000-8000-000000000001"
LABELS = {"chat": "chat", "chain": "chain of ten nodes", "agent": "agent with two tools"}
RUNS = {"chat": 5000, "chain": 2000, "agent": 50}
KEYS = {"OPENAI_API_KEY": "sk-bench"}


def seconds(work: Callable[[], object], runs: int) -> tuple[float, float]:
    """CPU and time of one call, the first ones left out."""
    for _ in range(3):
        work()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(runs):
        work()
    return (time.process_time() - cpu) / runs, (time.perf_counter() - wall) / runs


def one_run(engine: EmbeddedEngine, flow: Any, request: Any) -> Callable[[], object]:
    """A run as the server does it: the compiled flow is bound and run."""
    compiled = engine.compile(flow)
    spec = RunSpec(FLOW_ID, FLOW_ID, RunInput(request["input_value"]))
    return lambda: list(compiled.bind({}).run(spec, KEYS))


def compare(engine: EmbeddedEngine, of_lfx: dict[str, Any]) -> None:
    """Print lfx's cost over Keyturn's."""
    print(f"{'CPU of one run':24}{'Keyturn':>12}{'lfx':>12}{'ratio':>8}{'time, ratio':>14}")
    for name, other in of_lfx.items():
        cpu, wall = seconds(one_run(engine, other["flow"], other["request"]), RUNS[name])
        print(
            f"{LABELS[name]:24}{cpu * 1e6:10.0f} µs{other['cpu'] * 1e3:9.1f} ms"
            f"{other['cpu'] / cpu:8.0f}{other['time'] / wall:14.0f}"
        )


def growth(engine: EmbeddedEngine) -> None:
    """Print how the cost grows with the number of nodes."""
    print(f"\n{'nodes':>8}{'run':>12}{'per node':>12}{'compile':>12}")
    for count in (3, 10, 30, 100, 300):
        data = flows.prompt_chain(count - 2)
        run, _ = seconds(one_run(engine, data, {"input_value": "x"}), max(20, 6000 // count))
        made, _ = seconds(lambda data=data: engine.compile(data), max(5, 600 // count))  # type: ignore[misc]
        print(f"{count:8}{run * 1e6:10.0f} µs{run / count * 1e6:10.1f} µs{made * 1e3:9.2f} ms")


def main() -> None:
    """Time both engines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("golden", type=Path, help="lfx's environment, as `make golden` makes it")
    python = parser.parse_args().golden / "bin" / "python"
    with serving() as provider:
        command = [python.absolute(), "-m", "benchmarks.engine_lfx", provider.url]
        done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True)
        models = providers(openai_base_url=provider.url)
        engine = EmbeddedEngine(Outside(models), Limits(max_nodes=1000))
        compare(engine, json.loads(done.stdout.splitlines()[-1]))
        growth(engine)
        models.close()


if __name__ == "__main__":
    main()
