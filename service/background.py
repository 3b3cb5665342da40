"""Runs in the background, put together from the settings: for the server and for ``keyturn worker`` alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.adapters.job_keeper import JobKeeper
from service.adapters.job_runner import JobRunner, Workshop
from service.adapters.job_threads import ThreadCarrier
from service.boot import BootError
from service.domain.jobs import JobRules
from service.domain.ports import JobCarrier
from service.settings import Settings

if TYPE_CHECKING:
    from celery import Celery


@dataclass(frozen=True, slots=True)
class Background:
    """Where jobs are handed over, and who looks after them."""

    rules: JobRules
    carrier: JobCarrier
    keeper: JobKeeper

    def close(self) -> None:
        """Look after nothing more; finish what runs here, or give it back."""
        self.keeper.close()
        self.carrier.close()


def background(settings: Settings, shop: Workshop) -> Background:
    """What a server does with jobs: runs them in its own threads, or tells the workers of a broker.

    Raises:
        BootError: a broker is set and Celery is not installed.
    """
    rules = job_rules(settings)
    carrier: JobCarrier
    if settings.broker_url:
        app = celery_of(settings)
        from service.adapters.job_celery import CeleryCarrier  # only now: it was found to be there

        carrier = CeleryCarrier(app)
    else:
        carrier = ThreadCarrier(JobRunner(shop, rules), settings.job_concurrency)
    return Background(rules, carrier, JobKeeper(shop.engine, carrier, rules))


def workers(settings: Settings, shop: Workshop, grace: float) -> tuple[ThreadCarrier, JobKeeper]:
    """What a worker does with jobs: runs them in its threads, and looks after them like a server.

    Args:
        settings: everything that can be set.
        shop: what running takes.
        grace: seconds that running jobs may take once it is stopped.
    """
    rules = job_rules(settings)
    carrier = ThreadCarrier(JobRunner(shop, rules), settings.job_concurrency, grace)
    return carrier, JobKeeper(shop.engine, carrier, rules)


def celery_of(settings: Settings) -> Celery:
    """The Celery application of the broker that the settings name.

    Raises:
        BootError: Celery is not installed, or for Redis the package redis.
    """
    try:
        if settings.broker_url.startswith("redis"):
            import redis  # noqa: F401 - Celery finds out at the first message only

        from service.adapters.job_celery import application
    except ImportError:
        raise BootError("KEYTURN_BROKER_URL needs the package celery: pip install 'keyturn[celery]'") from None
    return application(settings.broker_url, settings.broker_queue)


def job_rules(settings: Settings) -> JobRules:
    """What the operator allows."""
    return JobRules(
        attempts=settings.job_attempts,
        lost_after=settings.job_lost_seconds,
        retention_hours=settings.job_retention_hours,
        most_waiting=settings.job_max_waiting,
        most_result_bytes=settings.job_max_result_bytes,
    )
