"""From the fields of a form to the body that the API's own schemas read: one set of rules for both."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time
from typing import Any

from flask import request
from marshmallow import Schema, ValidationError

from service.domain.errors import Invalid
from service.http.parsing import problems_of


def text(name: str) -> str:
    """Return a text field without blanks around it; "" where it is missing."""
    return request.form.get(name, "").strip()


def lines(name: str) -> list[str]:
    """Return the entries of a text area: one a line, or with commas between them."""
    return [
        entry for line in text(name).splitlines() for entry in (part.strip() for part in line.split(",")) if entry
    ]


def number(name: str) -> int | None:
    """Return a whole number; None where nothing is filled in.

    Raises:
        Invalid: it is none.
    """
    entered = text(name)
    if not entered:
        return None
    if not entered.isascii() or not entered.isdigit() or len(entered) > 12:
        raise Invalid.field("Enter a whole number", "body", name)
    return int(entered)


def end_of_day(name: str) -> str | None:
    """Return the last second (UTC) of a date as ISO 8601; None where nothing is filled in.

    Raises:
        Invalid: it is no date.
    """
    entered = text(name)
    if not entered:
        return None
    try:
        day = date.fromisoformat(entered)
    except ValueError:
        raise Invalid.field("Enter a date such as 2027-01-31", "body", name) from None
    return datetime.combine(day, time(23, 59, 59), UTC).isoformat()


def ids(name: str) -> list[uuid.UUID]:
    """Return the ids that were chosen, in a form or in a link.

    Raises:
        Invalid: one of them is no id.
    """
    try:
        return [uuid.UUID(one) for one in dict.fromkeys(request.values.getlist(name))][:1000]
    except ValueError:
        raise Invalid.field("This is no id", "body", name) from None


def load(schema: Schema, body: dict[str, Any]) -> Any:
    """Read a body as the API would.

    Raises:
        Invalid: names the fields.
    """
    try:
        return schema.load(body)
    except ValidationError as error:
        raise Invalid(problems_of({"json": error.messages_dict})) from None
