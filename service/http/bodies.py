"""Bodies of requests: as long as they say and as the settings allow, and small from somebody whom nobody knows.

What is small is there before gunicorn's worker takes a thread (``service/gunicorn_worker.py``). So nobody
without a credential can have a thread wait for a body that never comes.
"""

from __future__ import annotations

from io import BytesIO
from typing import IO, cast

import flask
from werkzeug.exceptions import ClientDisconnected, LengthRequired, RequestEntityTooLarge
from werkzeug.utils import cached_property
from werkzeug.wsgi import LimitedStream, get_input_stream

#: Bytes; the same for all, so it is no setting.
SMALL = 65_536


class _AtMost(LimitedStream):
    """A body of unknown length. werkzeug would hand over its beginning as if that were all of it."""

    def readall(self) -> bytes:
        found = super().readall()
        if self.is_exhausted and self._stream.read(1):
            raise RequestEntityTooLarge
        return found


class Request(flask.Request):
    """Flask's request, whose body is complete or refused."""

    @cached_property
    def stream(self) -> IO[bytes]:
        environ, most = self.environ, self.max_content_length
        length = environ.get("CONTENT_LENGTH")
        if length:
            # Servers that mark the end of a body would have a shorter one pass as a complete one.
            environ.pop("wsgi.input_terminated", None)
            if length.isascii() and length.isdecimal() and int(length) <= min(SMALL, most or SMALL):
                return _whole(environ["wsgi.input"], int(length))
        elif most is not None and "wsgi.input_terminated" in environ:
            return cast(IO[bytes], _AtMost(environ["wsgi.input"], most, is_max=True))
        return get_input_stream(environ, max_content_length=most)


def _whole(body: IO[bytes], length: int) -> IO[bytes]:
    """A small body, which is there already: read at once, as werkzeug would piece by piece."""
    try:
        read = body.read(length)
    except (OSError, ValueError) as error:
        raise ClientDisconnected from error
    if len(read) < length:
        raise ClientDisconnected
    return BytesIO(read)


def check_strangers(request: flask.Request) -> None:
    """Refuse a body of a request without a credential that is large, or does not say how long it is.

    Raises:
        RequestEntityTooLarge: it is more than ``SMALL``.
        LengthRequired: it does not say.
    """
    length = request.environ.get("CONTENT_LENGTH")
    if length:
        if (request.content_length or 0) > SMALL:
            raise RequestEntityTooLarge
    elif "HTTP_TRANSFER_ENCODING" in request.environ:
        raise LengthRequired
