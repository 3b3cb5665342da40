"""Headers that close doors in the browser, on every answer.

They are added below Flask, so that no kind of answer is left out, and as ready-made pairs: this runs for every
request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Of answers that are no page: whatever a browser makes of one, it loads nothing and stands in no frame.
CONTENT_SECURITY_POLICY = "default-src 'none'; frame-ancestors 'none'"

_ALWAYS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
#: Where an answer does not say it itself: pages have a policy of their own, and static files may be kept.
_OTHERWISE = [("Cache-Control", "no-store"), ("Content-Security-Policy", CONTENT_SECURITY_POLICY)]
#: All of them, as an answer of the API has them.
OF_API = [*_ALWAYS, *_OTHERWISE]


class Hardened:
    """Adds the headers to each answer of an application.

    Args:
        app: answers.
        hsts_seconds: how long browsers that came by https shall come by nothing else; 0: nothing is said about it.
    """

    def __init__(self, app: WSGIApplication, hsts_seconds: int) -> None:
        self._app = app
        self._hsts = [("Strict-Transport-Security", f"max-age={hsts_seconds}")] if hsts_seconds else []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *failure: Any) -> Any:
            names = [name for name, _ in headers]
            if "Cache-Control" in names or "Content-Security-Policy" in names:
                headers += _ALWAYS
                headers += [pair for pair in _OTHERWISE if pair[0] not in names]
            else:
                headers += OF_API
            # A browser that reads it over http has to ignore it (RFC 6797, 8.1), so it would be a waste there.
            if self._hsts and environ["wsgi.url_scheme"] == "https":
                headers += self._hsts
            return start_response(status, headers, *failure)

        return self._app(environ, start)
