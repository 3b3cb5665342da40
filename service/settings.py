"""Settings: the only reader of the environment and of ``.env``.

Names are Langflow's where Langflow has the setting, so that its env files work unchanged, and start
with ``KEYTURN_`` where it has not. ``Settings.from_env`` reports every problem at once, one line each.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_data_path
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

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

MINIMUM_SECRET_LENGTH = 32
_LOG_ENVIRONMENTS = ("default", "container", "container_json")
_LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
_SAME_SITE = ("lax", "strict", "none")
_WHEN_AWAY = ("local", "refuse")


@dataclass(frozen=True, slots=True)
class CookieSettings:
    """Attributes of a login cookie."""

    http_only: bool = True
    secure: bool = False
    same_site: str = "lax"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Durations are seconds, sizes bytes, unless a name says otherwise."""

    config_dir: Path
    database_url: URL
    langflow_version: str = NEWEST_LANGFLOW

    auto_login: bool = False
    skip_auth_auto_login: bool = False
    allow_unauthenticated: bool = False
    mcp_require_api_key: bool = False
    mcp_server_enabled: bool = True
    mcp_sse_enabled: bool = True
    mcp_allowed_origins: tuple[str, ...] = ()
    mcp_max_streams: int = 8
    mcp_max_keyless_runs: int = 4

    superuser: str = "langflow"
    superuser_password: str = field(default="", repr=False)
    new_user_is_active: bool = False
    enable_signup: bool = False
    enable_superuser_cli: bool = True

    secret_key: str = field(default="", repr=False)
    previous_secret_keys: tuple[str, ...] = field(default=(), repr=False)

    access_token_seconds: int = 3600
    refresh_token_seconds: int = 604_800
    access_cookie: CookieSettings = CookieSettings()
    refresh_cookie: CookieSettings = CookieSettings()
    cookie_domain: str | None = None

    rate_limit_enabled: bool = True
    rate_limit_per_minute: int = 5
    account_failures: int = 50
    account_seconds: int = 900
    bad_keys_per_minute: int = 60
    redis_url: str = field(default="", repr=False)
    login_limit_when_away: Literal["local", "refuse"] = "local"
    request_limit_when_away: Literal["local", "refuse"] = "local"
    run_limit_when_away: Literal["local", "refuse"] = "local"
    trusted_proxies: int = 0

    track_key_usage: bool = True
    key_max_days: int | None = None
    key_warning_days: int = 14
    key_stale_days: int = 90
    key_rotation_grace_seconds: int = 604_800

    bootstrap_file: Path | None = None
    #: The values of the names that the bootstrap file refers to as ``env:NAME``.
    bootstrap_environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    store_environment_variables: bool = True
    variables_from_environment: tuple[str, ...] = VARIABLES_FROM_ENVIRONMENT
    fallback_to_env_var: bool = False
    #: The values of those names that the process or the env file has.
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    host: str = "127.0.0.1"
    port: int = 7860
    #: A file instead of host and port; only a proxy of this machine reaches it.
    socket: Path | None = None
    workers: int = 1
    threads: int = 16
    worker_timeout: int = 300
    graceful_timeout: int = 30
    backend_only: bool = False
    auto_saving: bool = True
    auto_saving_interval: int = 5000
    mcp_base_url: str = ""
    mcp_servers_locked: bool = False
    log_level: str = "info"
    log_file: Path | None = None
    log_json: bool = False
    request_log: bool = True
    cors_origins: tuple[str, ...] = ()
    cors_allow_credentials: bool = False
    hsts_seconds: int = 31_536_000
    #: "off", "key", or an address such as 127.0.0.1:9090.
    metrics: str = "key"
    max_file_size_upload_mb: int = 100
    max_body_bytes: int = 16 * 1024 * 1024

    auto_migrate: bool = True
    #: How long a start waits for a database that does not answer yet.
    database_wait_seconds: int = 30
    database_statement_seconds: int = 60
    demo_flows: bool = False
    tweaks_policy: Literal["permissive", "declared", "off"] = "permissive"
    openai_base_url: str = "https://api.openai.com/v1"
    model_base_urls: tuple[str, ...] = ()
    anthropic_base_url: str = "https://api.anthropic.com"
    google_base_url: str = "https://generativelanguage.googleapis.com/v1beta/openai/"
    groq_base_url: str = "https://api.groq.com/openai/v1"
    ollama_base_url: str = "http://localhost:11434/v1"
    azure_openai_endpoint: str | None = None
    azure_openai_api_version: str = "2024-10-21"
    default_model: str | None = None
    web_allowed_hosts: tuple[str, ...] = ()
    web_max_bytes: int = 10_000_000
    web_timeout: float = 60.0
    service_urls: tuple[str, ...] = ()
    model_timeout: float = 120.0
    run_timeout: float = 300.0
    max_nodes: int = 500
    max_steps: int = 1000
    max_loop_items: int = 1000
    max_input_bytes: int = 1_000_000
    max_output_bytes: int = 10_000_000
    max_subflow_depth: int = 5
    max_parallel_runs: int = 1000
    heartbeat_seconds: float = 15.0

    flow_engine: Literal["auto", "embedded", "lfx"] = "auto"
    lfx_python: Path | None = None
    lfx_user: str = "nobody"
    #: None: all of them.
    lfx_ports: tuple[int, ...] | None = ()
    lfx_memory_mb: int = 1024
    lfx_max_runs: int = 4
    lfx_max_output_bytes: int = 20_000_000
    allow_custom_components: bool = False

    broker_url: str = field(default="", repr=False)
    broker_queue: str = "keyturn"
    job_concurrency: int = 8
    job_attempts: int = 1
    job_lost_seconds: float = 30.0
    job_retention_hours: int = 24
    job_max_waiting: int = 1000
    job_max_result_bytes: int = 10_000_000

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
            options: fields of this class, from a command line.

        Raises:
            SettingsError: names every problem at once.
        """
        process = dict(os.environ if environ is None else environ)
        values = process | read_env_file(env_file)
        reader = _Reader(values)
        fields = reader.fields()
        problems = [*reader.problems, *_unknown_names(values)]
        if problems:
            raise SettingsError(problems)
        given = {name: value for name, value in options.items() if value is not None}
        settings = cls(
            **(fields | given),
            # Only the names that flows may see: the rest of the environment stays out of reach.
            environment={n: values[n] for n in fields["variables_from_environment"] if values.get(n, "").strip()},
            bootstrap_environment=_referred_to(fields["bootstrap_file"], values),
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


class _Reader(Environment):
    """Reads each setting once."""

    def fields(self) -> dict[str, Any]:
        fields = self._accounts() | self._tokens() | self._keys() | self._mcp() | self._server() | self._flows()
        fields |= self._jobs() | self._lfx()
        fields["config_dir"] = self._config_dir()
        fields["database_url"] = self._database_url(fields["config_dir"])
        self._refuse_what_would_be_unsafe()
        self.seal()
        return fields

    def _config_dir(self) -> Path:
        chosen: Path = self.env.path("LANGFLOW_CONFIG_DIR", None) or user_data_path("keyturn")
        try:
            return chosen.expanduser().absolute()
        except RuntimeError:
            self.problems.append(
                f"LANGFLOW_CONFIG_DIR is {str(chosen)!r}: there is no such user; write the whole path"
            )
            return chosen

    def _accounts(self) -> dict[str, Any]:
        env = self.env
        return {
            "langflow_version": self._version(),
            "auto_login": env.bool("LANGFLOW_AUTO_LOGIN", False),
            "skip_auth_auto_login": env.bool("LANGFLOW_SKIP_AUTH_AUTO_LOGIN", False),
            "allow_unauthenticated": env.bool("KEYTURN_ALLOW_UNAUTHENTICATED", False),
            "superuser": env.str("LANGFLOW_SUPERUSER", "langflow"),
            "superuser_password": env.str("LANGFLOW_SUPERUSER_PASSWORD", ""),
            "new_user_is_active": env.bool("LANGFLOW_NEW_USER_IS_ACTIVE", False),
            "enable_signup": env.bool("LANGFLOW_ENABLE_SIGNUP", False),
            "enable_superuser_cli": env.bool("LANGFLOW_ENABLE_SUPERUSER_CLI", True),
            "secret_key": self._secret("LANGFLOW_SECRET_KEY"),
            "previous_secret_keys": self._previous_secrets(),
        }

    def _tokens(self) -> dict[str, Any]:
        env = self.env
        return {
            "access_token_seconds": self.positive("LANGFLOW_ACCESS_TOKEN_EXPIRE_SECONDS", 3600),
            "refresh_token_seconds": self.positive("LANGFLOW_REFRESH_TOKEN_EXPIRE_SECONDS", 604_800),
            "access_cookie": self._cookie("ACCESS"),
            "refresh_cookie": self._cookie("REFRESH"),
            "cookie_domain": env.str("LANGFLOW_COOKIE_DOMAIN", None),
            "rate_limit_enabled": env.bool("LANGFLOW_RATE_LIMIT_ENABLED", True),
            "rate_limit_per_minute": self.positive("LANGFLOW_RATE_LIMIT_PER_MINUTE", 5),
            "account_failures": self.positive("KEYTURN_ACCOUNT_FAILURES", 50),
            "account_seconds": self.positive("KEYTURN_ACCOUNT_FAILURES_SECONDS", 900),
            "bad_keys_per_minute": self.positive("KEYTURN_BAD_KEYS_PER_MINUTE", 60),
            "redis_url": self.url("KEYTURN_REDIS_URL", ("redis", "rediss", "unix"), "redis://127.0.0.1:6379/0"),
            "login_limit_when_away": self.one_of("KEYTURN_LOGIN_LIMIT_WHEN_AWAY", "local", _WHEN_AWAY),
            "request_limit_when_away": self.one_of("KEYTURN_REQUEST_LIMIT_WHEN_AWAY", "local", _WHEN_AWAY),
            "run_limit_when_away": self.one_of("KEYTURN_RUN_LIMIT_WHEN_AWAY", "local", _WHEN_AWAY),
        }

    def _keys(self) -> dict[str, Any]:
        env = self.env
        return {
            "key_max_days": self.positive("KEYTURN_KEY_MAX_DAYS", 36_500, 36_500)
            if env.str("KEYTURN_KEY_MAX_DAYS", "")
            else None,
            "key_warning_days": self.positive("KEYTURN_KEY_WARNING_DAYS", 14, 36_500),
            "key_stale_days": self.positive("KEYTURN_KEY_STALE_DAYS", 90, 36_500),
            "key_rotation_grace_seconds": self.positive(
                "KEYTURN_KEY_ROTATION_GRACE_SECONDS", 604_800, 36_500 * 86_400, least=0
            ),
            "trusted_proxies": self.positive("KEYTURN_TRUSTED_PROXIES", 0, 10, least=0),
            "bootstrap_file": env.path("KEYTURN_BOOTSTRAP_FILE", None),
            "track_key_usage": not env.bool("LANGFLOW_DISABLE_TRACK_APIKEY_USAGE", False),
        }

    def _mcp(self) -> dict[str, Any]:
        env = self.env
        return {
            "mcp_require_api_key": env.bool("KEYTURN_MCP_REQUIRE_API_KEY", False),
            "mcp_server_enabled": env.bool("LANGFLOW_MCP_SERVER_ENABLED", True),
            "mcp_sse_enabled": env.bool("LANGFLOW_MCP_SSE_ENABLED", True),
            "mcp_allowed_origins": self.origins("KEYTURN_MCP_ALLOWED_ORIGINS"),
            "mcp_max_streams": self.positive("KEYTURN_MCP_MAX_STREAMS", 8),
            "mcp_max_keyless_runs": self.positive("KEYTURN_MCP_MAX_KEYLESS_RUNS", 4),
        }

    def _cors_origins(self) -> tuple[str, ...]:
        """Origins as browsers write them: without a path, and without the port that goes without saying.

        ``null`` is what every sandboxed page and every local file says of itself, so it names nobody.
        """
        name = "LANGFLOW_CORS_ORIGINS"
        found = tuple(text.lower() for text in self.names(name))
        for text in found:
            if text != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@*,\s]+", text):
                self.problems.append(
                    f"{name} names {text!r}: write an origin such as https://keyturn.example:8443, without a path "
                    "or a pattern, or * alone"
                )
        return tuple(re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", text) for text in found)

    def _metrics(self, name: str) -> str:
        text: str = self.env.str(name, "key").lower()
        if text in {"off", "key"}:
            return text
        host, _, port = text.rpartition(":")
        try:
            ipaddress.ip_address(host.strip("[]"))
            is_sound = port.isascii() and 0 < int(port) < 65_536
        except ValueError:
            is_sound = False
        if not is_sound:
            self.problems.append(f"{name} is {text!r}: it must be off, key, or an address such as 127.0.0.1:9090")
            return "off"
        return text

    def _server(self) -> dict[str, Any]:
        env = self.env
        host = env.str("LANGFLOW_HOST", "127.0.0.1")
        return {
            "host": "127.0.0.1" if host == "localhost" else host,
            "port": self.positive("LANGFLOW_PORT", 7860, most=65_535),
            "socket": self.socket("KEYTURN_SOCKET"),
            "workers": self.positive("LANGFLOW_WORKERS", 1),
            "threads": self.positive("KEYTURN_THREADS", 16),
            "worker_timeout": self.positive("LANGFLOW_WORKER_TIMEOUT", 300),
            "graceful_timeout": self.positive("KEYTURN_GRACEFUL_TIMEOUT", 30, 86_400),
            "backend_only": env.bool("LANGFLOW_BACKEND_ONLY", False),
            "auto_saving": env.bool("LANGFLOW_AUTO_SAVING", True),
            "auto_saving_interval": self.positive("LANGFLOW_AUTO_SAVING_INTERVAL", 5000),
            "mcp_servers_locked": env.bool("LANGFLOW_MCP_SERVERS_LOCKED", False),
            "mcp_base_url": self.public_url("LANGFLOW_MCP_BASE_URL"),
            "log_level": self.one_of("LANGFLOW_LOG_LEVEL", "info", _LOG_LEVELS),
            "log_file": env.path("LANGFLOW_LOG_FILE", None),
            "log_json": self.one_of("LANGFLOW_LOG_ENV", "default", _LOG_ENVIRONMENTS) != "default",
            "request_log": env.bool("KEYTURN_REQUEST_LOG", True),
            "cors_origins": self._cors_origins(),
            "cors_allow_credentials": env.bool("LANGFLOW_CORS_ALLOW_CREDENTIALS", False),
            "hsts_seconds": self.positive("KEYTURN_HSTS_SECONDS", 31_536_000, least=0),
            "metrics": self._metrics("KEYTURN_METRICS"),
            "max_file_size_upload_mb": self.positive("LANGFLOW_MAX_FILE_SIZE_UPLOAD", 100),
            "max_body_bytes": self.positive("KEYTURN_MAX_BODY_BYTES", 16 * 1024 * 1024),
            "auto_migrate": env.bool("KEYTURN_AUTO_MIGRATE", True),
            "database_wait_seconds": self.positive("KEYTURN_DATABASE_WAIT_SECONDS", 30, 3600, least=0),
            "database_statement_seconds": self.positive("KEYTURN_DATABASE_STATEMENT_SECONDS", 60, 86_400),
        }

    def _flows(self) -> dict[str, Any]:
        env = self.env
        extra = self.names("LANGFLOW_VARIABLES_TO_GET_FROM_ENVIRONMENT")
        for name in extra:
            if RESERVED_VARIABLE_NAMES.match(name):
                self.problems.append(
                    f"LANGFLOW_VARIABLES_TO_GET_FROM_ENVIRONMENT names {name}, which holds a secret of the server "
                    "itself: give the value another name"
                )
        return {
            "store_environment_variables": env.bool("LANGFLOW_STORE_ENVIRONMENT_VARIABLES", True),
            "variables_from_environment": tuple(dict.fromkeys((*VARIABLES_FROM_ENVIRONMENT, *extra))),
            "fallback_to_env_var": env.bool("LANGFLOW_FALLBACK_TO_ENV_VAR", False),
            "demo_flows": env.bool("KEYTURN_DEMO_FLOWS", False),
            "tweaks_policy": self.one_of("LANGFLOW_TWEAKS_POLICY", "permissive", ("permissive", "declared", "off")),
            "openai_base_url": env.str("KEYTURN_OPENAI_BASE_URL", "https://api.openai.com/v1"),
            "model_base_urls": tuple(self.names("KEYTURN_MODEL_BASE_URLS")),
            "anthropic_base_url": env.str("KEYTURN_ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
            "google_base_url": env.str(
                "KEYTURN_GOOGLE_BASE_URL", "https://generativelanguage.googleapis.com/v1beta/openai/"
            ),
            "groq_base_url": env.str("KEYTURN_GROQ_BASE_URL", "https://api.groq.com/openai/v1"),
            "ollama_base_url": env.str("KEYTURN_OLLAMA_BASE_URL", "http://localhost:11434/v1"),
            "azure_openai_endpoint": env.str("KEYTURN_AZURE_OPENAI_ENDPOINT", None),
            "azure_openai_api_version": env.str("KEYTURN_AZURE_OPENAI_API_VERSION", "2024-10-21"),
            "default_model": self._default_model(),
            "web_allowed_hosts": tuple(self.names("KEYTURN_WEB_ALLOWED_HOSTS")),
            "web_max_bytes": self.positive("KEYTURN_WEB_MAX_BYTES", 10_000_000),
            "web_timeout": float(self.positive("KEYTURN_WEB_TIMEOUT", 60)),
            "service_urls": tuple(self.names("KEYTURN_SERVICE_URLS")),
            "model_timeout": float(self.positive("KEYTURN_MODEL_TIMEOUT", 120)),
            "run_timeout": float(self.positive("KEYTURN_RUN_TIMEOUT", 300)),
            "max_nodes": self.positive("KEYTURN_MAX_NODES", 500),
            "max_steps": self.positive("KEYTURN_MAX_STEPS", 1000),
            "max_loop_items": self.positive("KEYTURN_MAX_LOOP_ITEMS", 1000),
            "max_input_bytes": self.positive("KEYTURN_MAX_INPUT_BYTES", 1_000_000),
            "max_output_bytes": self.positive("KEYTURN_MAX_OUTPUT_BYTES", 10_000_000),
            "max_subflow_depth": self.positive("KEYTURN_MAX_SUBFLOW_DEPTH", 5),
            "max_parallel_runs": self.positive("KEYTURN_MAX_PARALLEL_RUNS", 1000),
            "heartbeat_seconds": float(self.positive("KEYTURN_HEARTBEAT_SECONDS", 15)),
        }

    def _jobs(self) -> dict[str, Any]:
        return {
            "broker_url": self.url(
                "KEYTURN_BROKER_URL", ("amqp", "amqps", "redis", "rediss"), "amqp://127.0.0.1:5672//"
            ),
            "broker_queue": self.env.str("KEYTURN_BROKER_QUEUE", "keyturn"),
            "job_concurrency": self.positive("KEYTURN_JOB_CONCURRENCY", 8, 1000),
            "job_attempts": self.positive("KEYTURN_JOB_ATTEMPTS", 1, 100),
            "job_lost_seconds": float(self.positive("KEYTURN_JOB_LOST_SECONDS", 30, 86_400)),
            "job_retention_hours": self.positive("KEYTURN_JOB_RETENTION_HOURS", 24, 87_600),
            "job_max_waiting": self.positive("KEYTURN_JOB_MAX_WAITING", 1000),
            "job_max_result_bytes": self.positive("KEYTURN_JOB_MAX_RESULT_BYTES", 10_000_000),
        }

    def _lfx(self) -> dict[str, Any]:
        env = self.env
        python = env.path("KEYTURN_LFX_PYTHON", None)
        return {
            "flow_engine": self.one_of("LANGFLOW_FLOW_ENGINE", "auto", ("auto", "embedded", "lfx")),
            # Not resolved: an environment's interpreter is a link, and the link is what finds the environment.
            "lfx_python": python.expanduser().absolute() if python is not None else None,
            "lfx_user": env.str("KEYTURN_LFX_USER", "nobody"),
            "lfx_ports": self.ports("KEYTURN_LFX_PORTS"),
            "lfx_memory_mb": self.positive("KEYTURN_LFX_MEMORY_MB", 1024, 1_000_000, least=64),
            "lfx_max_runs": self.positive("KEYTURN_LFX_MAX_RUNS", 4, 1000),
            "lfx_max_output_bytes": self.positive("KEYTURN_LFX_MAX_OUTPUT_BYTES", 20_000_000),
            "allow_custom_components": env.bool("LANGFLOW_ALLOW_CUSTOM_COMPONENTS", False),
        }

    def _default_model(self) -> str | None:
        """``Provider/model`` for nodes that name none."""
        text: str | None = self.env.str("KEYTURN_DEFAULT_MODEL", None)
        if text is not None and not all(part.strip() for part in text.partition("/")):
            self.problems.append(
                f"KEYTURN_DEFAULT_MODEL is {text!r}: write it as Provider/model, as OpenAI/gpt-4o-mini"
            )
        return text

    def _refuse_what_would_be_unsafe(self) -> None:
        if not self.env.bool("LANGFLOW_WEBHOOK_AUTH_ENABLE", True):
            self.problems.append(
                "LANGFLOW_WEBHOOK_AUTH_ENABLE=false would let anybody run a flow as its owner, which Keyturn does "
                "not do: remove it and give the caller an API key"
            )
        if self.env.str("LANGFLOW_API_KEY_SOURCE", "db") != "db":
            self.problems.append(
                "LANGFLOW_API_KEY_SOURCE: Keyturn checks keys against its database only; remove it and make a key "
                "with `langflow api-key`"
            )

    def _cookie(self, kind: str) -> CookieSettings:
        return CookieSettings(
            http_only=self.env.bool(f"LANGFLOW_{kind}_HTTPONLY", True),
            secure=self.env.bool(f"LANGFLOW_{kind}_SECURE", False),
            same_site=self.one_of(f"LANGFLOW_{kind}_SAME_SITE", "lax", _SAME_SITE),
        )

    def _secret(self, name: str) -> str:
        value: str = self.env.str(name, "")
        if value:
            self._judge_secret(name, value)
        return value

    def _previous_secrets(self) -> tuple[str, ...]:
        name = "KEYTURN_PREVIOUS_SECRET_KEYS"
        values = self.names(name)
        for value in values:
            self._judge_secret(name, value)
        return tuple(values)

    def _judge_secret(self, name: str, value: str) -> None:
        if len(value) < MINIMUM_SECRET_LENGTH:
            self.problems.append(
                f"{name} has {len(value)} characters and needs {MINIMUM_SECRET_LENGTH} or more: make one with "
                "`openssl rand -hex 32`"
            )
        elif len(set(value)) < 8:
            self.problems.append(f"{name} can be guessed: make one with `openssl rand -hex 32`")

    def _version(self) -> str:
        value: str = self.env.str("LANGFLOW_VERSION", NEWEST_LANGFLOW)
        if not re.fullmatch(r"\d{1,3}\.\d{1,3}(\.\d{1,3})?", value):
            self.problems.append(
                f"LANGFLOW_VERSION is {value!r}: it must be a Langflow version such as {NEWEST_LANGFLOW}"
            )
            return NEWEST_LANGFLOW
        return value

    def _database_url(self, config_dir: Path) -> URL:
        text: str = self.env.str("LANGFLOW_DATABASE_URL", "") or f"sqlite:///{config_dir / 'keyturn.db'}"
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            # The text may hold a password, so it is not repeated.
            self.problems.append("LANGFLOW_DATABASE_URL is not a URL such as postgresql://user@host:5432/name")
            return make_url("sqlite://")
        backend = url.get_backend_name()
        if backend in {"postgresql", "postgres"}:
            return url.set(drivername="postgresql+psycopg")
        if backend == "sqlite":
            return url.set(drivername="sqlite")
        self.problems.append(
            f"LANGFLOW_DATABASE_URL names {backend}: use sqlite:///FILE or postgresql://user@host:5432/name"
        )
        return url


def _known_names() -> frozenset[str]:
    """Every name that the reader asks for, learned by reading an empty environment."""
    reader = _Reader({})
    asked: set[str] = set()

    class Recorder(Env):
        def _get_value(self, env_key: str, default: Any) -> Any:
            asked.add(env_key)
            return default

    reader.env = Recorder({})
    reader.fields()
    return frozenset(asked)


#: The names of all settings; docs/settings.md is compared with it by a test.
KNOWN_NAMES = _known_names()
