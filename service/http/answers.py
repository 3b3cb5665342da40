"""JSON answers, written without detours: runs and whoami answer all day."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Response

from service.json_text import encoded

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class _Ready(Response):
    """An answer whose bytes are there, and which points nowhere: nothing about it has to be found out any more."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.status_code != 200 or environ["REQUEST_METHOD"] == "HEAD" or self._on_close:
            return super().__call__(environ, start_response)
        start_response(self.status, self.headers.to_wsgi_list())
        return self.response  # type: ignore[return-value]


def json_answer(body: dict[str, Any] | list[dict[str, Any]]) -> Response:
    """Return a body of plain types as a 200 answer."""
    return ready(encoded(body))


def ready(text: bytes) -> Response:
    """Return JSON text as a 200 answer."""
    return _Ready(text, content_type="application/json")
