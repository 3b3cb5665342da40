"""One HTTP request of an MCP client: who sent it, for whom it is answered, and how."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.domain.identity import Identity
from service.domain.mcp import Audience
from service.domain.permissions import Scope
from service.http.db import Services

_SESSION = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Exchange:
    """What answering a message needs.

    Args:
        whom: whose tools.
        identity: the caller; None: nobody in particular.
        own: the application's services.
        address: of the peer.
        revision: of the protocol.
        session_id: what the client's requests have in common; None: nothing.
        variables: the values of ``X-LANGFLOW-GLOBAL-VAR-*`` headers.
    """

    whom: Audience
    identity: Identity | None
    own: Services = field(repr=False)
    address: str | None
    revision: str
    session_id: str | None = field(default=None, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def server(self) -> str:
        """The server's name, as Langflow's servers call themselves."""
        project = self.whom.project_id
        return "langflow-mcp-server" if project is None else f"langflow-mcp-project-{project}"

    @property
    def may_read(self) -> bool:
        """Whether the caller may look at its own things."""
        if self.identity is None:
            return False
        return self.identity.rights is None or self.identity.rights.allow(Scope.READ)

    def digest(self, *parts: object) -> str:
        """Return an id that only this caller can name: it holds the session, the credential and the project."""
        caller = (str(self.identity.user_id), str(self.identity.key_id)) if self.identity is not None else None
        text = json.dumps([caller, str(self.whom.project_id), self.session_id, *parts])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def session_id_of(value: str | None) -> str | None:
    """Return a session's id as it came, or None where it cannot be one."""
    return value if value is not None and _SESSION.fullmatch(value) else None
