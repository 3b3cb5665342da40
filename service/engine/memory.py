"""Messages on their way into a history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from service.domain.ports import StoredMessage
from service.engine.component import Run
from service.engine.results import properties_of
from service.engine.values import Message


def remember(made: Mapping[str, object], run: Run) -> None:
    """Add the messages that a chat component has made and that count as stored."""
    history = run.context.history
    if history is None:
        return
    for value in made.values():
        if isinstance(value, Message) and value.id is not None:
            history.add(stored(value, run))


def stored(message: Message, run: Run) -> StoredMessage:
    """A message as a history keeps it."""
    return StoredMessage(
        id=message.id or "",
        session_id=message.session_id,
        text=message.text,
        sender=message.sender or "",
        sender_name=message.sender_name or "",
        time=datetime.fromisoformat(message.stamp().removesuffix(" UTC")).replace(tzinfo=UTC),
        context_id=message.context_id,
        files=message.files,
        properties=properties_of(message),
        content_blocks=tuple(block for block in message.blocks if block["type"] != "text"),
        session_metadata={"graph_run_id": run.run_id},
        run_id=run.run_id,
    )
