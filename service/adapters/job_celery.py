"""Jobs for workers on any host: Celery tells them where to look.

A message holds the id of a job and nothing else. It is a hint: the worker that claims the job in the database runs
it, and a message that comes twice, or for a job of long ago, is dropped.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from typing import Any

from celery import Celery, signals
from celery.exceptions import Reject

from service.adapters.job_runner import JobRunner
from service.adapters.periodic import Periodic

log = logging.getLogger(__name__)

_TASK = "keyturn.run"
#: Jobs announced at once; more wait in the database, where they are safe.
_MOST_PENDING = 1000
_CONNECT_SECONDS = 2.0
#: A worker that lost its broker tries once more, at once; what fails then waits for the next round.
_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


def application(url: str, queue: str, run_timeout: float) -> Celery:
    """The Celery application: one queue, JSON only, no results, no remote control.

    Args:
        url: of the broker.
        queue: its name there.
        run_timeout: seconds that a run may take; Redis hands a message on again after a while, and not before that.
    """
    app = Celery("keyturn", broker=url, set_as_current=False)
    app.conf.update(
        task_default_queue=queue,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        # One message for each run that goes on: what waits stays where another worker finds it.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_timeout=_CONNECT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(url, run_timeout),
    )
    return app


def _transport_options(url: str, run_timeout: float) -> dict[str, Any]:
    if url.startswith("amqp"):
        return {"confirm_publish": True, "confirm_timeout": _CONNECT_SECONDS}
    return {
        "visibility_timeout": max(3600.0, run_timeout * 2),
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": 10.0,
        "socket_keepalive": True,
    }


class CeleryCarrier(Periodic):
    """Implements ``domain.ports.JobCarrier``: publishes from a thread of its own, so that no request waits.

    Args:
        app: the Celery application.
        patience: seconds until a job that nobody took up is announced again.
    """

    def __init__(self, app: Celery, patience: float) -> None:
        super().__init__("job announcements")
        self._app, self.patience = app, patience
        self._pending: list[uuid.UUID] = []
        self._away = False
        self._publishing = threading.Lock()

    def room(self) -> int:
        """How many announcements it would hold."""
        return _MOST_PENDING - len(self._pending)

    def announce(self, job_id: uuid.UUID) -> None:
        """Tell the workers soon."""
        self.awake()
        with self._lock:
            if len(self._pending) < _MOST_PENDING:
                self._pending.append(job_id)
        self.ring()

    def flush(self) -> None:
        """Publish what waits; the rest stays while the broker is away."""
        with self._publishing:
            while self._pending:
                job_id = self._pending[0]
                try:
                    self._app.send_task(_TASK, args=[str(job_id)], retry=True, retry_policy=_RETRY)
                except Exception as error:  # every transport has errors of its own
                    self._note_away(error)
                    return
                self._away = False
                with self._lock:
                    self._pending.remove(job_id)

    def forget(self) -> None:
        """Drop what the process before a fork had to tell."""
        self._pending = []

    def close(self) -> None:
        """Publish what can be; the rest is announced by whoever starts next."""
        super().close()
        self._app.close()

    def _note_away(self, error: Exception) -> None:
        if not self._away:
            log.warning("the broker cannot be told of jobs (%s); they wait in the database", type(error).__name__)
        self._away = True


class CeleryWorker:
    """Runs jobs that the broker tells of, until it is stopped.

    Args:
        app: the Celery application.
        runner: runs them.
        concurrency: jobs at once; a thread for each, for runs wait on others most of the time.
        grace: seconds that running jobs may take after SIGTERM; then they are given back.
    """

    def __init__(self, app: Celery, runner: JobRunner, concurrency: int, grace: float) -> None:
        self._app, self._runner, self._concurrency, self._grace = app, runner, concurrency, grace
        app.task(self._execute, name=_TASK, acks_late=True, ignore_result=True)

    def run(self, when_ready: Callable[[], object]) -> int:
        """Work until SIGTERM or SIGINT, and return the exit status.

        Args:
            when_ready: is called once the broker's messages come in.
        """

        def ready(**_: Any) -> None:
            when_ready()

        def stopping(**_: Any) -> None:
            self._begin_to_stop()

        def configured(**_: Any) -> None:
            """Celery leaves logging alone when somebody listens here."""

        signals.worker_ready.connect(ready)
        signals.worker_shutting_down.connect(stopping)
        signals.setup_logging.connect(configured)
        worker = self._app.Worker(
            concurrency=self._concurrency, pool="threads", quiet=True, without_gossip=True, without_mingle=True,
            without_heartbeat=True,
        )  # fmt: skip
        worker.start()
        return int(worker.exitcode or 0)

    def _execute(self, job_id: str) -> None:
        if self._runner.closing.is_set():
            raise Reject("this worker stops", requeue=True)
        try:
            wanted = uuid.UUID(job_id)
        except (ValueError, AttributeError):
            log.warning("a message of the broker names no job")
            return
        self._runner.execute(wanted)

    def _begin_to_stop(self) -> None:
        log.info("stopping: what runs is finished first")
        self._runner.closing.set()
        timer = threading.Timer(self._grace, self._runner.stop)
        timer.daemon = True
        timer.start()
