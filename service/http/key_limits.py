"""Limits of a key, on the wire: counted before the view, told in headers after it.

Headers: ``RateLimit-Policy`` and ``RateLimit`` as draft-ietf-httpapi-ratelimit-headers-10 has them;
``Keyturn-Key-Expires`` is our own, an HTTP date, sent when a key (or the former secret of a rotated one) is near its
end.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from flask import Flask, Response, g
from werkzeug.http import http_date

from service.domain import places
from service.domain.errors import TooManyAttempts
from service.domain.identity import Identity
from service.domain.places import KeySlot
from service.domain.ports import Standing
from service.http.db import Services, abandon, notes

EXPIRES_HEADER = "Keyturn-Key-Expires"


def install(app: Flask) -> None:
    """Count the answers to each key's requests, and add the headers that are due."""

    def finish(response: Response) -> Response:
        noted = notes()
        key_id = noted.get("used_key")
        if key_id is not None:
            own: Services = app.extensions["keyturn"]
            own.usage.answered(key_id, own.now().date(), response.status_code)
        for name, value in noted.get("rate_limit_headers", ()):
            response.headers[name] = value
        expires = noted.get("key_expires")
        if expires is not None:
            response.headers[EXPIRES_HEADER] = expires
        return response

    app.after_request(finish)


def count(identity: Identity, own: Services) -> None:
    """Count a request of a key with a limit.

    Raises:
        TooManyAttempts: the window is full.
        LimitsAway: it cannot be counted, and the operator wants it refused then.
    """
    rate = identity.rights.rate if identity.rights is not None else None
    if rate is None:
        return
    abandon()  # counting may write, and SQLite has one writer
    standing = own.request_limits.hit(f"key:{identity.key_id}", rate.requests, rate.seconds)
    g.rate_limit_headers = (
        ("RateLimit-Policy", f'"key";q={rate.requests};w={rate.seconds}'),
        ("RateLimit", _standing(standing)),
    )
    if not standing.allowed:
        raise TooManyAttempts(standing.resets, "This API key has used up its requests. Please try again later.")


def slot_of(identity: Identity, own: Services) -> KeySlot | None:
    """Return what holds the runs of a caller's key to their number; None: there is no such limit."""
    return places.slot_of(identity.rights, identity.key_id, own.run_limits, own.settings.run_timeout)


def warn_of_end(expires_at: datetime, own: Services) -> None:
    """Remember to tell the client that its key is near its end."""
    if expires_at - own.now() < timedelta(days=own.settings.key_warning_days):
        g.key_expires = http_date(expires_at)


def _standing(standing: Standing) -> str:
    return f'"key";r={standing.remaining};t={max(1, math.ceil(standing.resets))}'
