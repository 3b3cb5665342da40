"""Bodies in OpenAI's shapes.

What the flow's author decides (temperature, instructions and the like) is ignored, as Langflow does. What would
change the answer in a way that its reader counts on is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from service.domain.responses import LONGEST_SESSION
from service.http.schemas.fields import Flag, NullIsAbsent, Text, WireSchema

_LONGEST_INPUT = 1_000_000
_MOST_METADATA = 16
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_NO_FORMAT = "The flow decides about the format."
_NOT_YOURS = "The flow has used its tools already. A list of messages ends with what the user says next."
_text = Text(longest=_LONGEST_INPUT)


class UserText(fields.Field[str]):
    """What the user says: a text, or the last message of the user in a list of messages.

    The messages before it are not read: a flow has a memory of its own. A tool's result behind it is refused: a
    client that took a ``function_call`` for its own task would have the flow answer one question again and again.
    """

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, list):
            return str(_text.deserialize(value))
        for message in reversed(value):
            if not isinstance(message, dict):
                continue
            if message.get("role") == "user":
                return str(_text.deserialize(_content(message.get("content"))))
            if _is_of_tool(message):
                raise ValidationError({"kind": "tools_not_supported", "text": _NOT_YOURS})
        raise ValidationError({"kind": "invalid_value", "text": "There is no message with the role user."})


class Unsupported(fields.Field[None]):
    """What this server does not do. Nothing, and what comes to the same as nothing, may be sent.

    Args:
        text: what the client is told.
        harmless: values that ask for nothing.
        code: of the refusal.
    """

    def __init__(self, text: str, *harmless: object, code: str = "unsupported_parameter") -> None:
        super().__init__(allow_none=True)
        self.refusal = {"kind": code, "text": text}
        self.harmless = (None, [], {}, *harmless)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> None:
        if not any(value == one and type(value) is type(one) for one in self.harmless):
            raise ValidationError(self.refusal)


class OpenAISchema(NullIsAbsent):
    """What all of OpenAI's bodies have in common."""

    model = Text(required=True, longest=1000)
    stream = Flag(load_default=False)
    tools = Unsupported("Tools are not supported yet", code="tools_not_supported")


class TextOptionsSchema(WireSchema):
    """How the text of a response is to look."""

    format = Unsupported(_NO_FORMAT, {"type": "text"})


class StreamOptionsSchema(WireSchema):
    """What a stream of a completion tells beside the text."""

    include_usage = Flag(load_default=False)


class ResponseBodySchema(OpenAISchema):
    """The body of ``POST /responses``."""

    input = UserText(required=True)
    metadata = fields.Dict(
        keys=Text(longest=64), values=Text(longest=512), load_default=dict,
        validate=validate.Length(max=_MOST_METADATA, error=f"Input should have at most {_MOST_METADATA} entries"),
    )  # fmt: skip
    # A response's id is a prefix and the session.
    previous_response_id = Text(longest=LONGEST_SESSION + 100)
    include = fields.List(Text(longest=100), load_default=list, validate=validate.Length(max=100))
    background = Unsupported("Background responses are not supported. Use stream, or wait for the answer.", False)
    store = Unsupported(
        "The flow's chat components say what is stored (Store Messages), and not the request.", True,
        code="unsupported_value",
    )  # fmt: skip
    conversation = Unsupported("Conversations are not supported. Continue one by previous_response_id.")
    prompt = Unsupported("Prompts are not supported. Name a flow as the model.")
    text = fields.Nested(TextOptionsSchema)


class CompletionBodySchema(OpenAISchema):
    """The body of ``POST /chat/completions``; ``session_id`` is Keyturn's own."""

    messages = UserText(required=True)
    session_id = Text(longest=LONGEST_SESSION)
    stream_options = fields.Nested(StreamOptionsSchema, load_default=dict)
    functions = Unsupported("Functions are not supported.")
    n = Unsupported("There is one answer to a request.", 1)
    response_format = Unsupported(_NO_FORMAT, {"type": "text"})
    modalities = Unsupported("Answers are text.", ["text"])


def _is_of_tool(message: dict[Any, Any]) -> bool:
    """True for a tool's result, in the words of either of OpenAI's APIs."""
    return message.get("role") in ("tool", "function") or str(message.get("type")).endswith("_output")


def _content(content: Any) -> Any:
    """The text of a message: as it is, or that of its parts."""
    if not isinstance(content, list):
        return content
    return "\n".join(_texts(content))


def _texts(parts: Iterable[Any]) -> Iterable[str]:
    for part in parts:
        if not isinstance(part, dict) or str(part.get("type")) not in _TEXT_PARTS:
            raise ValidationError({"kind": "unsupported_content", "text": "Only parts of text are supported."})
        yield str(_text.deserialize(part.get("text")))
