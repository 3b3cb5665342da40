"""What the operator sees at start: one screen, and a loud line for each thing that is open."""

from __future__ import annotations

from collections.abc import Iterator

from service import __version__
from service.boot import Facts
from service.settings import Settings, is_loopback


def start_screen(settings: Settings, facts: Facts) -> str:
    """Return the screen, lines joined by line feeds."""
    rows = [
        ("Keyturn", f"{__version__}, serving Langflow {settings.langflow_version}'s API"),
        ("Address", address(settings)),
        ("Database", settings.database_url.render_as_string(hide_password=True)),
        ("Policy", _policy(settings)),
        ("Secret", facts.secret_source),
        ("Stored", f"{facts.users} users, {facts.keys} keys, {facts.flows} flows"),
        ("Pages", "off (--backend-only)" if settings.backend_only else f"{address(settings)}/"),
    ]
    lines = [f"  {name:<9} {text}" for name, text in rows]
    lines += [f"  OPEN      {text}" for text in _open(settings)]
    if settings.without_effect:
        lines.append(f"  Unused    {', '.join(settings.without_effect)}: Langflow's, without effect here")
    if facts.made_password:
        lines += [
            "",
            f"  Superuser {facts.superuser}",
            f"  Password  {facts.made_password}",
            "            shown this once; set your own with LANGFLOW_SUPERUSER_PASSWORD before the first start",
        ]
    return "\n".join(["", *lines, ""])


def address(settings: Settings) -> str:
    """Return the URL under which the server answers."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _policy(settings: Settings) -> str:
    if not settings.is_open:
        return "every API request needs a key or a login"
    if settings.era < (1, 5) or (settings.skip_auth_auto_login and settings.era < (2, 0)):
        return f"requests without a credential act as {settings.superuser}"
    return f"AUTO_LOGIN: anybody here can sign in as {settings.superuser}"


def _open(settings: Settings) -> Iterator[str]:
    if settings.is_open:
        reach = "from anywhere" if settings.allow_unauthenticated else "from this machine"
        yield f"LANGFLOW_AUTO_LOGIN is on: anybody {reach} is the superuser"
    if settings.mcp_server_enabled and not settings.mcp_require_api_key and settings.era >= (1, 5):
        yield "MCP clients need no key for flows that are mcp_enabled and PUBLIC (KEYTURN_MCP_REQUIRE_API_KEY is off)"
    if settings.enable_signup:
        yield "LANGFLOW_ENABLE_SIGNUP is on: anybody can make an account"
    if settings.new_user_is_active:
        yield "LANGFLOW_NEW_USER_IS_ACTIVE is on: new accounts need no approval"
    if not settings.rate_limit_enabled:
        yield "LANGFLOW_RATE_LIMIT_ENABLED is off: passwords can be guessed at full speed"
    if "*" in settings.cors_origins:
        yield "LANGFLOW_CORS_ORIGINS is *: pages of every site can read answers"
    if settings.metrics_address is not None and not is_loopback(settings.metrics_address[0]):
        yield f"KEYTURN_METRICS is {settings.metrics}: whoever reaches it reads the metrics without a key"
    if not settings.listens_on_loopback:
        yield f"listening on {settings.host} without TLS: put a proxy with TLS in front"
