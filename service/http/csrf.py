"""Requests that a foreign page made a browser send: told by the headers that pages cannot forge.

Source: the Fetch Metadata specification; ``Origin`` for browsers without it.
"""

from __future__ import annotations

from flask import Request

from service.domain.errors import Forbidden
from service.http.db import SAFE_METHODS, services

REFUSED = "This request comes from another site"


def check(request: Request, *, by_form: bool = False) -> None:
    """Refuse an unsafe request that a browser sent for another site.

    Args:
        request: the request.
        by_form: it is for a page's form, which no other site has a use for: not those of CORS either.

    Raises:
        Forbidden: the request comes from another site.
    """
    if request.method not in SAFE_METHODS and is_foreign(request, by_form=by_form):
        raise Forbidden(REFUSED)


def is_foreign(request: Request, *, by_form: bool = False) -> bool:
    """Say whether a browser sent a request of any method for another site.

    A program that is no browser sends neither header and is not foreign: it has no user's cookies to abuse. Neither
    is a link that somebody follows: the answer is shown to them, and the site that the link stands on cannot read it.
    """
    origin = request.headers.get("Origin")
    if origin is not None and not by_form and _may_act(origin, request):
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in {"same-origin", "none"} and not _is_link(request)
    return origin is not None and origin.partition("://")[2] != request.host


def _may_act(origin: str, request: Request) -> bool:
    settings = services().settings
    # A browser sends the cookies of its user for a listed page too, and without credentials the page is to act with
    # what it holds itself alone.
    has_cookies = "HTTP_COOKIE" in request.environ
    return origin in settings.cors_origins and (settings.cors_allow_credentials or not has_cookies)


def _is_link(request: Request) -> bool:
    fetch = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")
    return request.method in SAFE_METHODS and fetch == ("navigate", "document")
