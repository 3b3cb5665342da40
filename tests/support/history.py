"""A chat history in memory, for tests of the engine."""

from __future__ import annotations

from service.domain.ports import StoredMessage


class Memory:
    """Keeps messages; the newest ``limit`` that fit come back, oldest first unless told."""

    def __init__(self, *messages: StoredMessage) -> None:
        self.messages = {message.id: message for message in messages}

    def add(self, message: StoredMessage) -> None:
        self.messages[message.id] = message

    def load(
        self,
        session_id: str,
        *,
        context_id: str = "",
        sender: str = "",
        sender_name: str = "",
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[StoredMessage]:
        wanted = {"session_id": session_id, "context_id": context_id, "sender": sender, "sender_name": sender_name}
        filters = {name: value for name, value in wanted.items() if value}
        found = [m for m in self.messages.values() if all(getattr(m, n) == v for n, v in filters.items())]
        newest = sorted(found, key=lambda message: message.time)[-limit:] if limit else []
        return newest[::-1] if newest_first else newest
