"""Keyturn under gunicorn beside a bare Flask application with the same bytes and the same gunicorn settings.

The same bytes are the body and every header: what an answer has to say costs the bare one as much.

``python -m benchmarks.http [--rounds 5] [--requests 1500]`` loads both in turn, round by round, over kept
connections, and prints requests per second, p50, p99 and server CPU per request as ratios of one run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 4
_SHIPPED = "service.gunicorn_worker.Worker"
#: Headers that the server adds below the application, or Flask by itself.
_GUNICORNS = {"Server", "Date", "Connection", "Content-Type", "Content-Length"}


@dataclass
class Target:
    """One address under load, and what was measured of it."""

    name: str
    pid: int
    port: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None = None
    seconds: list[float] = field(default_factory=list)
    cpu: float = 0.0
    wall: float = 0.0
    requests: int = 0

    @property
    def cpu_per_request(self) -> float:
        return self.cpu / self.requests

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(len(self.seconds) * share))]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(module: str, port: int, environment: dict[str, str], worker_class: str) -> Iterator[int]:
    """Run ``module:app`` under gunicorn with one worker of 16 threads; yields the master's pid."""
    same = ["--worker-class", worker_class, "--threads", "16", "--keep-alive", "5", "--log-level", "error"]
    same += ["--no-control-socket"]
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *same, f"{module}:app"]
    process = subprocess.Popen(command, env=os.environ | environment)
    try:
        wait(port)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait(port: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server did not answer")


def processes(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in processes(int(child)))]


def cpu_seconds(pid: int) -> float:
    total = 0
    for one in processes(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_mib(pid: int) -> float:
    """Resident memory of the largest process, in MiB."""
    sizes = []
    for one in processes(pid):
        lines = Path(f"/proc/{one}/status").read_text().splitlines()
        sizes += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")]
    return max(sizes)


def load(target: Target, requests: int) -> None:
    """Send requests over a few kept connections and add up what they cost."""
    before, started = cpu_seconds(target.pid), time.monotonic()
    threads = [threading.Thread(target=_send, args=(target, requests // CONNECTIONS)) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    target.wall += time.monotonic() - started
    target.cpu += cpu_seconds(target.pid) - before
    target.requests += requests // CONNECTIONS * CONNECTIONS


def _send(target: Target, count: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    for _ in range(count):
        started = time.perf_counter()
        connection.request(target.method, target.path, target.body, target.headers)
        answer = connection.getresponse()
        answer.read()
        target.seconds.append(time.perf_counter() - started)
        if answer.status != 200:
            raise SystemExit(f"{target.name}: status {answer.status}")


def call(port: int, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> bytes:
    """Send one request and return the body of its answer."""
    return ask(port, method, path, headers, body)[1]


def ask(
    port: int, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[list[tuple[str, str]], bytes]:
    """Send one request and return the headers and the body of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status >= 400:
        raise SystemExit(f"{method} {path}: {answer.status} {content[:200]!r}")
    return answer.getheaders(), content


def compare(title: str, ours: Target, folder: Path, worker_class: str, rounds: int, requests: int) -> float:
    """Load ours and a bare twin in turn; prints a table and returns the ratio of CPU per request."""
    headers, answer = ask(ours.port, ours.method, ours.path, ours.headers, ours.body)
    file = folder / f"{ours.name}.json"
    file.write_bytes(answer)
    given = [(name, value) for name, value in headers if name not in _GUNICORNS]
    port = free_port()
    with server(
        "benchmarks.bare", port, {"BARE_BODY": str(file), "BARE_HEADERS": json.dumps(given)}, worker_class
    ) as pid:
        bare = Target("bare", pid, port, ours.method, "/", ours.headers, ours.body)
        for target in (ours, bare):
            load(target, requests // 5)
            target.seconds, target.cpu, target.wall, target.requests = [], 0.0, 0.0, 0
        for _ in range(rounds):
            for target in (ours, bare):
                load(target, requests)
    ratio = ours.cpu_per_request / bare.cpu_per_request
    print(f"\n{title} ({len(answer)} bytes, {rounds} rounds of {requests} requests)")
    for target in (ours, bare):
        rate, cpu = target.requests / target.wall, target.cpu_per_request * 1e6
        p50, p99 = target.percentile(0.5) * 1e3, target.percentile(0.99) * 1e3
        print(f"  {target.name:<8} {rate:7.0f} req/s   p50 {p50:5.2f} ms   p99 {p99:5.2f} ms   CPU {cpu:5.0f} us")
    print(f"  ratio of CPU per request: {ratio:.2f}")
    return ratio


def first_answer_seconds(environment: dict[str, str]) -> float:
    """Seconds from create_app (modules loaded) to the first answer, in a process of its own."""
    code = (
        "import time; from service.app import create_app; from service.settings import Settings;"
        "s = time.perf_counter(); app = create_app(Settings.from_env());"
        "app.test_client().get('/health'); print(time.perf_counter() - s)"
    )
    runs = [
        float(subprocess.check_output([sys.executable, "-c", code], env=os.environ | environment)) for _ in range(3)
    ]
    return statistics.median(runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--worker-class", default=_SHIPPED, help="of both; default: Keyturn's own")
    parser.add_argument("--bare-worker-class", help="of the bare twin alone, such as gunicorn's own gthread")
    parser.add_argument("--database-url", default="", help="an empty database; default: SQLite")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            "LANGFLOW_CONFIG_DIR": name,
            "LANGFLOW_SUPERUSER_PASSWORD": "benchmark-password",
            "LANGFLOW_LOG_LEVEL": "warning",
            "KEYTURN_DEMO_FLOWS": "true",
        } | ({"LANGFLOW_DATABASE_URL": asked.database_url} if asked.database_url else {})
        key = subprocess.check_output(
            [sys.executable, "-c", "from service.cli import main; main()", "api-key", "--plain"],
            env=os.environ | environment, text=True,
        ).strip()  # fmt: skip
        port = free_port()
        bare_class = asked.bare_worker_class or asked.worker_class
        print(f"workers: {asked.worker_class}, of the bare twin {bare_class}")
        with server("wsgi", port, environment, asked.worker_class) as pid:
            print(f"memory of an idle worker: {memory_mib(pid):.0f} MiB")
            headers = {"x-api-key": key}
            json_headers = headers | {"content-type": "application/json"}
            whoami = Target("whoami", pid, port, "GET", "/api/v1/users/whoami", headers)
            compare("whoami with a key", whoami, folder, bare_class, asked.rounds, asked.requests)
            for number in range(50):
                new = {"name": f"SECRET_{number}", "value": "x" * 40, "type": "Credential", "default_fields": []}
                call(port, "POST", "/api/v1/variables/", json_headers, json.dumps(new).encode())
            variables = Target("list", pid, port, "GET", "/api/v1/variables/", headers)
            compare("a list of 50 variables", variables, folder, bare_class, asked.rounds, asked.requests // 2)
            body = json.dumps({"input_value": "hello"}).encode()
            run = Target("run", pid, port, "POST", "/api/v1/run/keyturn-echo", json_headers, body)
            compare("a chat run without a model", run, folder, bare_class, asked.rounds, asked.requests)
            create = Target("create", pid, port, "POST", "/api/v1/api_key/", json_headers, b'{"name": "bench"}')
            compare("key creation", create, folder, bare_class, asked.rounds, asked.requests // 5)
        print(f"\ncreate_app to first answer: {first_answer_seconds(environment):.2f} s")


if __name__ == "__main__":
    main()
