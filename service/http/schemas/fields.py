"""Fields and rules that the schemas share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load, validate

from service.instants import in_utc
from service.storage.base import is_storable


class WireSchema(Schema):
    """Unknown fields of a request are ignored, as Langflow does; its clients send some."""

    class Meta:
        unknown = EXCLUDE


class NullIsAbsent(WireSchema):
    """Null in a request counts as absent."""

    @pre_load
    def without_nulls(self, data: Any, **_: Any) -> Any:
        """Drop nulls."""
        return {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data


class Text(fields.String):
    """A string that every database can hold: no NUL, no half of a surrogate pair.

    Args:
        longest: characters allowed.
    """

    def __init__(self, *, longest: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.longest = longest

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        text = value
        if not is_storable(text):
            is_nul = "\x00" in text
            raise ValidationError("the text holds a NUL character" if is_nul else "the text is not valid Unicode")
        if self.longest is not None and len(text) > self.longest:
            raise ValidationError(
                {"kind": "string_too_long", "text": f"String should have at most {self.longest} characters",
                 "context": {"max_length": self.longest}}
            )  # fmt: skip
        return text


class Texts(fields.Dict):
    """Texts by name."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keys=Text(), values=Text(), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        try:
            return super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]
        except ValidationError as error:
            if not isinstance(error.messages, dict):
                raise
            # A problem of a text is told at its name, and not one step below.
            flat = {name: told.get("value", told.get("key")) for name, told in error.messages.items()}
            raise ValidationError(flat) from None


class Flag(fields.Boolean):
    """A JSON boolean; no text or number that looks like one."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


def instant_text(value: datetime | None, style: str = "+00:00") -> str | None:
    """An instant in one of the styles of ``Instant``."""
    if value is None:
        return None
    if style == "Z":
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value.isoformat(timespec="seconds")


class Instant(fields.Field[datetime]):
    """A point in time. Reads ISO 8601 with any offset (none means UTC), writes UTC.

    Args:
        style: "Z" as Langflow writes users, with microseconds; "+00:00" as it writes keys and flows.
    """

    def __init__(self, *, style: str = "+00:00", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.style = style

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return instant_text(value, self.style)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> datetime:
        try:
            return in_utc(datetime.fromisoformat(value))
        except (TypeError, ValueError):
            raise ValidationError({"kind": "datetime_parsing", "text": "Input should be a valid datetime"}) from None


def between(least: int, most: int) -> list[validate.Validator]:
    """Return validators for a range, with pydantic's wordings and context."""
    low = {"kind": "greater_than_equal", "text": f"Input should be greater than or equal to {least}",
           "context": {"ge": least}}  # fmt: skip
    high = {"kind": "less_than_equal", "text": f"Input should be less than or equal to {most}",
            "context": {"le": most}}  # fmt: skip
    return [Bound(least=least, message=low), Bound(most=most, message=high)]


class Bound(validate.Validator):
    """One end of a range, with its own wording."""

    def __init__(self, *, message: dict[str, Any], least: int | None = None, most: int | None = None) -> None:
        self.message, self.least, self.most = message, least, most

    def __call__(self, value: int) -> int:
        if (self.least is not None and value < self.least) or (self.most is not None and value > self.most):
            raise ValidationError(self.message)
        return value
