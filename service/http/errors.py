"""From a domain error to an answer: the one place that knows both.

Every error is ``{"detail": ...}`` as Langflow sends it. A text in an answer never holds a traceback, a
query, a path or a secret.
"""

from __future__ import annotations

import json
import logging

from flask import Flask, jsonify
from flask.wrappers import Response
from gunicorn.http.errors import ParseException
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import BadRequest, HTTPException

from service.domain import errors

log = logging.getLogger(__name__)

#: The most special class first.
STATUS: tuple[tuple[type[errors.DomainError], int], ...] = (
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Rejected, 400),
    (errors.Locked, 423),
    (errors.PreconditionFailed, 412),
    (errors.TokenRefused, 401),
    (errors.CredentialRefused, 403),
    (errors.Forbidden, 403),
    (errors.AwaitingApproval, 400),
    (errors.LoginRefused, 401),
    (errors.TooManyAttempts, 429),
    (errors.LimitsAway, 503),
    (errors.NotDecryptable, 500),
    (errors.Invalid, 422),
    (errors.TooLarge, 413),
    (errors.TooBusy, 503),
    (errors.FlowInvalid, 422),
    (errors.UnknownComponents, 422),
    (errors.TweaksRefused, 422),
    (errors.InputConflict, 400),
    (errors.VariableMissing, 400),
    (errors.ProviderFailed, 502),
    (errors.RunTimedOut, 504),
    (errors.RunTooLarge, 422),
    (errors.RunFailed, 500),
)


def install(app: Flask) -> None:
    """Answer every kind of failure in the API's own shape."""
    app.register_error_handler(errors.DomainError, answer)
    app.register_error_handler(Worded, _worded)
    app.register_error_handler(HTTPException, of_http)
    # Chunks that are none: gunicorn finds out while a view reads the body.
    app.register_error_handler(ParseException, lambda _: of_http(BadRequest()))
    app.register_error_handler(OperationalError, of_database)
    app.register_error_handler(Exception, unexpected)


def status_of(error: errors.DomainError) -> int:
    """Return the status that a domain error answers with."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


def status_of_kind(kind: str) -> int:
    """Return the status of an error whose class has this name; 500 for what nobody expected."""
    known = getattr(errors, kind, None)
    return next((status for one, status in STATUS if known is not None and issubclass(known, one)), 500)


class Worded(Exception):
    """A refusal in words that one family of routes alone uses.

    Args:
        status: of the answer.
        detail: its ``detail``.
    """

    def __init__(self, status: int, detail: object) -> None:
        super().__init__(status)
        self.status, self.detail = status, detail


def detail_of(error: errors.DomainError) -> object:
    """Return the ``detail`` of a domain error."""
    if isinstance(error, errors.Invalid):
        return [problem_body(problem) for problem in error.problems]
    if isinstance(error, errors.TweaksRefused):
        return {
            "error": "Refused tweaks",
            "code": "TWEAKS_REFUSED",
            "message": error.message,
            "fields": list(error.fields),
        }
    if isinstance(error, errors.RunFailed):
        # Langflow's clients parse this string; its traceback is left out on purpose.
        return json.dumps({"message": error.message, "description": None, "code": None, "suggestion": None})
    return error.message


def problem_body(problem: errors.Problem) -> dict[str, object]:
    """Return one entry of a 422 list, in the shape that FastAPI made known."""
    body: dict[str, object] = {"type": problem.kind, "loc": list(problem.loc), "msg": problem.text}
    if problem.context:
        body["ctx"] = problem.context
    return body


def answer(error: errors.DomainError) -> Response:
    """Return the answer to a domain error."""
    body: dict[str, object] = {"detail": detail_of(error)}
    if isinstance(error, errors.TooManyAttempts):
        body["retry_after"] = str(error.retry_after)
    response = jsonify(body)
    response.status_code = status_of(error)
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.TooManyAttempts):
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.TooBusy | errors.LimitsAway):
        response.headers["Retry-After"] = "1"
    if isinstance(error, errors.Forbidden) and error.code:
        response.headers["x-langflow-error-code"] = error.code
    return response


def _worded(error: Worded) -> Response:
    response = jsonify({"detail": error.detail})
    response.status_code = error.status
    return response


def of_http(error: HTTPException) -> Response:
    """Return the answer to what Flask refuses."""
    code = error.code or 500
    response = jsonify({"detail": error.name if code != 415 else "Content-Type must be application/json"})
    response.status_code = code
    for name, value in error.get_headers():
        if name.lower() in {"allow", "retry-after", "location"}:
            response.headers[name] = value
    return response


def of_database(error: OperationalError) -> Response:
    """Return the answer while the database is away."""
    log.error("the database did not answer: %s", type(error.orig).__name__)
    response = jsonify({"detail": "The database is not available. Try again in a moment."})
    response.status_code = 503
    response.headers["Retry-After"] = "1"
    return response


def unexpected(error: Exception) -> Response:
    """Return the answer to a failure that nobody has foreseen; what it was is in the log."""
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    response = jsonify({"detail": "Internal Server Error"})
    response.status_code = 500
    return response
