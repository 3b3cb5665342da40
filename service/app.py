"""The composition root: from settings to an application that answers."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from flask import Flask
from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker

from service import __version__, boot, memory, stopping
from service.adapters import lfx_setup
from service.adapters.housekeeper import Housekeeper
from service.adapters.job_runner import Workshop
from service.adapters.key_cache import CommitCache, NoCache
from service.adapters.lfx import LfxExecutor
from service.adapters.lfx_fence import Fence
from service.adapters.limits import LocalLimits, SharedLimits
from service.adapters.limits_database import DatabaseLimits
from service.adapters.mcp_calls import OpenCalls
from service.adapters.mcp_mail import Mailbox
from service.adapters.messages import MessageWriter
from service.adapters.passwords import Argon2Hasher
from service.adapters.providers import Providers, providers
from service.adapters.refusals import RefusalLog
from service.adapters.run_log import RunLog
from service.adapters.usage import UsageCounter
from service.adapters.web import GuardedClient
from service.background import background
from service.domain.accounts import Lifetimes
from service.domain.mcp_shapes import Shapes
from service.domain.policy import Era, Policy
from service.domain.ports import FlowEngine, LimitStore, RunSink, Snapshots, Vault
from service.domain.runs import FlowRunner
from service.domain.sign_in import SignInLimits
from service.engine import EmbeddedEngine, Limits, Outside
from service.engine.component import Services as SearchServices
from service.engine.either import EitherEngine
from service.engine.elsewhere import ElsewhereEngine
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


def model_providers(settings: Settings) -> Providers:
    """The model providers, each at its address."""
    return providers(
        openai_base_url=settings.openai_base_url,
        anthropic_base_url=settings.anthropic_base_url,
        google_base_url=settings.google_base_url,
        groq_base_url=settings.groq_base_url,
        ollama_base_url=settings.ollama_base_url,
        azure_endpoint=settings.azure_openai_endpoint,
        azure_api_version=settings.azure_openai_api_version,
        allowed_base_urls=settings.model_base_urls,
        timeout=settings.model_timeout,
    )


def flow_runner(
    settings: Settings, engine: Engine, vault: Vault, *, models: Providers | None = None,
    snapshots: Snapshots | None = None, messages: MessageWriter | None = None,
    run_log: RunSink | None = None, lfx: LfxExecutor | None = None, lookups: Engine | None = None,
) -> FlowRunner:  # fmt: skip
    """What runs flows, and explains what they need; commands on the console leave out what only a server has."""
    return FlowRunner(
        _engine(settings, models or model_providers(settings), lfx),
        vault,
        snapshots or NoCache(),
        settings.environment if settings.fallback_to_env_var else {},
        lookups or engine,
        sessionmaker(engine),
        messages or MessageWriter(engine),
        max_parallel=settings.max_parallel_runs,
        max_depth=settings.max_subflow_depth,
        finished=run_log,
    )


def _engine(settings: Settings, models: Providers, lfx: LfxExecutor | None) -> FlowEngine:
    outside, limits = _outside(settings, models), _limits(settings)
    embedded = EmbeddedEngine(outside, limits)
    executor = lfx or lfx_executor(settings)
    if executor is None:
        return embedded
    always = settings.flow_engine == "lfx"
    who = "lfx does not have" if always else "the embedded engine or lfx does not have"
    return EitherEngine(embedded, ElsewhereEngine(executor, outside, limits, who), always_elsewhere=always)


def lfx_executor(settings: Settings) -> LfxExecutor | None:
    """Langflow's own executor, where the operator has named an environment with it; it starts when it is needed.

    Raises:
        BootError: it could not be used.
    """
    if settings.flow_engine == "embedded" or settings.lfx_python is None:
        return None
    problem = lfx_setup.problem(settings.lfx_python, settings.lfx_user, settings.lfx_ports)
    if problem:
        raise boot.BootError(problem)
    fence = Fence(
        settings.lfx_python,
        user=settings.lfx_user,
        ports=settings.lfx_ports,
        memory=settings.lfx_memory_mb * 1024 * 1024,
        seconds=settings.run_timeout,
        hosts=settings.web_allowed_hosts,
        allow_code=settings.allow_custom_components,
    )
    return LfxExecutor(fence, most=settings.lfx_max_runs, most_bytes=settings.lfx_max_output_bytes)


def limits_of_keys(settings: Settings, engine: Engine, now: Callable[[], datetime] | None = None) -> SharedLimits:
    """Where limits are counted for all workers: Redis where there is one, the database otherwise."""
    clock = None if now is None else (lambda: now().timestamp())
    shared: LimitStore
    if settings.redis_url:
        try:
            from service.adapters.limits_redis import RedisLimits
        except ImportError:
            raise boot.BootError("KEYTURN_REDIS_URL needs the package redis: pip install 'keyturn[redis]'") from None
        try:
            shared = RedisLimits(settings.redis_url)
        except ValueError as error:
            raise boot.BootError(f"KEYTURN_REDIS_URL cannot be used: {error}") from None
    elif is_memory(settings.database_url):
        shared = LocalLimits(clock or time)
    else:
        shared = DatabaseLimits(engine, clock)
    return SharedLimits(shared, LocalLimits(clock or time))


def _outside(settings: Settings, models: Providers) -> Outside:
    """What flows may reach.

    Raises:
        BootError: a list of addresses cannot be read.
    """
    try:
        web = GuardedClient(
            settings.web_allowed_hosts, max_bytes=settings.web_max_bytes, timeout=settings.web_timeout
        )
        addresses = dict(entry.split("=", 1) for entry in settings.service_urls)
        mirrors = SearchServices(**addresses)
    except ValueError as error:
        raise boot.BootError(f"KEYTURN_WEB_ALLOWED_HOSTS or KEYTURN_SERVICE_URLS cannot be read: {error}") from None
    except TypeError:
        known = ", ".join(SearchServices.__slots__)
        raise boot.BootError(f"KEYTURN_SERVICE_URLS names a service that is not known; known are {known}") from None
    provider, _, model = (settings.default_model or "").partition("/")
    return Outside(models, web, mirrors, (provider, model) if model else None)


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_nodes=settings.max_nodes,
        max_steps=settings.max_steps,
        max_loop_items=settings.max_loop_items,
        wall_seconds=settings.run_timeout,
        max_input_bytes=settings.max_input_bytes,
        max_output_bytes=settings.max_output_bytes,
        tweaks_policy=settings.tweaks_policy,
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


def _serve_other_forms(app: Flask) -> None:
    """Serve former names, and ``/flows`` as ``/flows/``: a redirect would cost clients their body or their key."""
    for rule in list(app.url_map.iter_rules()):
        for name, former in _FORMER_NAMES.items():
            if rule.rule.startswith(name):
                app.add_url_rule(rule.rule.replace(name, former, 1), endpoint=rule.endpoint, methods=rule.methods)
    for rule in list(app.url_map.iter_rules()):
        if rule.rule.startswith("/api/") and rule.rule.endswith("/"):
            app.add_url_rule(rule.rule.rstrip("/"), endpoint=rule.endpoint, methods=rule.methods)


def _serve_where_openai_does(app: Flask) -> None:
    """Serve ``/api/v1/responses`` as ``/v1/responses`` too, and so on: that is where its clients look."""
    for rule in list(app.url_map.iter_rules()):
        if rule.endpoint.startswith(f"{openai.blueprint.name}."):
            app.add_url_rule(rule.rule.removeprefix("/api"), endpoint=rule.endpoint, methods=rule.methods)
