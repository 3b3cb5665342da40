"""One operation of the document, as the tables beside this file write it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.domain.names import NAME_LENGTH
from service.http.openapi.shapes import TEXT, Json


@dataclass(frozen=True, slots=True)
class Operation:
    """What the view's schemas do not say.

    Args:
        refusals: statuses beside those that every route of the rule has.
        answers: schemas by status, where the view has none.
        kinds: media types of the successful answer, where it is not JSON alone.
        query: schemas of query parameters by name.
        required_query: those that have to be there.
        headers: schemas of request headers by name.
        cookies: schemas of cookies by name.
        path: schemas of path parameters by name, where they are not ids.
        body: schemas of the request body by media type.
        body_required: whether there has to be one.
        shape: name of the schema of refusals, where it is not the usual one.
        location: the successful answers say where the thing is.
        links: where the answer leads: name of a link -> endpoint and parameters.
    """

    refusals: tuple[int, ...] = ()
    answers: Mapping[int, Json | None] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    query: Mapping[str, Json] = field(default_factory=dict)
    required_query: tuple[str, ...] = ()
    headers: Mapping[str, Json] = field(default_factory=dict)
    cookies: Mapping[str, Json] = field(default_factory=dict)
    path: Mapping[str, Json] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool = False
    shape: str | None = None
    location: bool = False
    links: Mapping[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)


def to(endpoint: str, **parameters: str) -> tuple[str, Mapping[str, str]]:
    """A link to another endpoint; values of parameters are runtime expressions."""
    return endpoint, parameters


#: Any text of a path; a slash would be another path.
NAME: Json = TEXT | {"minLength": 1}
#: A name without what nobody can see.
PRINTABLE: Json = NAME | {"format": "printable", "maxLength": NAME_LENGTH}
