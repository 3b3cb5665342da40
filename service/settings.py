"""Settings: the only reader of the environment and of ``.env``.

Names are Langflow's where Langflow has the setting, so that its env files work unchanged, and start
with ``KEYTURN_`` where it has not. ``Settings.from_env`` reports every problem at once, one line each.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_data_path
from sqlalchemy.engine import URL

from service.environment import Env, Environment, SettingsError, read_env_file

#: The Langflow version whose policy and shapes are served unless LANGFLOW_VERSION names another.
NEWEST_LANGFLOW = "1.13.0"

#: Names that become Credential variables at start (Langflow 1.13's list, which contains 1.5's).
VARIABLES_FROM_ENVIRONMENT = (
    "ANTHROPIC_API_KEY",
    "ASTRA_DB_API_ENDPOINT",
    "ASTRA_DB_APPLICATION_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AZURE_AI_FOUNDRY_API_KEY",
    "AZURE_AI_FOUNDRY_API_VERSION",
    "AZURE_AI_FOUNDRY_ENDPOINT",
    "AZURE_OPENAI_API_DEPLOYMENT_NAME",
    "AZURE_OPENAI_API_EMBEDDINGS_DEPLOYMENT_NAME",
    "AZURE_OPENAI_API_INSTANCE_NAME",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_API_VERSION",
    "COHERE_API_KEY",
    "COMETAPI_KEY",
    "COMPOSIO_API_KEY",
    "EMPIRIOLABS_API_KEY",
    "GOOGLE_API_KEY",
    "GROQ_API_KEY",
    "HUGGINGFACEHUB_API_TOKEN",
    "NOVITA_API_KEY",
    "OPENAI_API_KEY",
    "OPENROUTER_API_KEY",
    "OPENROUTER_APP_NAME",
    "OPENROUTER_SITE_URL",
    "PINECONE_API_KEY",
    "SAMBANOVA_API_KEY",
    "SEARCHAPI_API_KEY",
    "SERPAPI_API_KEY",
    "TAVILY_API_KEY",
    "UPSTASH_VECTOR_REST_TOKEN",
    "UPSTASH_VECTOR_REST_URL",
    "VECTARA_API_KEY",
    "VECTARA_CORPUS_ID",
    "VECTARA_CUSTOMER_ID",
    "WATSONX_APIKEY",
    "WATSONX_PROJECT_ID",
    "WATSONX_URL",
)

#: A variable of one of these names could hand the server's own secrets to a flow.
RESERVED_VARIABLE_NAMES = re.compile(r"^(LANGFLOW_|KEYTURN_|LFX_|PG|GUNICORN_|DATABASE_URL$|SECRET_KEY$)")

#: Why the server does not start where Langflow is told this, and what to do.
NO_TLS = (
    "Keyturn speaks plain http, and the proxy in front of it has the certificate: remove it, and see "
    "docs/deployment/nginx.conf"
)
NO_REMOVAL = (
    "Keyturn stores a flow as it was exported, with the keys that its author typed: remove it, and let the flows "
    "name variables"
)
_CERTIFICATE = ("LANGFLOW_SSL_CERT_FILE", "LANGFLOW_SSL_KEY_FILE")

_LOG_ENVIRONMENTS = ("default", "container", "container_json")
_LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
_SAME_SITE = ("lax", "strict", "none")
_WHEN_AWAY = ("local", "refuse")
_BROKERS, _REDIS = ("amqp", "amqps", "redis", "rediss"), ("redis", "rediss", "unix")
_CENTURY_DAYS = 36_500

#: How a setting is read whose line names no other way, by its default.
_KINDS: dict[type, Callable[..., Any]] = {
    bool: Environment.flag,
    int: Environment.number,
    float: Environment.seconds,
    str: Environment.text,
    tuple: Environment.names,
    type(None): Environment.text,
}


def of(
    name: str, default: Any, kind: Callable[..., Any] | None = None, *, is_secret: bool = False, **rules: Any
) -> Any:
    """A field of ``Settings`` that is read of the environment.

    Args:
        name: in the environment.
        default: counts when the name is not set, and for whoever makes ``Settings`` without an environment.
        kind: a method of ``Environment``, or a function of the same form; by the type of the default when None.
        is_secret: it stays out of the ``repr``.
        rules: what that method takes beside.
    """

    def read(environment: Environment) -> Any:
        return (kind or _KINDS[type(default)])(environment, name, default, **rules)

    return field(default=default, repr=not is_secret, metadata={"name": name, "read": read})


@dataclass(frozen=True, slots=True)
class CookieSettings:
    """Attributes of a login cookie."""

    http_only: bool = True
    secure: bool = False
    same_site: str = "lax"


def _cookie(environment: Environment, prefix: str, default: CookieSettings) -> CookieSettings:
    return CookieSettings(
        http_only=environment.flag(f"{prefix}_HTTPONLY", default.http_only),
        secure=environment.flag(f"{prefix}_SECURE", default.secure),
        same_site=environment.choice(f"{prefix}_SAME_SITE", default.same_site, _SAME_SITE),
    )


def _is_json(environment: Environment, name: str, default: bool) -> bool:
    return environment.choice(name, "container" if default else "default", _LOG_ENVIRONMENTS) != "default"


def _from_environment(environment: Environment, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    more = environment.names(name)
    for listed in filter(RESERVED_VARIABLE_NAMES.match, more):
        environment.problems.append(
            f"{name} names {listed}, which holds a secret of the server itself: give the value another name"
        )
    return tuple(dict.fromkeys((*default, *more)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Durations are seconds, sizes bytes, unless a name says otherwise."""

    config_dir: Path
    database_url: URL
    langflow_version: str = of("LANGFLOW_VERSION", NEWEST_LANGFLOW, Environment.version)

    auto_login: bool = of("LANGFLOW_AUTO_LOGIN", False)
    skip_auth_auto_login: bool = of("LANGFLOW_SKIP_AUTH_AUTO_LOGIN", False)
    allow_unauthenticated: bool = of("KEYTURN_ALLOW_UNAUTHENTICATED", False)
    mcp_require_api_key: bool = of("KEYTURN_MCP_REQUIRE_API_KEY", False)
    mcp_server_enabled: bool = of("LANGFLOW_MCP_SERVER_ENABLED", True)
    mcp_sse_enabled: bool = of("LANGFLOW_MCP_SSE_ENABLED", True)
    mcp_allowed_origins: tuple[str, ...] = of("KEYTURN_MCP_ALLOWED_ORIGINS", (), Environment.origins)
    mcp_max_streams: int = of("KEYTURN_MCP_MAX_STREAMS", 8)
    mcp_max_keyless_runs: int = of("KEYTURN_MCP_MAX_KEYLESS_RUNS", 4)

    superuser: str = of("LANGFLOW_SUPERUSER", "langflow")
    superuser_password: str = of("LANGFLOW_SUPERUSER_PASSWORD", "", is_secret=True)
    new_user_is_active: bool = of("LANGFLOW_NEW_USER_IS_ACTIVE", False)
    enable_signup: bool = of("LANGFLOW_ENABLE_SIGNUP", False)
    enable_superuser_cli: bool = of("LANGFLOW_ENABLE_SUPERUSER_CLI", True)

    secret_key: str = of("LANGFLOW_SECRET_KEY", "", Environment.secret, is_secret=True)
    previous_secret_keys: tuple[str, ...] = of(
        "KEYTURN_PREVIOUS_SECRET_KEYS", (), Environment.secrets, is_secret=True
    )

    access_token_seconds: int = of("LANGFLOW_ACCESS_TOKEN_EXPIRE_SECONDS", 3600)
    refresh_token_seconds: int = of("LANGFLOW_REFRESH_TOKEN_EXPIRE_SECONDS", 604_800)
    access_cookie: CookieSettings = of("LANGFLOW_ACCESS", CookieSettings(), _cookie)
    refresh_cookie: CookieSettings = of("LANGFLOW_REFRESH", CookieSettings(), _cookie)
    cookie_domain: str | None = of("LANGFLOW_COOKIE_DOMAIN", None)

    rate_limit_enabled: bool = of("LANGFLOW_RATE_LIMIT_ENABLED", True)
    rate_limit_per_minute: int = of("LANGFLOW_RATE_LIMIT_PER_MINUTE", 5)
    account_failures: int = of("KEYTURN_ACCOUNT_FAILURES", 50)
    account_seconds: int = of("KEYTURN_ACCOUNT_FAILURES_SECONDS", 900)
    bad_keys_per_minute: int = of("KEYTURN_BAD_KEYS_PER_MINUTE", 60)
    redis_url: str = of(
        "KEYTURN_REDIS_URL", "", Environment.url, is_secret=True, schemes=_REDIS, example="redis://127.0.0.1:6379/0"
    )
    login_limit_when_away: Literal["local", "refuse"] = of(
        "KEYTURN_LOGIN_LIMIT_WHEN_AWAY", "local", Environment.choice, among=_WHEN_AWAY
    )
    request_limit_when_away: Literal["local", "refuse"] = of(
        "KEYTURN_REQUEST_LIMIT_WHEN_AWAY", "local", Environment.choice, among=_WHEN_AWAY
    )
    run_limit_when_away: Literal["local", "refuse"] = of(
        "KEYTURN_RUN_LIMIT_WHEN_AWAY", "local", Environment.choice, among=_WHEN_AWAY
    )
    trusted_proxies: int = of("KEYTURN_TRUSTED_PROXIES", 0, least=0, most=10)
    #: Langflow's way to say that there are proxies, which does not say how many.
    rate_limit_trust_proxy: bool = of("LANGFLOW_RATE_LIMIT_TRUST_PROXY", False)

    track_key_usage: bool = of("LANGFLOW_DISABLE_TRACK_APIKEY_USAGE", True, Environment.is_not)
    key_max_days: int | None = of("KEYTURN_KEY_MAX_DAYS", None, Environment.number, most=_CENTURY_DAYS)
    key_warning_days: int = of("KEYTURN_KEY_WARNING_DAYS", 14, most=_CENTURY_DAYS)
    key_stale_days: int = of("KEYTURN_KEY_STALE_DAYS", 90, most=_CENTURY_DAYS)
    key_rotation_grace_seconds: int = of(
        "KEYTURN_KEY_ROTATION_GRACE_SECONDS", 604_800, least=0, most=_CENTURY_DAYS * 86_400
    )

    bootstrap_file: Path | None = of("KEYTURN_BOOTSTRAP_FILE", None, Environment.path)
    #: The values of the names that the bootstrap file refers to as ``env:NAME``.
    bootstrap_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    load_flows_path: Path | None = of("LANGFLOW_LOAD_FLOWS_PATH", None, Environment.path)
    load_flows_overwrite_on_name_match: bool = of("LANGFLOW_LOAD_FLOWS_OVERWRITE_ON_NAME_MATCH", False)

    store_environment_variables: bool = of("LANGFLOW_STORE_ENVIRONMENT_VARIABLES", True)
    variables_from_environment: tuple[str, ...] = of(
        "LANGFLOW_VARIABLES_TO_GET_FROM_ENVIRONMENT", VARIABLES_FROM_ENVIRONMENT, _from_environment
    )
    fallback_to_env_var: bool = of("LANGFLOW_FALLBACK_TO_ENV_VAR", False)
    #: The values of those names that the process or the env file has.
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    host: str = of("LANGFLOW_HOST", "127.0.0.1", Environment.host)
    port: int = of("LANGFLOW_PORT", 7860, most=65_535)
    #: A file instead of host and port; only a proxy of this machine reaches it.
    socket: Path | None = of("KEYTURN_SOCKET", None, Environment.socket)
    workers: int = of("LANGFLOW_WORKERS", 1)
    threads: int = of("KEYTURN_THREADS", 16)
    worker_timeout: int = of("LANGFLOW_WORKER_TIMEOUT", 300)
    graceful_timeout: int = of("KEYTURN_GRACEFUL_TIMEOUT", 30, most=86_400)
    backend_only: bool = of("LANGFLOW_BACKEND_ONLY", False)
    auto_saving: bool = of("LANGFLOW_AUTO_SAVING", True)
    auto_saving_interval: int = of("LANGFLOW_AUTO_SAVING_INTERVAL", 5000)
    mcp_base_url: str = of("LANGFLOW_MCP_BASE_URL", "", Environment.public_url)
    #: What a proxy takes off the front of each path.
    root_path: str = of("LANGFLOW_ROOT_PATH", "", Environment.prefix)
    mcp_servers_locked: bool = of("LANGFLOW_MCP_SERVERS_LOCKED", False)
    log_level: str = of("LANGFLOW_LOG_LEVEL", "info", Environment.choice, among=_LOG_LEVELS)
    log_file: Path | None = of("LANGFLOW_LOG_FILE", None, Environment.path)
    log_json: bool = of("LANGFLOW_LOG_ENV", False, _is_json)
    request_log: bool = of("KEYTURN_REQUEST_LOG", True)
    cors_origins: tuple[str, ...] = of("LANGFLOW_CORS_ORIGINS", (), Environment.origins, may_be_all=True)
    cors_allow_credentials: bool = of("LANGFLOW_CORS_ALLOW_CREDENTIALS", False)
    hsts_seconds: int = of("KEYTURN_HSTS_SECONDS", 31_536_000, least=0)
    #: "off", "key", or an address such as 127.0.0.1:9090.
    metrics: str = of("KEYTURN_METRICS", "key", Environment.metrics)
    max_file_size_upload_mb: int = of("LANGFLOW_MAX_FILE_SIZE_UPLOAD", 100)
    max_body_bytes: int = of("KEYTURN_MAX_BODY_BYTES", 16 * 1024 * 1024)

    auto_migrate: bool = of("KEYTURN_AUTO_MIGRATE", True)
    #: How long a start waits for a database that does not answer yet.
    database_wait_seconds: int = of("KEYTURN_DATABASE_WAIT_SECONDS", 30, least=0, most=3600)
    database_statement_seconds: int = of("KEYTURN_DATABASE_STATEMENT_SECONDS", 60, most=86_400)
    demo_flows: bool = of("KEYTURN_DEMO_FLOWS", False)
    tweaks_policy: Literal["permissive", "declared", "off"] = of(
        "LANGFLOW_TWEAKS_POLICY", "permissive", Environment.choice, among=("permissive", "declared", "off")
    )
    openai_base_url: str = of("KEYTURN_OPENAI_BASE_URL", "https://api.openai.com/v1")
    model_base_urls: tuple[str, ...] = of("KEYTURN_MODEL_BASE_URLS", ())
    anthropic_base_url: str = of("KEYTURN_ANTHROPIC_BASE_URL", "https://api.anthropic.com")
    google_base_url: str = of("KEYTURN_GOOGLE_BASE_URL", "https://generativelanguage.googleapis.com/v1beta/openai/")
    groq_base_url: str = of("KEYTURN_GROQ_BASE_URL", "https://api.groq.com/openai/v1")
    ollama_base_url: str = of("KEYTURN_OLLAMA_BASE_URL", "http://localhost:11434/v1")
    azure_openai_endpoint: str | None = of("KEYTURN_AZURE_OPENAI_ENDPOINT", None)
    azure_openai_api_version: str = of("KEYTURN_AZURE_OPENAI_API_VERSION", "2024-10-21")
    default_model: str | None = of("KEYTURN_DEFAULT_MODEL", None, Environment.model)
    web_allowed_hosts: tuple[str, ...] = of("KEYTURN_WEB_ALLOWED_HOSTS", ())
    web_max_bytes: int = of("KEYTURN_WEB_MAX_BYTES", 10_000_000)
    web_timeout: float = of("KEYTURN_WEB_TIMEOUT", 60.0)
    service_urls: tuple[str, ...] = of("KEYTURN_SERVICE_URLS", ())
    model_timeout: float = of("KEYTURN_MODEL_TIMEOUT", 120.0)
    run_timeout: float = of("KEYTURN_RUN_TIMEOUT", 300.0)
    max_nodes: int = of("KEYTURN_MAX_NODES", 500)
    max_steps: int = of("KEYTURN_MAX_STEPS", 1000)
    max_loop_items: int = of("KEYTURN_MAX_LOOP_ITEMS", 1000)
    max_input_bytes: int = of("KEYTURN_MAX_INPUT_BYTES", 1_000_000)
    max_output_bytes: int = of("KEYTURN_MAX_OUTPUT_BYTES", 10_000_000)
    max_subflow_depth: int = of("KEYTURN_MAX_SUBFLOW_DEPTH", 5)
    max_parallel_runs: int = of("KEYTURN_MAX_PARALLEL_RUNS", 1000)
    heartbeat_seconds: float = of("KEYTURN_HEARTBEAT_SECONDS", 15.0)

    flow_engine: Literal["auto", "embedded", "lfx"] = of(
        "LANGFLOW_FLOW_ENGINE", "auto", Environment.choice, among=("auto", "embedded", "lfx")
    )
    lfx_python: Path | None = of("KEYTURN_LFX_PYTHON", None, Environment.whole_path)
    lfx_user: str = of("KEYTURN_LFX_USER", "nobody")
    #: None: all of them.
    lfx_ports: tuple[int, ...] | None = of("KEYTURN_LFX_PORTS", (), Environment.ports)
    lfx_memory_mb: int = of("KEYTURN_LFX_MEMORY_MB", 1024, least=64, most=1_000_000)
    lfx_max_runs: int = of("KEYTURN_LFX_MAX_RUNS", 4, most=1000)
    lfx_max_output_bytes: int = of("KEYTURN_LFX_MAX_OUTPUT_BYTES", 20_000_000)
    allow_custom_components: bool = of("LANGFLOW_ALLOW_CUSTOM_COMPONENTS", False)

    broker_url: str = of(
        "KEYTURN_BROKER_URL", "", Environment.url, is_secret=True, schemes=_BROKERS, example="amqp://127.0.0.1:5672//"
    )
    broker_queue: str = of("KEYTURN_BROKER_QUEUE", "keyturn")
    job_concurrency: int = of("KEYTURN_JOB_CONCURRENCY", 8, most=1000)
    job_attempts: int = of("KEYTURN_JOB_ATTEMPTS", 1, most=100)
    job_lost_seconds: float = of("KEYTURN_JOB_LOST_SECONDS", 30.0, most=86_400)
    job_retention_hours: int = of("KEYTURN_JOB_RETENTION_HOURS", 24, most=87_600)
    job_max_waiting: int = of("KEYTURN_JOB_MAX_WAITING", 1000)
    job_max_result_bytes: int = of("KEYTURN_JOB_MAX_RESULT_BYTES", 10_000_000)

    #: Settings of Langflow that were given and have no effect here; named at start.
    without_effect: tuple[str, ...] = ()

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        env_file: Path | None = None,
        **options: Any,
    ) -> Settings:
        """Read the settings.

        An option wins over the env file, and the env file over the process environment, as in Langflow.

        Args:
            environ: the process environment; ``os.environ`` when None.
            env_file: a file to read; when None, ``.env`` of the current directory where there is one.
            options: fields of this class that have a name in the environment, from a command line.

        Raises:
            SettingsError: names every problem at once.
        """
        process = dict(os.environ if environ is None else environ)
        names = {each.name: each.metadata["name"] for each in fields(cls) if "name" in each.metadata}
        given = {names[name]: str(value) for name, value in options.items() if value is not None}
        values = process | read_env_file(env_file) | given
        environment = Environment(values)
        read = _read(environment)
        problems = [*environment.problems, *_unknown_names(values)]
        if problems:
            raise SettingsError(problems)
        settings = cls(
            **read,
            # Only the names that flows may see: the rest of the environment stays out of reach.
            environment={n: values[n] for n in read["variables_from_environment"] if values.get(n, "").strip()},
            bootstrap_environment=_referred_to(read["bootstrap_file"], values),
            without_effect=tuple(sorted(filter(_has_no_effect, values))),
        )
        if problems := list(settings.contradictions()):
            raise SettingsError(problems)
        return settings

    @property
    def is_open(self) -> bool:
        """True when somebody without a credential can come to act as the superuser."""
        return self.auto_login or (self.skip_auth_auto_login and self.era < (1, 5))

    @property
    def era(self) -> tuple[int, int]:
        """(major, minor) of the Langflow version that is served."""
        major, minor = self.langflow_version.split(".")[:2]
        return int(major), int(minor)

    @property
    def fills_fields(self) -> bool:
        """True when a run fills empty fields with the variables that list them (Langflow after 1.9)."""
        return self.era >= (1, 10)

    @property
    def listens_on_loopback(self) -> bool:
        """True when ``host`` can be reached from this machine only."""
        return is_loopback(self.host)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Where the metrics are read without a key; None: nowhere."""
        if self.metrics in {"off", "key"}:
            return None
        host, _, port = self.metrics.rpartition(":")
        return host.strip("[]"), int(port)

    def contradictions(self) -> Iterator[str]:
        """Yield a line for each pair of settings that cannot both be meant."""
        if self.is_open and not self.listens_on_loopback and not self.allow_unauthenticated:
            yield (
                f"LANGFLOW_AUTO_LOGIN lets anybody in who reaches {self.host}: set LANGFLOW_HOST=127.0.0.1, "
                "or LANGFLOW_AUTO_LOGIN=false, or accept it with KEYTURN_ALLOW_UNAUTHENTICATED=true"
            )
        if self.metrics_address is not None and self.metrics_address[1] == self.port:
            yield f"KEYTURN_METRICS={self.metrics} is the port that everybody reaches: choose another one"
        if "*" in self.cors_origins and self.cors_allow_credentials:
            yield (
                "LANGFLOW_CORS_ORIGINS=* with LANGFLOW_CORS_ALLOW_CREDENTIALS=true would let every site act for "
                "a signed-in user: list the origins, or set LANGFLOW_CORS_ALLOW_CREDENTIALS=false"
            )
        if "*" in self.cors_origins and self.is_open:
            yield (
                "LANGFLOW_CORS_ORIGINS=* lets every site read what LANGFLOW_AUTO_LOGIN opens: list the origins, or "
                "set LANGFLOW_AUTO_LOGIN=false and LANGFLOW_SKIP_AUTH_AUTO_LOGIN=false"
            )
        for name, cookie in (("ACCESS", self.access_cookie), ("REFRESH", self.refresh_cookie)):
            if cookie.same_site == "none" and not cookie.secure:
                yield (
                    f"LANGFLOW_{name}_SAME_SITE=none needs LANGFLOW_{name}_SECURE=true: browsers drop such a cookie"
                )
        if self.socket is not None and not self.trusted_proxies:
            yield (
                "KEYTURN_SOCKET is reached through a proxy alone, and without KEYTURN_TRUSTED_PROXIES all callers "
                "have one address: set KEYTURN_TRUSTED_PROXIES=1"
            )
        if self.rate_limit_trust_proxy and not self.trusted_proxies:
            yield (
                "LANGFLOW_RATE_LIMIT_TRUST_PROXY=true does not say how many proxies stand in front, and without "
                "KEYTURN_TRUSTED_PROXIES all callers have one address: set KEYTURN_TRUSTED_PROXIES=1 for one"
            )
        if self.flow_engine == "lfx" and self.lfx_python is None:
            yield (
                "LANGFLOW_FLOW_ENGINE=lfx needs KEYTURN_LFX_PYTHON, the interpreter of an environment that has lfx: "
                "see docs/lfx.md, or set LANGFLOW_FLOW_ENGINE=auto"
            )
        if self.superuser_password == "langflow":  # noqa: S105 - the well-known default that is refused # nosec B105
            yield ("LANGFLOW_SUPERUSER_PASSWORD is Langflow's old default, which everybody knows: choose another one")


def is_loopback(host: str) -> bool:
    """Say whether a host name or address can only be reached from this machine."""
    if host.strip("[]").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _referred_to(bootstrap_file: Path | None, values: Mapping[str, str]) -> dict[str, str]:
    """Return the values that a bootstrap file names; the rest of the environment stays out of its reach."""
    try:
        text = bootstrap_file.read_text("utf-8", "replace") if bootstrap_file is not None else ""
    except OSError:
        return {}  # said when the file is to be applied
    names = set(re.findall(r"env:([A-Za-z_][A-Za-z0-9_]*)", text))
    return {name: values[name] for name in names if name in values and not RESERVED_VARIABLE_NAMES.match(name)}


@cache
def _langflow_only() -> frozenset[str]:
    text = resources.files("service").joinpath("langflow_settings.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def _has_no_effect(name: str) -> bool:
    return name.startswith("LANGFLOW_") and name.removeprefix("LANGFLOW_") in _langflow_only()


def _unknown_names(values: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each LANGFLOW_ or KEYTURN_ name that nobody reads: usually a slip of the finger."""
    for name in sorted(values):
        if not name.startswith(("LANGFLOW_", "KEYTURN_")) or name in KNOWN_NAMES or _has_no_effect(name):
            continue
        close = difflib.get_close_matches(name, KNOWN_NAMES, 1, 0.8)
        hint = f"did you mean {close[0]}?" if close else "remove it, or see docs/settings.md for the names"
        yield f"{name} is not a setting: {hint}"


def _read(environment: Environment) -> dict[str, Any]:
    """The fields by name; what is wrong lies with the environment."""
    found = {each.name: each.metadata["read"](environment) for each in fields(Settings) if "read" in each.metadata}
    folder = environment.whole_path("LANGFLOW_CONFIG_DIR", user_data_path("keyturn"))
    found["config_dir"] = folder
    found["database_url"] = environment.database_url("LANGFLOW_DATABASE_URL", f"sqlite:///{folder / 'keyturn.db'}")
    if not environment.flag("LANGFLOW_WEBHOOK_AUTH_ENABLE", True):
        environment.problems.append(
            "LANGFLOW_WEBHOOK_AUTH_ENABLE=false would let anybody run a flow as its owner, which Keyturn does "
            "not do: remove it and give the caller an API key"
        )
    if environment.text("LANGFLOW_API_KEY_SOURCE", "db") != "db":
        environment.problems.append(
            "LANGFLOW_API_KEY_SOURCE: Keyturn checks keys against its database only; remove it and make a key "
            "with `langflow api-key`"
        )
    if certificate := [name for name in _CERTIFICATE if environment.text(name, None)]:
        environment.problems.append(f"{' and '.join(certificate)}: {NO_TLS}")
    if environment.flag("LANGFLOW_REMOVE_API_KEYS", False):
        environment.problems.append(f"LANGFLOW_REMOVE_API_KEYS=true: {NO_REMOVAL}")
    environment.seal()
    return found


def _known_names() -> frozenset[str]:
    """Every name that is asked for, learned by reading an empty environment."""
    asked: set[str] = set()

    class Recorder(Env):
        def _get_value(self, env_key: str, default: Any) -> Any:
            asked.add(env_key)
            return default

    environment = Environment({})
    environment.env = Recorder({})
    _read(environment)
    return frozenset(asked)


#: The names of all settings; docs/settings.md is compared with it by a test.
KNOWN_NAMES = _known_names()
