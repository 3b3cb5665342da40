"""Where a browser's request to an MCP endpoint may come from.

A web page can make its own name lead to 127.0.0.1 (DNS rebinding): its requests are then of one origin with this
server, and ``Host`` agrees with ``Origin``. So neither is believed for agreeing with the other; an origin has to be
one that this server knows of itself.

Source: MCP specification, "Transports", security warning.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from flask import Request

from service.domain.errors import Forbidden
from service.settings import Settings, is_loopback

_REFUSED = "This request comes from another site"
_PORTS = {"http": 80, "https": 443}
_EVERYWHERE = frozenset({str(IPv4Address(0)), str(IPv6Address(0))})


def check(request: Request, settings: Settings) -> None:
    """Refuse a request of a web page that is not this server's own and that the operator has not listed.

    Programs send no Origin, and pass.

    Raises:
        Forbidden: it comes from another site.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        # A browser leaves Origin out of some requests, and says then what it sends them for.
        if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
            raise Forbidden(_REFUSED)
    elif not _is_known(origin, request, settings):
        raise Forbidden(_REFUSED)


def _is_known(origin: str, request: Request, settings: Settings) -> bool:
    # A star among the CORS origins lets every page read what is public. It does not make every page this server's.
    if origin.lower() in settings.mcp_allowed_origins or (origin != "*" and origin in settings.cors_origins):
        return True
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError):
        return False
    if settings.listens_on_loopback:
        return is_loopback(host) and port in _own_ports(request, settings)
    if settings.host in _EVERYWHERE:
        return False
    return host == settings.host.lower() and port in _own_ports(request, settings)


def _own_ports(request: Request, settings: Settings) -> set[int]:
    """Where this server listens: gunicorn may have been told another port than the settings."""
    told = str(request.environ["SERVER_PORT"])  # behind a unix socket it is whatever Host says
    return {settings.port, int(told)} if re.fullmatch(r"[0-9]{1,5}", told) else {settings.port}
