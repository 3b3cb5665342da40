"""gunicorn's settings from ours, for ``keyturn run`` and for ``service.gunicorn_conf`` alike."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from service import boot, memory, observability, stopping
from service.background import celery_of
from service.execution import redis_limits
from service.metrics import Board, occupy
from service.settings import Settings
from service.start_screen import start_screen

#: As gunicorn writes names.
_MAY_HAVE_UNDERSCORES = "X-LANGFLOW-GLOBAL-VAR-"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a file without a name is made there # nosec B108


def options(settings: Settings) -> dict[str, Any]:
    """Return gunicorn's settings for ours."""

    def on_starting(_server: Any) -> None:
        """Once, before any worker: bring everything into order and tell the operator how things stand."""
        with boot.exit_on_error():
            # What each worker would refuse is told before anything is made, and once.
            boot.open_log(settings)
            if settings.redis_url:
                redis_limits(settings.redis_url).close()
            if settings.broker_url:
                celery_of(settings)
            facts = boot.start(settings)
        memory.share()
        print(start_screen(settings, facts), file=sys.stderr, flush=True)

    def post_worker_init(worker: Any) -> None:
        """In each worker: streams without an end ask whether they should end, and long runs are ended in time."""
        stopping.ask(lambda: not worker.alive)
        stopping.watch(worker.cfg.graceful_timeout)

    class Log(Logger):  # type: ignore[misc]  # gunicorn has no types
        """gunicorn's own lines in our form: a request that it cannot read stands in them, with its query."""

        def setup(self, cfg: Any) -> None:
            super().setup(cfg)
            for handler in self.error_log.handlers:
                handler.setFormatter(observability.formatter(as_json=settings.log_json))

    board = Board(settings.workers * 2 + 2) if settings.metrics != "off" else None

    def pre_fork(_server: Any, worker: Any) -> None:
        worker.slot = board.take() if board else None

    def post_fork(_server: Any, worker: Any) -> None:
        if board and worker.slot is not None:
            occupy(board, worker.slot, worker.pid)

    def child_exit(_server: Any, worker: Any) -> None:
        if board and worker.slot is not None:
            board.give_back(worker.slot)

    return {
        "bind": [bind(settings), *([settings.metrics] if settings.metrics_address else [])],
        # The socket of KEYTURN_SOCKET is for its owner and its group, which is the proxy's.
        "umask": 0o007,
        "workers": settings.workers,
        # Runs wait long on model providers, so a worker has threads; the timeout is the worker's heartbeat,
        # not a limit on a request: every outgoing call has its own.
        "worker_class": "service.gunicorn_worker.Worker",
        "threads": settings.threads,
        "timeout": settings.worker_timeout,
        "graceful_timeout": settings.graceful_timeout,
        "keepalive": 5,
        "worker_connections": 1000,
        "limit_request_line": 8190,
        "limit_request_fields": 100,
        "limit_request_field_size": 16_384,
        # X-LANGFLOW-GLOBAL-VAR-OPENAI_API_KEY has underscores, and gunicorn would drop it.
        "header_map": "dangerous",
        "pre_request": _drop_ambiguous_headers,
        # gunicorn believes these headers of every peer on this machine; KEYTURN_TRUSTED_PROXIES alone decides here.
        "forwarded_allow_ips": "",
        "secure_scheme_headers": {},
        "forwarder_headers": "",
        # No start of a worker goes unheard, and no request is logged with its query: it may hold a key.
        "loglevel": "warning" if settings.log_level in {"info", "debug"} else settings.log_level,
        "logger_class": Log,
        "accesslog": None,
        # The heartbeat is a file that is touched each second; on a slow disk it would stop the worker.
        "worker_tmp_dir": str(_SHARED_MEMORY) if os.access(_SHARED_MEMORY, os.W_OK) else None,
        "on_starting": on_starting,
        "pre_fork": pre_fork,
        "post_fork": post_fork,
        "child_exit": child_exit,
        "post_worker_init": post_worker_init,
        "control_socket_disable": True,
    }


def bind(settings: Settings) -> str:
    """Return where gunicorn listens, as it writes addresses."""
    if settings.socket is not None:
        return f"unix:{settings.socket}"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{host}:{settings.port}"


def _drop_ambiguous_headers(_worker: Any, request: Any) -> None:
    """Leave out what WSGI cannot tell from another header: ``X_Forwarded_For`` would count as a proxy's own.

    ``SCRIPT_NAME`` would move the path away from what a proxy has judged.
    """
    if any("_" in name and not name.startswith(_MAY_HAVE_UNDERSCORES) for name, _ in request.headers):
        request.headers = [
            (name, value) for name, value in request.headers
            if "_" not in name or name.startswith(_MAY_HAVE_UNDERSCORES)
        ]  # fmt: skip
