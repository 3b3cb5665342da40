"""Failures in OpenAI's shape, for its clients: ``{"error": {"message", "type", "param", "code"}}``.

The statuses are those of ``http/errors.py``, but 400 for a body that does not fit, which is what OpenAI answers.
"""

from __future__ import annotations

import json

from flask import Blueprint
from flask.wrappers import Response
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from service.domain import errors
from service.http import errors as usual
from service.http.openai.said import Json

#: The most special class first.
_CODES: tuple[tuple[type[errors.DomainError], str], ...] = (
    (errors.NotFound, "model_not_found"),
    (errors.CredentialRefused, "invalid_api_key"),
    (errors.Forbidden, "permission_denied"),
    (errors.TooManyAttempts, "rate_limit_exceeded"),
    (errors.TooBusy, "server_overloaded"),
    (errors.ServerStopping, "server_overloaded"),
    (errors.LimitsAway, "server_overloaded"),
    (errors.FlowInvalid, "invalid_flow_request"),
    (errors.UnknownComponents, "unsupported_components"),
    (errors.InputConflict, "invalid_flow_request"),
    (errors.VariableMissing, "variable_missing"),
    (errors.ProviderFailed, "provider_failed"),
    (errors.RunTimedOut, "run_timed_out"),
    (errors.RunTooLarge, "run_too_large"),
    (errors.RunFailed, "run_failed"),
)
#: OpenAI's words for what is wrong with a field; what is not here is a code already.
_WRONG = {
    "missing": "missing_required_parameter",
    "json_invalid": "invalid_json",
    "null_not_allowed": "invalid_type",
    "string_type": "invalid_type",
    "bool_type": "invalid_type",
    "list_type": "invalid_type",
    "dict_type": "invalid_type",
    "model_attributes_type": "invalid_type",
    "value_error": "invalid_value",
}
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_NO_MODEL = "There is no such model. Name a flow of yours by its id or its endpoint name; GET /v1/models lists them."


def install(blueprint: Blueprint) -> None:
    """Answer every failure of the blueprint's routes in OpenAI's shape, also those that the door finds."""
    blueprint.register_error_handler(errors.DomainError, _refused)
    blueprint.register_error_handler(HTTPException, lambda error: _reshaped(usual.of_http(error)))
    blueprint.register_error_handler(SQLAlchemyError, lambda error: _reshaped(usual.of_database(error)))
    blueprint.register_error_handler(Exception, lambda error: _reshaped(usual.unexpected(error)))


def message_of(error: errors.DomainError) -> str:
    """Return what the client is told."""
    return _NO_MODEL if isinstance(error, errors.NotFound) else error.message


def _refused(error: errors.DomainError) -> Response:
    answer = usual.answer(error)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    param = None
    if isinstance(error, errors.Invalid):
        answer.status_code = 400
        problem = error.problems[0]
        code, param = _WRONG.get(problem.kind, problem.kind), _param(problem)
    elif isinstance(error, errors.NotFound):
        param = "model"
    elif isinstance(error, errors.RunFailed):
        # The SDK would send it again on its own, and what the flow has done already would be done twice.
        answer.headers["x-should-retry"] = "false"
    return _filled(answer, message_of(error), param, code)


def _param(problem: errors.Problem) -> str | None:
    names = [str(part) for part in problem.loc[1:]] if problem.kind != "json_invalid" else []
    return ".".join(names) or None


def _reshaped(answer: Response) -> Response:
    return _filled(answer, str(answer.get_json()["detail"]), None, None)


def _filled(answer: Response, message: str, param: str | None, code: str | None) -> Response:
    kind = "server_error" if answer.status_code >= 500 else _TYPES.get(answer.status_code, "invalid_request_error")
    body: Json = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    answer.set_data(json.dumps(body))
    return answer
