"""What Prometheus reads, and the address of its own where it may read it without a key."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from sqlalchemy import event, func, select
from sqlalchemy.exc import SQLAlchemyError

from service import __version__
from service.domain.ports import FinishedRun, RunSink
from service.http.db import Services, notes
from service.metrics import Meter, Sample
from service.storage import Job

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


def install(app: Flask, own: Services) -> None:
    """Count what the application does.

    To be called when all routes are known; ``service.http.request_log`` has told by then when a request began.
    """
    meter = own.meter
    meter.know(_routes_of(app))

    def count(response: Response) -> Response:
        # The request itself, not Flask's proxy of it, which is looked up anew at each use.
        asked = request._get_current_object()  # type: ignore[attr-defined]
        meter.answered(asked.endpoint, asked.method, response.status_code, perf_counter() - notes().began)
        return response

    for pool in {own.engine.pool, own.lookups.pool}:
        event.listen(pool, "checkout", lambda *_: meter.connection(1))
        event.listen(pool, "checkin", lambda *_: meter.connection(-1))
    app.after_request(count)


class CountedRuns:
    """Implements ``domain.ports.RunSink``: counts runs on their way to where they are noted."""

    def __init__(self, sink: RunSink, meter: Meter) -> None:
        self._sink, self._meter = sink, meter

    def add(self, run: FinishedRun) -> None:
        self._meter.ran(run.outcome)
        self._sink.add(run)


class OwnAddress:
    """Answers on the port of the metrics with them and nothing else, and leaves every other port alone.

    The port is the one of the socket on which the request came: ``SERVER_PORT`` alone is what ``Host`` says where a
    proxy comes over a unix socket.
    """

    def __init__(self, app: WSGIApplication, own: Services, port: int) -> None:
        self._app, self._services, self._port = app, own, str(port)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["SERVER_PORT"] != self._port or not self._came_here(environ):
            return self._app(environ, start_response)
        if environ["PATH_INFO"] != "/metrics" or environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return [b""]
        body = read(self._services).encode()
        start_response("200 OK", [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body)))])
        return [body]

    def _came_here(self, environ: WSGIEnvironment) -> bool:
        connection = environ.get("gunicorn.socket")
        if not isinstance(connection, socket.socket) or connection.family == socket.AF_UNIX:
            return False
        return str(connection.getsockname()[1]) == self._port


def read(own: Services) -> str:
    """Return all numbers, in Prometheus's text format."""
    settings = own.settings
    build = {
        "version": __version__, "langflow": settings.langflow_version, "python": platform.python_version(),
        "database": settings.database_url.get_backend_name(),
    }  # fmt: skip
    workers = own.meter.board.pids() or [os.getpid()]
    processes = [(str(number), pid) for number, pid in enumerate(workers)]
    if workers != [os.getpid()]:
        processes.append(("master", os.getppid()))
    usage = [(name, used) for name, pid in processes if (used := _usage(pid))]

    def each(what: str) -> list[Sample]:
        return [({"process": name}, used[what]) for name, used in usage]

    return own.meter.text(
        {
            "keyturn_jobs": ("gauge", "Background runs that have not ended.", _jobs(own)),
            "keyturn_process_resident_memory_bytes": ("gauge", "Memory of each process.", each("memory")),
            "keyturn_process_cpu_seconds_total": ("counter", "Of each process.", each("cpu")),
            "keyturn_process_open_fds": ("gauge", "Files and sockets of each process.", each("files")),
            "keyturn_workers": ("gauge", "Workers that live.", [({}, len(workers))]),
            "keyturn_build_info": ("gauge", "What runs here.", [(build, 1)]),
        }
    )


def _routes_of(app: Flask) -> Iterable[tuple[str, str]]:
    """Endpoint and method of each route."""
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"OPTIONS"}:
            yield rule.endpoint, method


def _jobs(own: Services) -> list[Sample]:
    """How many wait and run; nothing while the database is away."""
    wanted = ("queued", "running")
    query = select(Job.status, func.count()).where(Job.status.in_(wanted)).group_by(Job.status)
    try:
        with own.engine.connect() as connection:
            found = {row.status: int(row[1]) for row in connection.execute(query)}
    except SQLAlchemyError:
        return []
    return [({"status": status}, found.get(status, 0)) for status in wanted]


def _usage(pid: int) -> dict[str, Any]:
    """Memory, processor time and files of a process; nothing where the system does not tell."""
    place = Path(f"/proc/{pid}")
    try:
        pages = int((place / "statm").read_text().split()[1])
        # The name of the program, in brackets, may hold blanks.
        times = (place / "stat").read_text().rpartition(")")[2].split()
        files = sum(1 for _ in (place / "fd").iterdir())
    except OSError:
        return {}
    return {"memory": pages * _PAGE, "cpu": (int(times[11]) + int(times[12])) / _TICKS, "files": files}
