"""The composition root: from settings to an application that answers."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask

from service import __version__, boot, memory, stopping
from service.adapters.housekeeper import Housekeeper
from service.adapters.job_runner import Workshop
from service.adapters.key_cache import CommitCache, NoCache
from service.adapters.limits import LocalLimits
from service.adapters.mcp_calls import OpenCalls
from service.adapters.mcp_mail import Mailbox
from service.adapters.messages import MessageWriter
from service.adapters.passwords import Argon2Hasher
from service.adapters.refusals import RefusalLog
from service.adapters.run_log import RunLog
from service.adapters.usage import UsageCounter
from service.background import background
from service.domain.accounts import Lifetimes
from service.domain.mcp_shapes import Shapes
from service.domain.policy import Era, Policy
from service.domain.sign_in import SignInLimits
from service.execution import flow_runner, lfx_executor, limits_of_keys, model_providers
from service.http import bodies, cors, db, errors, metrics, openapi, pages, policy, request_log
from service.http.api import (
    audit,
    auth,
    files,
    flows,
    jobs,
    keys,
    mcp,
    mcp_projects,
    mcp_servers,
    monitor,
    openai,
    projects,
    runs,
    users,
    variables,
    workflows,
)
from service.http.api import messages as chat_messages
from service.http.api import metrics as numbers
from service.http.forwarded import Forwarded
from service.http.headers import Hardened
from service.http.lean import App
from service.http.mcp import legacy
from service.metrics import Meter
from service.settings import Settings
from service.start_screen import start_screen
from service.storage.engine import is_memory, limit_statements
from service.storage.statements import for_lookups

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_BLUEPRINTS = (
    *(
        module.blueprint
        for module in (
            monitor,
            auth,
            users,
            keys,
            variables,
            flows,
            projects,
            files,
            chat_messages,
            runs,
            jobs,
            workflows,
            mcp_servers,
            openai,
            audit,
            numbers,
        )
    ),
    files.of_users,
)


def create_app(settings: Settings, *, now: Callable[[], datetime] | None = None) -> Flask:
    """Make the application; brings the database into order first.

    Args:
        settings: everything that can be set.
        now: the clock; tests bring their own.

    Raises:
        service.boot.BootError: the database or the secret cannot be used.
    """
    boot.open_log(settings)
    memory.give_back()
    facts = boot.start_worker(settings)
    if facts.made_password:
        # gunicorn was started without our configuration, so nobody has shown it yet, and nobody can later.
        print(start_screen(settings, facts), file=sys.stderr, flush=True)
    app = App("service", static_folder=None)
    app.request_class = bodies.Request
    app.config.update(_flask_config(settings))
    # A redirect to the merged form would answer with the key of the query in its Location.
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    hasher = Argon2Hasher(legacy=facts.old_hashes)
    services = _services(app, settings, hasher, now)
    app.extensions["keyturn"] = services
    request_log.install(app, lines=settings.request_log)
    policy.install(app, services.policy)
    if settings.cors_origins:
        cors.install(app)
    api = openapi.api_of(app)
    with warnings.catch_warnings():
        # Each module names its schemas well; two of one name are two views of one thing (many, partial).
        warnings.simplefilter("ignore", UserWarning)
        for blueprint in _BLUEPRINTS:
            api.register_blueprint(blueprint)
    if settings.mcp_server_enabled:
        api.register_blueprint(mcp_projects.blueprint)
        app.register_blueprint(mcp.blueprint)
    openapi.completed(api)
    errors.install(app)
    if not settings.backend_only:
        app.register_blueprint(pages.blueprint)
    _serve_other_forms(app)
    _serve_where_openai_does(app)
    if settings.metrics != "off":
        metrics.install(app, services)
    db.commit_in_the_end(app)
    stopping.in_the_end(services.runner.stop_all)
    app.wsgi_app = _wrapped(app.wsgi_app, settings, services)  # type: ignore[method-assign, assignment]
    # What waits from before a restart is taken up without waiting for the first request.
    services.jobs.keeper.awake()
    services.housekeeper.awake()
    return app


def _wrapped(app: WSGIApplication, settings: Settings, services: db.Services) -> WSGIApplication:
    """What surrounds Flask, the outermost last: the scheme has to be known where the headers are added."""
    if settings.metrics_address is not None:
        app = metrics.OwnAddress(app, services, settings.metrics_address[1])
    app = Hardened(app, settings.hsts_seconds)
    return Forwarded(app, settings.trusted_proxies) if settings.trusted_proxies else app


def _services(
    app: Flask, settings: Settings, hasher: Argon2Hasher, given: Callable[[], datetime] | None
) -> db.Services:
    engine, now = db.install(app, settings), given or (lambda: datetime.now(UTC))
    vault, _ = boot.open_vault(settings)
    url = settings.database_url
    cached = url.get_backend_name() == "sqlite" and not is_memory(url)
    snapshots = CommitCache(Path(url.database or "")) if cached else NoCache()
    messages, run_log, meter = MessageWriter(engine), RunLog(engine), Meter()
    models = model_providers(settings)
    limits = limits_of_keys(settings, engine, given)
    run_limits = limits.of(settings.run_limit_when_away)
    lfx, lookups = lfx_executor(settings), limit_statements(for_lookups(engine), settings.database_statement_seconds)
    runner = flow_runner(
        settings, engine, vault, models=models, snapshots=snapshots, messages=messages,
        run_log=metrics.CountedRuns(run_log, meter), lfx=lfx, lookups=lookups,
    )  # fmt: skip
    return db.Services(
        settings=settings,
        engine=engine,
        lookups=lookups,
        policy=Policy(
            Era.of(settings.era), settings.auto_login, settings.skip_auth_auto_login, settings.mcp_require_api_key
        ),
        lifetimes=Lifetimes(settings.access_token_seconds, settings.refresh_token_seconds),
        vault=vault,
        hasher=hasher,
        key_rules=boot.key_rules(settings, vault),
        limits=limits,
        request_limits=limits.of(settings.request_limit_when_away),
        run_limits=run_limits,
        sign_in=SignInLimits(
            limits.of(settings.login_limit_when_away),
            settings.rate_limit_per_minute if settings.rate_limit_enabled else None,
            settings.account_failures,
            settings.account_seconds,
        ),
        bad_keys=LocalLimits(),
        refusals=RefusalLog(engine),
        keys=snapshots,
        usage=UsageCounter(engine),
        messages=messages,
        models=models,
        lfx=lfx,
        runner=runner,
        jobs=background(settings, Workshop(engine, runner, vault, run_limits, settings.run_timeout, now)),
        run_log=run_log,
        tool_shapes=Shapes(),
        mcp_mail=Mailbox(engine, legacy.LASTS_SECONDS),
        mcp_calls=OpenCalls(engine, settings.run_timeout * 2 + 60),
        mcp_places=LocalLimits(),
        meter=meter,
        housekeeper=Housekeeper(engine, runner, now),
        now=now,
    )


def _flask_config(settings: Settings) -> dict[str, object]:
    return {
        "MAX_CONTENT_LENGTH": settings.max_body_bytes,
        # What a form may hold beside its files, and how many parts.
        "MAX_FORM_MEMORY_SIZE": 500_000,
        "MAX_FORM_PARTS": 1000,
        "API_TITLE": "Keyturn",
        "API_VERSION": __version__,
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/",
        "OPENAPI_JSON_PATH": "openapi.json",
    }


#: Older names of paths, which Langflow answers with a redirect.
_FORMER_NAMES = {"/api/v1/projects/": "/api/v1/folders/"}
#: Named without a last slash; Langflow redirects those who add one.
_RUNS = frozenset({"runs.run", "runs.advanced", "runs.webhook"})


def _serve_other_forms(app: Flask) -> None:
    """Serve former names, and ``/flows`` as ``/flows/``: a redirect would cost clients their body or their key."""
    for rule in list(app.url_map.iter_rules()):
        for name, former in _FORMER_NAMES.items():
            if rule.rule.startswith(name):
                app.add_url_rule(rule.rule.replace(name, former, 1), endpoint=rule.endpoint, methods=rule.methods)
    for rule in list(app.url_map.iter_rules()):
        if rule.rule.startswith("/api/") and rule.rule.endswith("/"):
            app.add_url_rule(rule.rule.rstrip("/"), endpoint=rule.endpoint, methods=rule.methods)
        elif rule.endpoint in _RUNS:
            app.add_url_rule(f"{rule.rule}/", endpoint=rule.endpoint, methods=rule.methods)


def _serve_where_openai_does(app: Flask) -> None:
    """Serve ``/api/v1/responses`` as ``/v1/responses`` too, and so on: that is where its clients look."""
    for rule in list(app.url_map.iter_rules()):
        if rule.endpoint.startswith(f"{openai.blueprint.name}."):
            app.add_url_rule(rule.rule.removeprefix("/api"), endpoint=rule.endpoint, methods=rule.methods)
