"""Many streaming runs at once against a slow provider: ``python -m benchmarks.streams --streams 500 --workers 2``.

Prints whether all of them came to their end, the memory of the whole server, and how long whoami took meanwhile. The
provider and the clients are processes of their own with one loop each, on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.http import call, cpu_seconds, free_port, processes, wait

MIB = 1024


async def _provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tokens: int, pause: float) -> None:
    """Answer each request with a stream of OpenAI's, a token for each pause."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for number in range(tokens):
                delta = {"role": "assistant", "content": f"word{number} "}
                _write(writer, {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
                await writer.drain()
                await asyncio.sleep(pause)
            _write(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def _write(writer: asyncio.StreamWriter, chunk: dict[str, object]) -> None:
    whole = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", **chunk}
    data = f"data: {json.dumps(whole)}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


def provider(port: int, tokens: int, pause: float) -> None:
    """Serve until the process is ended."""

    async def serve() -> None:
        server = await asyncio.start_server(
            lambda reader, writer: _provide(reader, writer, tokens, pause), "127.0.0.1", port, backlog=1024
        )
        await server.serve_forever()

    asyncio.run(serve())


async def _stream(port: int, key: str, delay: float, last: str) -> str:
    """Run the flow once; returns what went wrong, or nothing."""
    await asyncio.sleep(delay)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = json.dumps({"input_value": "hello"}).encode()
        head = (
            f"POST /api/v1/run/keyturn-chat?stream=true HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.read(-1)
        writer.close()
    except OSError as error:
        return str(error)
    if b" 200 " not in answer[:20]:
        return answer[:12].decode(errors="replace")
    return "" if b'"end"' in answer and last.encode() in answer else "cut off"


Results = multiprocessing.Queue


def clients(port: int, key: str, streams: int, over: float, last: str, results: Results[list[str]]) -> None:
    """Open all streams, spread over so many seconds, and report how each ended."""

    async def run() -> list[str]:
        return await asyncio.gather(*(_stream(port, key, over * n / streams, last) for n in range(streams)))

    results.put(asyncio.run(run()))


@dataclass
class Watch:
    """What whoami and the memory were like while the streams ran."""

    port: int
    pid: int
    key: str
    seconds: list[float] = field(default_factory=list)
    most_mib: float = 0.0
    threads: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        while not self.stop.wait(0.02):
            began = time.perf_counter()
            call(self.port, "GET", "/api/v1/users/whoami", {"x-api-key": self.key})
            self.seconds.append(time.perf_counter() - began)

    def weigh(self) -> None:
        while not self.stop.wait(0.5):
            self.most_mib = max(self.most_mib, memory_mib(self.pid))
            self.threads = max(self.threads, sum(len(os.listdir(f"/proc/{p}/task")) for p in processes(self.pid)))  # noqa: PTH208


def memory_mib(pid: int) -> float:
    """Memory of a server's processes in all, what they share counted once (PSS), in MiB."""
    total = 0
    for one in processes(pid):
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / MIB


@contextmanager
def server(environment: dict[str, str], port: int, *more: str) -> Iterator[int]:
    """Keyturn as its own configuration starts it; yields the master's pid."""
    command = [sys.executable, "-m", "gunicorn", "-c", "python:service.gunicorn_conf", *more, "wsgi:app"]
    process = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL)
    try:
        wait(port)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, help="of each worker; default: enough for its share of the streams")
    parser.add_argument("--worker-class", help="another one of gunicorn's")
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two tokens")
    parser.add_argument("--over", type=float, default=10.0, help="seconds in which the streams begin")
    parser.add_argument("--database-url", default="", help="default: a new SQLite database")
    asked = parser.parse_args()
    threads = asked.threads or asked.streams // asked.workers * 5 // 4 + 16
    port, model_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "LANGFLOW_CONFIG_DIR": folder, "LANGFLOW_SUPERUSER_PASSWORD": "benchmark-password",
            "LANGFLOW_LOG_LEVEL": "warning", "LANGFLOW_PORT": str(port), "LANGFLOW_WORKERS": str(asked.workers),
            "KEYTURN_THREADS": str(threads), "KEYTURN_DEMO_FLOWS": "true", "OPENAI_API_KEY": "sk-bench",
            "KEYTURN_OPENAI_BASE_URL": f"http://127.0.0.1:{model_port}/v1",
        } | ({"LANGFLOW_DATABASE_URL": asked.database_url} if asked.database_url else {})  # fmt: skip
        key = subprocess.check_output(
            [sys.executable, "-c", "from service.cli import main; main()", "api-key", "--plain"],
            env=os.environ | environment, text=True,
        ).strip()  # fmt: skip
        model = multiprocessing.Process(target=provider, args=(model_port, asked.tokens, asked.pause), daemon=True)
        model.start()
        other = ("--worker-class", asked.worker_class) if asked.worker_class else ()
        with server(environment, port, *other) as pid:
            for _ in range(asked.workers * 4):
                call(port, "GET", "/api/v1/users/whoami", {"x-api-key": key})
            idle, before = memory_mib(pid), cpu_seconds(pid)
            results: Results[list[str]] = multiprocessing.Queue()
            last = f"word{asked.tokens - 1}"
            crowd = multiprocessing.Process(
                target=clients, args=(port, key, asked.streams, asked.over, last, results), daemon=True
            )
            watch = Watch(port, pid, key)
            watchers = [threading.Thread(target=watch.ask), threading.Thread(target=watch.weigh)]
            began = time.monotonic()
            crowd.start()
            for one in watchers:
                one.start()
            ended = results.get(timeout=600)
            watch.stop.set()
            for one in watchers:
                one.join()
            spent, wall = cpu_seconds(pid) - before, time.monotonic() - began
        model.terminate()
    server_was = f"{asked.workers} workers of {threads} threads"
    failures = [text for text in ended if text]
    taken = sorted(watch.seconds)
    print(f"{asked.streams} streams of {asked.tokens} tokens in {wall:.0f} s, {server_was}")
    print(f"  ended well: {len(ended) - len(failures)}   failed: {len(failures)} {sorted(set(failures))[:5]}")
    print(f"  memory in all: {idle:.0f} MiB before, {watch.most_mib:.0f} MiB at most   threads: {watch.threads}")
    print(f"  CPU of the server: {spent:.1f} s, {spent / len(ended) / asked.tokens * 1e3:.2f} ms a token")
    p50, p99 = taken[len(taken) // 2] * 1e3, taken[int(len(taken) * 0.99)] * 1e3
    print(f"  whoami meanwhile: {len(taken)} requests, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
