"""Jobs for workers on any host: Celery tells them at once that a job waits.

A message holds the id of a job and nothing else. It is a hint: the worker that claims the job in the database runs
it, and a message that comes twice, or for a job of long ago, is dropped. A message that never comes costs a second,
since workers also look for themselves (``job_keeper``); so no message is kept, sent again or waited for.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from typing import Any

from celery import Celery, signals

from service.adapters.job_threads import ThreadCarrier
from service.adapters.periodic import Periodic

log = logging.getLogger(__name__)

_TASK = "keyturn.run"
#: Jobs that wait to be told of; of more the workers find out by themselves.
_MOST_PENDING = 1000
_CONNECT_SECONDS = 2.0
#: A connection that the broker has closed meanwhile is opened again, once.
_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
#: Seconds after which a message is worth nothing: the workers have found the job, or are not there.
_MESSAGE_SECONDS = 60


def application(url: str, queue: str) -> Celery:
    """The Celery application: one queue, JSON only, no results, no remote control.

    Args:
        url: of the broker.
        queue: its name there.
    """
    app = Celery("keyturn", broker=url, set_as_current=False)
    app.conf.update(
        task_default_queue=queue,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_connection_timeout=_CONNECT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(url),
    )
    return app


def _transport_options(url: str) -> dict[str, Any]:
    if url.startswith("amqp"):
        return {"confirm_publish": True, "confirm_timeout": _CONNECT_SECONDS}
    return {"socket_connect_timeout": _CONNECT_SECONDS, "socket_timeout": 10.0, "socket_keepalive": True}


class CeleryCarrier(Periodic):
    """Implements ``domain.ports.JobCarrier`` for a server: publishes from a thread of its own, so no request waits.

    Args:
        app: the Celery application.
    """

    def __init__(self, app: Celery) -> None:
        super().__init__("job announcements")
        self._app = app
        self._pending: list[uuid.UUID] = []
        self._away = False
        self._publishing = threading.Lock()

    def room(self) -> int:
        """None: a server with a broker runs no jobs itself."""
        return 0

    def announce(self, job_id: uuid.UUID) -> None:
        """Tell the workers soon."""
        self.awake()
        with self._lock:
            if len(self._pending) < _MOST_PENDING:
                self._pending.append(job_id)
        self.ring()

    def flush(self) -> None:
        """Publish what waits; while the broker is away the workers find out by themselves."""
        if not self._pending:
            return
        with self._publishing:
            with self._lock:
                pending, self._pending = self._pending, []
            try:
                for job_id in pending:
                    self._app.send_task(
                        _TASK, args=[str(job_id)], expires=_MESSAGE_SECONDS, expiration=_MESSAGE_SECONDS, retry=True,
                        retry_policy=_RETRY,
                    )  # fmt: skip
            except Exception as error:  # every transport has errors of its own
                if not self._away:
                    log.warning("the broker is away (%s); workers find jobs by themselves", type(error).__name__)
                self._away = True
            else:
                self._away = False

    def forget(self) -> None:
        """Drop what the process before a fork had to tell."""
        self._pending = []

    def close(self) -> None:
        """Publish what can be."""
        super().close()
        self._app.close()


class CeleryWorker:
    """Hears of jobs and hands them over to the threads of this process, until it is stopped.

    The jobs do not run in a pool of Celery's: its threads would speak to the broker beside the one that listens
    there, on one connection, which AMQP's library does not survive while that connection is just coming back.

    Args:
        app: the Celery application.
        carrier: runs jobs in this process.
    """

    def __init__(self, app: Celery, carrier: ThreadCarrier) -> None:
        self._app, self._carrier = app, carrier
        app.task(self._heard, name=_TASK, ignore_result=True)

    def listen(self, when_ready: Callable[[], object]) -> None:
        """Hear of jobs until SIGTERM or SIGINT.

        Args:
            when_ready: is called once the broker's messages come in.
        """

        def ready(**_: Any) -> None:
            when_ready()

        def stopping(**_: Any) -> None:
            self._carrier.retire()
            log.info("stopping: what runs is finished first")

        def configured(**_: Any) -> None:
            # Celery leaves logging alone when somebody listens here: its lines go where ours go, without secrets.
            for name in ("celery", "kombu", "amqp"):
                logger = logging.getLogger(name)
                logger.handlers, logger.propagate = logging.getLogger("service").handlers, False
                logger.setLevel(logging.WARNING)

        signals.worker_ready.connect(ready)
        signals.worker_shutting_down.connect(stopping)
        signals.setup_logging.connect(configured)
        self._app.Worker(
            pool="solo", concurrency=1, quiet=True, without_gossip=True, without_mingle=True, without_heartbeat=True
        ).start()

    def _heard(self, job_id: str) -> None:
        try:
            wanted = uuid.UUID(job_id)
        except (ValueError, AttributeError):
            log.warning("a message of the broker names no job")
            return
        self._carrier.announce(wanted)
