"""Chat and text, in and out."""

from __future__ import annotations

import json

from service.chance import new_id
from service.engine.component import Component, Output
from service.engine.fields import Field
from service.engine.uploads import is_reference, references
from service.engine.values import (
    NAME_AI,
    SENDER_AI,
    SENDER_USER,
    Data,
    Message,
    Source,
    display,
    text_of,
    total_usage,
)

_CHAT_FIELDS = (
    Field("should_store_message", "bool", default=True),
    Field("session_id"),
    Field("context_id", default=""),
    Field("text_color"),
    Field("background_color"),
    Field("chat_icon"),
)


def _look_of_1_5(component: Component, message: Message, icon: str) -> None:
    """Colours and icon as 1.5's own code sets them; newer exports have no such fields."""
    message.colors = component.text("text_color"), component.text("background_color")
    message.icon = component.text("chat_icon") or icon


class ChatInput(Component):
    """The caller's message. Stored with the session when there is one."""

    names = ("ChatInput",)
    display_name = "Chat Input"
    role = "chat_input"
    fields = (
        Field("input_value", default=""),
        Field("sender", default=SENDER_USER),
        Field("sender_name", default=SENDER_USER),
        Field("files", "file"),
        *_CHAT_FIELDS,
    )
    outputs = (Output("message", "message_response"),)
    __slots__ = ()

    @classmethod
    def accepts_reference(cls, declared: Field, value: object) -> bool:
        """A caller may send files along, but only what the flow's owner has uploaded."""
        return declared.name == "files" and is_reference(value)

    def message_response(self) -> Message:
        """The message, with an id when it is stored."""
        values = self.values
        session_id = self.text("session_id") or self.run.session_id
        stored = bool(session_id and values["should_store_message"])
        message = Message(
            text_of(values["input_value"]),
            text_of(values["sender"]),
            text_of(values["sender_name"]),
            session_id,
            text_of(values["context_id"]),
            references(values["files"]),
            id=new_id() if stored else None,
        )
        if self.values["background_color"] is not None:
            _look_of_1_5(self, message, "")
        return message


class ChatOutput(Component):
    """The answer, in words: records become a JSON block, tables become Markdown."""

    names = ("ChatOutput",)
    display_name = "Chat Output"
    role = "chat_output"
    fields = (
        Field("input_value", "handle"),
        Field("sender", default=SENDER_AI),
        Field("sender_name", default=NAME_AI),
        *_CHAT_FIELDS,
    )
    outputs = (Output("message", "message_response"),)
    __slots__ = ()

    def message_response(self) -> Message:
        """The incoming message under this component's name, or a new one around another value."""
        value = self.values["input_value"]
        if value is None:
            raise self.fail("Input data cannot be None")
        message = self._message(value)
        session_id = self.text("session_id") or message.session_id or self.run.session_id
        message.sender = text_of(self.values["sender"])
        message.sender_name = text_of(self.values["sender_name"])
        message.session_id = session_id
        message.context_id = text_of(self.values["context_id"])
        message.source = self._origin()
        if self.values["background_color"] is not None:
            origin = self.run.components.get(self.step.origin) if self.step.origin is not None else None
            _look_of_1_5(self, message, "" if origin is None else origin.step.icon)
        if message.id is None and session_id and self.values["should_store_message"]:
            message.id = new_id()
        if self.run.usage:
            self._add_usage(message)
        return message

    def _message(self, value: object) -> Message:
        if not isinstance(value, Message):
            return Message(display(value))
        if "chat_input" in self.step.neighbours:
            return Message(value.text)
        message = Message(value.text, session_id=value.session_id, timestamp=value.timestamp, icon=value.icon)
        message.files = value.files
        message.blocks = list(value.blocks)
        message.usage = value.usage
        if value.begun:  # the first output that takes a streamed message completes it
            message.id, value.begun = value.id, False
        return message

    def _origin(self) -> Source:
        origin = self.step.origin
        component = None if origin is None else self.run.components.get(origin)
        return (None, None, None) if component is None else component.source()

    def _add_usage(self, message: Message) -> None:
        """Sum up what all models before this output have used."""
        used = [self.run.usage[step] for step in self.step.ancestors if step in self.run.usage]
        if used:
            message.usage = total_usage(used)


class TextInput(Component):
    """A text that the caller may give."""

    names = ("TextInput", "TextInputComponent")
    display_name = "Text Input"
    role = "text_input"
    fields = (Field("input_value", default=""),)
    outputs = (Output("text", "text_response"),)
    shows_record = True
    __slots__ = ()

    def text_response(self) -> Message:
        """The text as an unstored message."""
        return Message(self.text("input_value"))


class TextOutput(Component):
    """A text that goes out as a result."""

    names = ("TextOutput", "TextOutputComponent")
    display_name = "Text Output"
    role = "other_output"
    fields = (Field("input_value", default=""),)
    outputs = (Output("text", "text_response"),)
    __slots__ = ()

    def text_response(self) -> Message:
        """The text as an unstored message."""
        return Message(self.text("input_value"))


class Webhook(Component):
    """The body of the request that started the run."""

    names = ("Webhook", "WebhookComponent")
    display_name = "Webhook"
    description = "Takes the body of a webhook's request."
    role = "other_input"
    takes_payload = True
    fields = (Field("data", default=""),)
    outputs = (Output("output_data", "build_data"),)
    __slots__ = ()

    def build_data(self) -> Data:
        """The body as a record; what is no JSON object stands under ``payload``."""
        payload = self.text("data")
        if not payload:
            return Data({})
        try:
            body = json.loads(payload)
        except (ValueError, RecursionError):
            return Data({"payload": payload})
        return Data(body if isinstance(body, dict) else {"payload": body})
