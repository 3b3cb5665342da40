"""Puts what the tables know into the document, as a plugin of apispec."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from apispec import APISpec, BasePlugin
from werkzeug.routing import Rule

from service.domain.policy import Kind
from service.http.openapi import acts, things
from service.http.openapi.shapes import SHARED, TEXT, UUID, Json, ref
from service.http.openapi.table import Operation
from service.http.rules import RULES

OPERATIONS = things.OPERATIONS | acts.OPERATIONS

_SCHEMES: dict[str, Json] = {
    "key_in_header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "key_in_query": {"type": "apiKey", "in": "query", "name": "x-api-key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "a login token, or an API key"},
    "session": {"type": "apiKey", "in": "cookie", "name": "access_token_lf"},
}
_KEYS: list[Json] = [{"key_in_header": []}, {"key_in_query": []}, {"bearer": []}]
_ALL = [*_KEYS, {"session": []}]
#: How callers show who they are. An empty entry: they need not.
_SECURITY: dict[Kind, list[Json]] = {
    Kind.PUBLIC: [],
    Kind.OPTIONAL: [*_ALL, {}],
    Kind.API: _ALL,
    Kind.SUPERUSER: _ALL,
    Kind.SESSION: [{"bearer": []}, {"session": []}],
    Kind.RUN: _KEYS,
    Kind.WEBHOOK: _KEYS,
    Kind.MCP: [*_ALL, {}],
    Kind.MCP_OWN: _ALL,
}
#: What the door alone may answer: a bad token, a bad or missing key, a limit, a database that is away.
_DOOR = (401, 403, 429, 503)
_BODY = (413, 415, 422)
#: Of an event, and of a line.
_STREAMS: dict[str, Json] = {
    "text/event-stream": {"type": "object", "properties": {"event": TEXT, "data": TEXT}},
    "application/x-ndjson": {},
}
_EVERYWHERE: dict[str, Json] = {
    "X-Request-ID": {"required": True, "schema": TEXT | {"minLength": 8, "maxLength": 64}},
    "X-Content-Type-Options": {"required": True, "schema": {"const": "nosniff"}},
    "Cache-Control": {"required": True, "schema": TEXT},
}
_LATER: dict[str, Json] = {"Retry-After": {"required": True, "schema": TEXT | {"pattern": "^[0-9]+$"}}}


class OperationsPlugin(BasePlugin):
    """Completes each operation when its path is registered."""

    def init_spec(self, spec: APISpec) -> None:
        super().init_spec(spec)
        for name, scheme in _SCHEMES.items():
            spec.components.security_scheme(name, scheme)
        for name, shape in SHARED.items():
            spec.components.schema(name, shape)

    def path_helper(self, *, parameters: list[Any], rule: Rule, **_: Any) -> None:  # type: ignore[override]
        """Say which parameters of the path are ids."""
        known = OPERATIONS[rule.endpoint].path
        for parameter in parameters:
            parameter["schema"] = known.get(parameter["name"], UUID)

    def operation_helper(self, *, operations: dict[str, Any], rule: Rule, **_: Any) -> None:  # type: ignore[override]
        """Complete the operations of a path, of which each endpoint here has one."""
        operation = OPERATIONS[rule.endpoint]
        for method, document in operations.items():
            _complete(document, method, rule.endpoint, operation)


def _complete(document: dict[str, Any], method: str, endpoint: str, operation: Operation) -> None:
    kind = RULES[endpoint]
    document["operationId"] = endpoint
    document["security"] = _SECURITY[kind]
    document.setdefault("parameters", []).extend(_parameters(operation))
    if operation.body:
        document["requestBody"] = {"required": operation.body_required, "content": dict(operation.body)}
    has_body = "requestBody" in document and method != "get"
    responses = document["responses"]
    responses.pop("default", None)
    for status in [one for one in responses if int(one) >= 400]:
        del responses[status]
    for status, shape in operation.answers.items():
        _answer(responses, status, shape, operation.kinds)
    for status in sorted({*_door(kind), *(_BODY if has_body else ()), *operation.refusals} - _told(responses)):
        responses[str(status)] = _refusal(status, operation)
    for status, response in responses.items():
        response.setdefault("headers", {}).update(_headers(int(status), operation))
    _link(responses, operation)


def _door(kind: Kind) -> tuple[int, ...]:
    return (503,) if kind is Kind.PUBLIC else _DOOR


def _told(responses: dict[Any, Any]) -> set[int]:
    return {int(status) for status in responses}


def _parameters(operation: Operation) -> Iterator[Json]:
    for name, schema in operation.query.items():
        yield {"in": "query", "name": name, "required": name in operation.required_query, "schema": schema}
    for name, schema in operation.headers.items():
        yield {"in": "header", "name": name, "schema": schema}
    for name, schema in operation.cookies.items():
        yield {"in": "cookie", "name": name, "schema": schema}


def _answer(responses: dict[Any, Any], status: int, shape: Json | None, kinds: tuple[str, ...]) -> None:
    for known in (status, str(status)):
        responses.pop(known, None)
    told: Json = {"description": HTTPStatus(status).phrase}
    if shape is not None:
        media = kinds if kinds and status == 200 else ("application/json",)
        told["content"] = {one: {"schema": _shape_of(one, shape)} for one in media}
    responses[str(status)] = told


def _shape_of(media: str, shape: Json) -> Json:
    """A stream, which is described event by event, and an archive are no JSON."""
    return shape if media == "application/json" else _STREAMS.get(media, TEXT)


def _refusal(status: int, operation: Operation) -> Json:
    if operation.shape == "OpenAIError":
        name = operation.shape
    elif status == 422:
        name = operation.shape or "Invalid"
    elif status == 429:
        name = "TooMany"
    else:
        name = "WorkflowRefusal" if operation.shape == "WorkflowRefusal" else "Refusal"
    content = {"application/json": {"schema": ref(name)}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _headers(status: int, operation: Operation) -> dict[str, Json]:
    found = dict(_EVERYWHERE)
    if status == 429 or (status == 503 and 503 not in operation.answers):
        found |= _LATER
    if status == 401:
        found["WWW-Authenticate"] = {"required": True, "schema": {"const": "Bearer"}}
    if status in (201, 202) and operation.location:
        found["Location"] = {"required": True, "schema": TEXT}
    return found


def _link(responses: dict[Any, Any], operation: Operation) -> None:
    for response in (responses[one] for one in responses if str(one) in {"200", "201", "202"} and operation.links):
        response["links"] = {
            name: {"operationId": endpoint, "parameters": dict(parameters)}
            for name, (endpoint, parameters) in operation.links.items()
        }
