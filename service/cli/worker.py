"""``keyturn worker``: runs the background jobs that a broker tells of."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from service import boot
from service.adapters.job_runner import Workshop
from service.adapters.messages import MessageWriter
from service.adapters.run_log import RunLog
from service.background import celery_of, workers
from service.boot import BootError
from service.cli.options import env_file_option, read_settings
from service.execution import flow_runner, lfx_executor, limits_of_keys, model_providers
from service.settings import Settings
from service.storage.engine import create_engine


@click.command("worker")
@env_file_option
@click.option("--concurrency", type=click.IntRange(1, 1000), help="Jobs at once.  [default: KEYTURN_JOB_CONCURRENCY]")
@click.option(
    "--grace",
    type=click.IntRange(0),
    help="Seconds that running jobs may take after SIGTERM.  [default: KEYTURN_RUN_TIMEOUT]",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error", "critical"]), help="How much to log."
)
def worker(env_file: Path | None, concurrency: int | None, grace: int | None, log_level: str | None) -> None:
    """Run background jobs for the servers of the same database and broker.

    On SIGTERM it takes nothing new and finishes what runs; what takes longer than --grace is given back.
    """
    settings = read_settings(env_file, job_concurrency=concurrency, log_level=log_level)
    if not settings.broker_url:
        raise BootError(
            "without KEYTURN_BROKER_URL there is nothing for a worker to do, since the server runs jobs itself: set "
            "it to amqp://... or redis://... for both"
        )
    celery_of(settings)  # says what is not installed before anything is made
    boot.open_log(settings)
    facts = boot.start(settings)
    if facts.made_password:
        # Made on the way, in an empty database; nobody could ever see it again.
        click.echo(f"keyturn: made the superuser {facts.superuser} with the password {facts.made_password}", err=True)
    _work(settings, settings.run_timeout if grace is None else float(grace))


def _work(settings: Settings, grace: float) -> None:
    from service.adapters.job_celery import CeleryWorker

    engine = create_engine(settings.database_url, pool_size=settings.job_concurrency)
    messages, run_log, models = MessageWriter(engine), RunLog(engine), model_providers(settings)
    limits = limits_of_keys(settings, engine)
    vault, _ = boot.open_vault(settings)
    lfx = lfx_executor(settings)
    flows = flow_runner(settings, engine, vault, models=models, messages=messages, run_log=run_log, lfx=lfx)
    run_limits = limits.of(settings.run_limit_when_away)
    carrier, keeper = workers(settings, Workshop(engine, flows, vault, run_limits, settings.run_timeout, _now), grace)
    keeper.awake()
    try:
        CeleryWorker(celery_of(settings), carrier).listen(lambda: _tell(settings))
    finally:
        for one in (keeper, carrier, messages, run_log, models, limits):
            one.close()
        if lfx is not None:
            lfx.close()
        engine.dispose()


def _now() -> datetime:
    return datetime.now(UTC)


def _tell(settings: Settings) -> None:
    count, queue = settings.job_concurrency, settings.broker_queue
    click.echo(f"keyturn worker: ready, {count} jobs at once, told by the queue {queue}", err=True)
