"""Chat memory: what was said before in this session of this flow."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import ClassVar

from service.chance import new_id
from service.domain.ports import StoredMessage
from service.engine.component import Component, Output
from service.engine.fields import Field
from service.engine.templates import fill, parse
from service.engine.values import SENDER_AI, SENDER_USER, Data, Message, Table, text_of

_BOTH = "Machine and User"
_MOST = 1000
_WORD = re.compile(r"\w+")


class MessageHistory(Component):
    """Reads the history of the session, or adds a message to it."""

    names: ClassVar[tuple[str, ...]] = ("Memory", "MessageHistory", "MemoryComponent")
    display_name = "Message History"
    description = "Reads earlier messages of the conversation."
    fields = (
        Field("mode", default="Retrieve"),
        Field("message", "any"),
        Field("memory", "handle"),
        Field("sender_type", default=_BOTH),
        Field("sender", default=""),
        Field("sender_name", default=""),
        Field("n_messages", "int", default=100),
        Field("session_id"),
        Field("context_id", default=""),
        Field("order", default="Ascending"),
        Field("template", "template", default="{sender_name}: {text}"),
    )
    outputs: ClassVar[tuple[Output, ...]] = (
        Output("messages_text", "retrieve_messages_as_text"),
        Output("dataframe", "retrieve_messages_dataframe"),
        Output("messages", "retrieve_messages"),
        Output("stored_messages", "store_message"),
    )
    __slots__ = ()

    def retrieve_messages_as_text(self) -> Message:
        """One line for each message, by the template; after storing, the message itself."""
        if self.text("mode") == "Store":
            return self.store_message()
        try:
            parts = parse(self.text("template"))
        except ValueError as error:
            raise self.fail(f"The template cannot be used: {error}.") from None
        lines = [fill(parts, {name: text_of(value) for name, value in _record(m).items()}) for m in self._found()]
        return Message("\n".join(lines))

    def retrieve_messages(self) -> list[Data]:
        """One record for each message."""
        return [Data(_record(message)) for message in self._found()]

    def retrieve_messages_dataframe(self) -> Table:
        """One row for each message."""
        return Table([_record(message) for message in self._found()])

    def store_message(self) -> Message:
        """Add the message to the session's history, and hand it on."""
        text = text_of(self.values.get("message"))
        if not text:
            raise self.fail("There is no message to store.")
        sender = self.text("sender") or (SENDER_USER if self.text("sender_type") == SENDER_USER else SENDER_AI)
        session_id = self.text("session_id") or self.run.session_id
        name = self.text("sender_name") or ("User" if sender == SENDER_USER else "AI")
        message = Message(text, sender, name, session_id, self.text("context_id"))
        history = self.run.context.history
        if history is not None and session_id:
            now = datetime.now(UTC)
            history.add(StoredMessage(new_id(), session_id, text, sender, name, now, message.context_id))
        return message

    def _found(self) -> list[StoredMessage]:
        if self.values.get("memory") is not None:
            raise self.fail("External memories are not available on this server.")
        history, most = self.run.context.history, self.integer("n_messages")
        session_id = self.text("session_id") or self.run.session_id
        if history is None or most == 0 or not session_id:
            return []
        kind = self.text("sender_type")
        return history.load(
            session_id,
            context_id=self.text("context_id"),
            sender="" if kind == _BOTH else kind,
            sender_name=self.text("sender_name"),
            limit=min(most or _MOST, _MOST),
            newest_first=self.text("order") == "Descending",
        )


class StoreMessage(MessageHistory):
    """Adds a message to the history (older exports)."""

    names = ("StoreMessage",)
    display_name = "Message Store"
    description = "Adds a message to the history of the conversation."
    outputs = (Output("stored_messages", "store_message"),)
    __slots__ = ()


class MemoryBase(Component):
    """Finds what was said before about something.

    Langflow searches an index of embeddings here; Keyturn ranks this flow's own history by the words that a message
    shares with the query.
    """

    names = ("MemoryBase",)
    display_name = "Memory Base"
    description = "Finds earlier messages of the conversation about something."
    fields = (
        Field("memory_base", "any"),
        Field("search_query", default="", tool="What to look for, in a few words."),
        Field("top_k", "int", default=5),
        Field("include_metadata", "bool", default=True),
        Field("filter_by_session", "bool", default=True),
    )
    outputs = (Output("retrieve_data", "retrieve_memory"),)
    __slots__ = ()

    def retrieve_memory(self) -> Table:
        """The best ``top_k`` messages of this session, the best first; none without a query."""
        history, query = self.run.context.history, _words(self.text("search_query"))
        if history is None or not query or not self.run.session_id:
            return Table([])
        found = history.load(self.run.session_id, limit=_MOST, newest_first=True)
        scored = [(len(query & _words(message.text)) / len(query), message) for message in found]
        best = sorted((item for item in scored if item[0] > 0), key=lambda item: -item[0])
        return Table([self._row(score, message) for score, message in best[: max(1, self.integer("top_k") or 5)]])

    def _row(self, score: float, message: StoredMessage) -> dict[str, object]:
        row: dict[str, object] = {"content": message.text}
        if self.flag("include_metadata"):
            row |= {"sender": message.sender, "session_id": message.session_id, "_score": round(score, 4)}
        return row


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


def _record(message: StoredMessage) -> dict[str, object]:
    return {
        "text": message.text,
        "sender": message.sender,
        "sender_name": message.sender_name,
        "session_id": message.session_id,
        "context_id": message.context_id,
        "files": list(message.files),
        "timestamp": message.time.isoformat(" ", "microseconds")[:26] + " UTC",
        "error": message.error,
        "edit": message.edit,
        "category": message.category,
    }
