"""Server-sent events as OpenAI's clients read them, held against the models of the official SDK."""

from __future__ import annotations

import json
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def checked_response(body: Any) -> Response:
    """The SDK's model of a response, every field checked."""
    return Response.model_validate(body, strict=True)


def frames_of(text: str) -> list[tuple[str | None, str]]:
    """The name and the data of each event; comments are left out."""
    found = []
    for frame in text.split("\n\n"):
        lines = [line.partition(": ") for line in frame.splitlines() if not line.startswith(":")]
        if lines:
            fields = {name: value for name, _, value in lines}
            found.append((fields.get("event"), fields["data"]))
    return found


def events_of(text: str) -> list[Any]:
    """The SDK's models of the events of a streamed response, every field checked."""
    found = []
    for name, data in frames_of(text):
        event = _EVENT.validate_python(json.loads(data))
        assert event.type == name
        found.append(event)
    return found
