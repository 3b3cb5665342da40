"""What runs flows, put together from the settings: for the server, ``keyturn worker`` and the console alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from time import time

from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker

from service.adapters import lfx_setup
from service.adapters.key_cache import NoCache
from service.adapters.lfx import LfxExecutor
from service.adapters.lfx_fence import Fence
from service.adapters.limits import LocalLimits, SharedLimits
from service.adapters.limits_database import DatabaseLimits
from service.adapters.messages import MessageWriter
from service.adapters.providers import Providers, providers
from service.adapters.web import GuardedClient
from service.boot import BootError
from service.domain.flow_runner import FlowRunner
from service.domain.ports import FlowEngine, LimitStore, RunSink, Snapshots, Vault
from service.engine import EmbeddedEngine, Limits, Outside
from service.engine.component import Services as SearchServices
from service.engine.either import EitherEngine
from service.engine.elsewhere import ElsewhereEngine
from service.settings import Settings
from service.storage.engine import is_memory


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
        fills_fields=settings.fills_fields,
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
        raise BootError(problem)
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


def redis_limits(url: str) -> LimitStore:
    """Limits that Redis counts; it is not asked yet.

    Raises:
        BootError: the package redis is not installed, or the address cannot be used.
    """
    try:
        from service.adapters.limits_redis import RedisLimits
    except ImportError:
        raise BootError("KEYTURN_REDIS_URL needs the package redis: pip install 'keyturn[redis]'") from None
    try:
        return RedisLimits(url)
    except ValueError as error:
        raise BootError(f"KEYTURN_REDIS_URL cannot be used: {error}") from None


def limits_of_keys(settings: Settings, engine: Engine, now: Callable[[], datetime] | None = None) -> SharedLimits:
    """Where limits are counted for all workers: Redis where there is one, the database otherwise."""
    clock = None if now is None else (lambda: now().timestamp())
    shared: LimitStore
    if settings.redis_url:
        shared = redis_limits(settings.redis_url)
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
        raise BootError(f"KEYTURN_WEB_ALLOWED_HOSTS or KEYTURN_SERVICE_URLS cannot be read: {error}") from None
    except TypeError:
        known = ", ".join(SearchServices.__slots__)
        raise BootError(f"KEYTURN_SERVICE_URLS names a service that is not known; known are {known}") from None
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
