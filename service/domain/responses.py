"""Which conversation a response belongs to."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from service.domain.errors import Invalid

LONGEST_SESSION = 255
_FORM = re.compile(r"resp_[0-9a-f]{32}_(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Turn:
    """One response, and the session of its flow that it is a turn of.

    The id says both, so that any worker can continue the conversation and nothing is kept for it. It is a name and no
    permission: whose messages a session holds is decided by the owner and the flow, which every query on messages
    has. With the id of somebody else's response one continues a conversation of one's own that has no messages yet,
    exactly as with an id that never existed.
    """

    id: uuid.UUID
    session_id: str

    @property
    def response_id(self) -> str:
        """The id that a client sees. Each response has its own: clients that keep a history drop what they know."""
        return f"resp_{self.id.hex}_{self.session_id}"

    @classmethod
    def after(cls, previous: str | None) -> Turn:
        """The turn that follows a response; the first one of a new conversation where there is none.

        Args:
            previous: id of a response, or the name of a session, which Langflow's documents show.

        Raises:
            Invalid: the session's name is too long.
        """
        if not previous:
            return cls(uuid.uuid4(), str(uuid.uuid4()))
        found = _FORM.fullmatch(previous)
        session_id = found[1] if found else previous
        Invalid.if_longer(session_id, LONGEST_SESSION, "body", "previous_response_id")
        return cls(uuid.uuid4(), session_id)
