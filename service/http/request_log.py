"""A line for each request, under an id that the caller learns: who asked for what, and how it ended.

Neither the path nor the query stands in it: both may hold what belongs to somebody, a key first of all.
"""

from __future__ import annotations

import logging
import re
from time import perf_counter
from typing import Any

from flask import Flask, Response, request

from service.chance import hexadecimal
from service.http.db import notes
from service.observability import redacted, request_id

log = logging.getLogger("service.requests")

HEADER = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def install(app: Flask, *, lines: bool) -> None:
    """Give each request an id; ``lines`` writes a line for each.

    To be called before anything else looks at requests: what refuses one has an id then, and its line as well.
    """
    app.before_request(_begin)
    app.after_request(_write if lines else _name)
    app.teardown_request(_forget)


def _begin() -> None:
    notes().began = perf_counter()
    given: str | None = request.environ.get("HTTP_X_REQUEST_ID")
    # An id of the caller's goes into every line: nothing that could break one, and nothing that looks like a key.
    if given is None or not _ID.fullmatch(given) or redacted(given) != given:
        given = hexadecimal(16)
    request_id.set(given)


def _name(response: Response) -> Response:
    response.headers.add(HEADER, request_id.get())
    return response


def _write(response: Response) -> Response:
    if log.isEnabledFor(logging.INFO):
        asked, noted = request.environ, notes()
        fields = {
            "method": asked["REQUEST_METHOD"],
            "endpoint": request.endpoint or "-",
            "status": response.status_code,
            # Of a stream: until it began.
            "milliseconds": round((perf_counter() - noted.began) * 1000, 1),
            "caller": _caller(noted.get("identity")),
            "address": asked.get("REMOTE_ADDR", "-"),
        }
        log.info("%s %s %d %s ms by %s from %s", *fields.values(), extra={"fields": fields})
    return _name(response)


def _caller(identity: Any) -> str:
    """The user, and the key's id where one was used."""
    if identity is None:
        return "nobody"
    name: str = identity.account.username
    return name if identity.key_id is None else f"{name}, key {identity.key_id}"


def _forget(_error: BaseException | None) -> None:
    request_id.set("")
