"""gunicorn's settings from ours, for ``keyturn run`` and for ``service.gunicorn_conf`` alike."""

from __future__ import annotations

import sys
from typing import Any

from service import boot, memory, stopping
from service.settings import Settings
from service.start_screen import start_screen


def options(settings: Settings) -> dict[str, Any]:
    """Return gunicorn's settings for ours."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host

    def on_starting(_server: Any) -> None:
        """Once, before any worker: bring everything into order and tell the operator how things stand."""
        with boot.exit_on_error():
            facts = boot.prepare(settings)
        memory.share()
        print(start_screen(settings, facts), file=sys.stderr, flush=True)

    def post_worker_init(worker: Any) -> None:
        """In each worker: streams without an end ask whether they should end."""
        stopping.ask(lambda: not worker.alive)

    return {
        "bind": f"{host}:{settings.port}",
        "workers": settings.workers,
        # Runs wait long on model providers, so a worker has threads; the timeout is the worker's heartbeat,
        # not a limit on a request: every outgoing call has its own.
        "worker_class": "gthread",
        "threads": settings.threads,
        "timeout": settings.worker_timeout,
        "graceful_timeout": 30,
        "keepalive": 5,
        "limit_request_line": 8190,
        "limit_request_fields": 100,
        "limit_request_field_size": 16_384,
        # X-LANGFLOW-GLOBAL-VAR-OPENAI_API_KEY has underscores, which gunicorn would drop to keep a client from
        # forging a proxy's header. No header of a proxy is trusted here, so there is none to forge.
        "header_map": "dangerous",
        # No start of a worker goes unheard, and no request is logged with its query: it may hold a key.
        "loglevel": "warning" if settings.log_level in {"info", "debug"} else settings.log_level,
        "accesslog": None,
        "on_starting": on_starting,
        "post_worker_init": post_worker_init,
        "control_socket_disable": True,
    }
