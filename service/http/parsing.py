"""From a request to valid data, or to a 422 that names each field."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Collection
from functools import partial, wraps
from typing import Any, NoReturn, TypeVar

from flask import Request, request
from flask_smorest import Blueprint as SmorestBlueprint
from marshmallow import Schema, ValidationError
from webargs import missing
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import UnsupportedMediaType

from service.domain.errors import Invalid, Problem

#: marshmallow's words -> (type, message) of the API, which are pydantic's.
_KINDS = {
    "Missing data for required field.": ("missing", "Field required"),
    "Not a valid string.": ("string_type", "Input should be a valid string"),
    "Not a valid boolean.": ("bool_type", "Input should be a valid boolean"),
    "Not a valid integer.": ("int_parsing", "Input should be a valid integer, unable to parse string as an integer"),
    "Not a valid number.": ("float_parsing", "Input should be a valid number"),
    "Not a valid list.": ("list_type", "Input should be a valid list"),
    "Not a valid mapping type.": ("dict_type", "Input should be a valid dictionary"),
    "Not a valid datetime.": ("datetime_parsing", "Input should be a valid datetime"),
    "Not a valid UUID.": ("uuid_parsing", "Input should be a valid UUID"),
    "Invalid input type.": ("model_attributes_type", "Input should be a valid dictionary or object"),
    "Unknown field.": ("extra_forbidden", "Extra inputs are not permitted"),
    "Field may not be null.": ("null_not_allowed", "Input should not be null"),
}
_PLACES = {"json": "body", "form": "body", "files": "body", "json_or_form": "body"}
V = TypeVar("V", bound=Callable[..., Any])

_NO_FILE = "Value error, the form takes texts, and no files"
_TWICE = "Value error, the form has this field more than once"
_VARIABLE_HEADER = "HTTP_X_LANGFLOW_GLOBAL_VAR_"


class Parser(FlaskParser):
    """webargs for queries and forms, with this API's shape for problems."""

    DEFAULT_VALIDATION_STATUS = 422

    def handle_error(
        self, error: ValidationError, req: Any, schema: Any, *, error_status_code: Any, error_headers: Any
    ) -> NoReturn:
        del req, schema, error_status_code, error_headers
        raise Invalid(problems_of(error.messages_dict))


class Blueprint(SmorestBlueprint):
    """A blueprint whose bodies are read by ``load``, and other arguments by ``Parser``."""

    ARGUMENTS_PARSER = Parser()

    def arguments(self, schema: type[Schema] | Schema, **rest: Any) -> Any:
        """Read arguments by a schema, which is made once and not for each request."""
        made = schema() if isinstance(schema, type) else schema
        described = super().arguments(made, **rest)
        return described if "location" in rest else partial(_reading, described, made)

    def describes(self, status: int, schema: type[Schema] | Schema | None = None, **rest: Any) -> Callable[[V], V]:
        """Describe the answer of a view that makes it whole, and leave the view as it is."""

        def described(view: V) -> V:
            view._apidoc = self.response(status, schema, **rest)(view)._apidoc  # type: ignore[attr-defined]
            return view

        return described

    def takes(self, schema: type[Schema]) -> Callable[[V], V]:
        """Describe the body of a view that reads it by itself, and leave the view as it is."""

        def described(view: V) -> V:
            doc = self.doc(requestBody={"content": {"application/json": {"schema": schema}}})
            view._apidoc = doc(view)._apidoc  # type: ignore[attr-defined]
            return view

        return described


def _reading(described: Callable[[Any], Any], schema: Schema, view: Callable[..., Any]) -> Callable[..., Any]:
    """Read a body without a detour through all places where webargs looks for arguments; described it is as there."""

    @wraps(view)
    def reading(**rest: Any) -> Any:
        return view(load(schema, read_json(request)), **rest)

    reading._apidoc = described(view)._apidoc  # type: ignore[attr-defined]
    return reading


def read_json(req: Request, *, any_type: bool = False) -> Any:
    """Return the parsed body; ``missing`` when it is empty.

    Args:
        req: the request.
        any_type: whatever the body says that it is.

    Raises:
        UnsupportedMediaType: the body says that it is something else.
        Invalid: the text is no JSON.
    """
    raw = req.get_data(cache=True)
    if not raw.strip():
        return missing
    if not any_type and not says_json(req) and req.mimetype and not req.is_json:
        raise UnsupportedMediaType
    try:
        return loads(raw)
    except (ValueError, RecursionError) as error:
        position = getattr(error, "pos", 0)
        problem = Problem(("body", position), "json_invalid", "JSON decode error", {"error": "The body is not JSON"})
        raise Invalid([problem]) from None


def says_json(req: Request) -> bool:
    """Say whether a body has the type that nearly everybody sends, which need not be taken apart."""
    return req.environ.get("CONTENT_TYPE") == "application/json"


def read_form(req: Request, *, as_json: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a form by name.

    Args:
        req: the request.
        as_json: the fields whose text is JSON; an empty one counts as absent.

    Raises:
        RequestEntityTooLarge: the body or what it holds is more than a form may be (docs/security.md).
        Invalid: there is no field that can be read, one of them comes twice, holds a file or is no JSON.
    """
    form, problems = req.form, [Problem(("body", name), "value_error", _NO_FILE) for name in req.files]
    problems += [Problem(("body", name), "value_error", _TWICE) for name, texts in form.lists() if len(texts) > 1]
    fields: dict[str, Any] = {name: text for name, text in form.items() if text or name not in as_json}
    for name in fields.keys() & set(as_json):
        try:
            fields[name] = loads(fields[name].encode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):
            problems.append(Problem(("body", name), "json_invalid", "The field is not JSON"))
    if not form and not problems:
        # werkzeug makes an empty form of one that it cannot read.
        problems.append(Problem(("body",), "value_error", "Value error, the form has no field that can be read"))
    if problems:
        raise Invalid(problems)
    return fields


def loads(raw: bytes) -> Any:
    """Parse JSON as its standard has it.

    Python's NaN, its Infinity and numbers that become infinite are refused: PostgreSQL does not store them,
    and no other client can read them.

    Raises:
        ValueError: the text is no JSON.
        RecursionError: it is nested too deeply.
    """
    return _decoder.decode(raw.decode(json.detect_encoding(raw), "surrogatepass"))


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number in JSON")
    return number


#: Made once: the standard library makes one for each text that is not read its own way.
_decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def load(schema: Schema, body: Any) -> dict[str, Any]:
    """Return what a schema makes of a parsed body; a missing one counts as an empty object.

    Raises:
        Invalid: names each field that does not fit.
    """
    try:
        loaded: dict[str, Any] = schema.load({} if body is missing else body)
    except ValidationError as error:
        raise Invalid(problems_of({"json": error.messages_dict})) from None
    return loaded


def problems_of(messages: dict[str, Any]) -> list[Problem]:
    """Flatten marshmallow's messages, ``{"json": {"name": ["..."]}}``, into problems."""
    found: list[Problem] = []
    for place, content in messages.items():
        _collect(content, (_PLACES.get(place, place),), found)
    return found


def global_variables(req: Request) -> dict[str, str]:
    """The values that came as ``X-LANGFLOW-GLOBAL-VAR-NAME`` headers, by name.

    WSGI cannot tell a dash from an underscore in a header's name, so neither do the names here.
    """
    start = len(_VARIABLE_HEADER)
    if _VARIABLE_HEADER not in " ".join(req.environ):
        return {}  # nearly always, and quicker to see than each name by itself
    return {name[start:]: value for name, value in req.environ.items() if name.startswith(_VARIABLE_HEADER) and value}


def path_id(text: str, name: str) -> uuid.UUID:
    """Return an id of a path.

    Raises:
        Invalid: it is no UUID; says so as the API does.
    """
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Invalid.field("Input should be a valid UUID", "path", name, kind="uuid_parsing") from None


def count(name: str, default: int, most: int) -> int:
    """Return a whole number of the query, from 1 on.

    Raises:
        Invalid: it is none, or more than ``most``.
    """
    text = request.args.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) <= most:
        raise Invalid.field(f"Input should be a whole number from 1 to {most}", "query", name, kind="int_parsing")
    return int(text)


def flag(name: str, *, default: bool = False) -> bool:
    """Return a yes/no query parameter.

    Raises:
        Invalid: it is neither.
    """
    if not request.query_string:
        return default
    text = request.args.get(name, "").lower()
    if not text:
        return default
    if text in {"true", "1", "yes", "on", "t", "y"}:
        return True
    if text in {"false", "0", "no", "off", "f", "n"}:
        return False
    raise Invalid.field(
        "Input should be a valid boolean, unable to interpret input", "query", name, kind="bool_parsing"
    )


def _collect(content: Any, loc: tuple[str | int, ...], found: list[Problem]) -> None:
    # A field of the body may be called "kind" as well; what is wrong with it is a list.
    if isinstance(content, dict) and not isinstance(content.get("kind"), str):
        for key, below in content.items():
            _collect(below, loc if key == "_schema" else (*loc, key), found)
    elif isinstance(content, list):
        for one in content:
            _collect(one, loc, found)
    elif isinstance(content, dict):
        found.append(Problem(loc, content["kind"], content["text"], content.get("context")))
    else:
        kind, text = _KINDS.get(str(content), ("value_error", f"Value error, {content}"))
        found.append(Problem(loc, kind, text))
