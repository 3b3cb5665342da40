"""Jobs in threads of this process: of the server itself where there is no broker, else of a worker."""

from __future__ import annotations

import atexit
import logging
import threading
import uuid
from time import monotonic

from sqlalchemy.exc import SQLAlchemyError

from service.adapters.job_runner import JobRunner

log = logging.getLogger(__name__)

#: Seconds that a stopping process waits for its jobs, and then for them to be given back. gunicorn kills after 30.
GRACE_SECONDS, _LAST_SECONDS = 20.0, 5.0


class ThreadCarrier:
    """Implements ``domain.ports.JobCarrier`` with a thread for each job that runs, and none while none does.

    What finds no thread free stays in the database, where every process that has room looks for it.

    Args:
        runner: runs them.
        most: jobs at once in this process.
        grace: seconds that ``close`` waits.
    """

    def __init__(self, runner: JobRunner, most: int, grace: float = GRACE_SECONDS) -> None:
        self._runner, self._most, self._grace = runner, most, grace
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._registered = False

    def room(self) -> int:
        """How many threads are free."""
        with self._lock:
            return self._most - len(self._threads)

    def announce(self, job_id: uuid.UUID) -> None:
        """Run the job now where there is room."""
        with self._lock:
            if len(self._threads) >= self._most or self._runner.closing.is_set():
                return
            thread = threading.Thread(target=self._work, args=(job_id,), name="run", daemon=True)
            if not self._registered:
                # Once: the interpreter would keep a line for each.
                self._registered = True
                atexit.register(self.close)
            self._threads.add(thread)
            thread.start()

    def retire(self) -> None:
        """Take nothing more; what runs goes on."""
        self._runner.closing.set()

    def close(self) -> None:
        """Wait a little for what runs, and give the rest back."""
        self.retire()
        atexit.unregister(self.close)
        self._join(self._grace)
        self._runner.stop()
        self._join(_LAST_SECONDS)
        self._runner.close()

    def _work(self, first: uuid.UUID) -> None:
        job_id: uuid.UUID | None = first
        try:
            while job_id is not None:
                self._runner.execute(job_id)
                job_id = self._runner.waiting()
        except SQLAlchemyError as error:
            log.warning("a job could not be taken up (%s); it stays queued", type(error).__name__)
        except Exception:
            log.exception("a thread for jobs failed")
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _join(self, seconds: float) -> None:
        until = monotonic() + seconds
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))
