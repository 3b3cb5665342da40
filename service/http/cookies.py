"""The login cookies (contract 1.3)."""

from __future__ import annotations

from flask import Response, request

from service.domain.accounts import Tokens
from service.http.db import Services
from service.http.identity import ACCESS_COOKIE, KEY_COOKIE, REFRESH_COOKIE
from service.settings import CookieSettings


def set_tokens(response: Response, tokens: Tokens, services: Services) -> Response:
    """Hand both tokens to a browser."""
    settings = services.settings
    _set(response, REFRESH_COOKIE, tokens.refresh, settings.refresh_cookie, services, settings.refresh_token_seconds)
    _set(response, ACCESS_COOKIE, tokens.access, settings.access_cookie, services, settings.access_token_seconds)
    return response


def clear(response: Response, services: Services) -> Response:
    """Take all cookies back."""
    settings = services.settings
    for name, kind in (
        (REFRESH_COOKIE, settings.refresh_cookie),
        (ACCESS_COOKIE, settings.access_cookie),
        (KEY_COOKIE, settings.access_cookie),
    ):
        _set(response, name, "", kind, services, 0)
    return response


def _set(response: Response, name: str, value: str, kind: CookieSettings, services: Services, seconds: int) -> None:
    response.set_cookie(
        name, value, max_age=seconds, httponly=kind.http_only, secure=kind.secure or request.is_secure,
        samesite=kind.same_site, domain=services.settings.cookie_domain, path="/",
    )  # fmt: skip
