"""How much somebody may send whom nobody knows.

A body of this size is there before gunicorn's worker takes a thread (``service/gunicorn_worker.py``). So nobody
without a credential can have a thread wait for a body that never comes.
"""

from __future__ import annotations

from flask import Request
from werkzeug.exceptions import LengthRequired, RequestEntityTooLarge

#: Bytes; the same for all, so it is no setting.
SMALL = 65_536


def check_strangers(request: Request) -> None:
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
