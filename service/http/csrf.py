"""Requests that a foreign page made a browser send: told by the headers that pages cannot forge.

Source: the Fetch Metadata specification; ``Origin`` for browsers without it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Request

from service.domain.errors import Forbidden
from service.http.db import SAFE_METHODS, services


def check(request: Request, *, by_form: bool = False) -> None:
    """Refuse an unsafe request that a browser sent for another site.

    A program that is no browser sends neither header and passes: it has no user's cookies to abuse.

    Args:
        request: the request.
        by_form: it is for a page's form, which no other site has a use for: not those of CORS either.

    Raises:
        Forbidden: the request comes from another site.
    """
    if request.method in SAFE_METHODS:
        return
    origin = request.headers.get("Origin")
    if not by_form and origin is not None and origin in services().settings.cors_origins:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        if site not in {"same-origin", "none"}:
            raise Forbidden("This request comes from another site")
    elif origin is not None and urlsplit(origin).netloc != request.host:
        raise Forbidden("This request comes from another site")
