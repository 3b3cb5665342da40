"""May a request without a credential pass? A table, and a pure function that reads it.

The table is the one of ``docs/policy.md``; Langflow changed the rule twice, so it depends on the version
that is served. A request *with* a credential is never judged here: the credential alone decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Era(Enum):
    """Spans of Langflow versions that share a rule."""

    BEFORE_1_5 = "< 1.5"
    FROM_1_5 = ">= 1.5 and < 2.0"
    FROM_2_0 = ">= 2.0"

    @classmethod
    def of(cls, version: tuple[int, int]) -> Era:
        """Return the era of a (major, minor) version."""
        if version < (1, 5):
            return cls.BEFORE_1_5
        return cls.FROM_1_5 if version < (2, 0) else cls.FROM_2_0


class Kind(Enum):
    """What an endpoint asks of a caller; every route has exactly one (``http/rules.py``)."""

    PUBLIC = "public"
    #: Anybody; a credential that is sent is still judged.
    OPTIONAL = "optional"
    #: A key or a login session.
    API = "api"
    #: A key only: running flows.
    RUN = "run"
    #: A key only, with Langflow's own wording for webhooks.
    WEBHOOK = "webhook"
    #: A key or a session of a superuser.
    SUPERUSER = "superuser"
    #: A login session only: acts that a leaked key must not reach.
    SESSION = "session"
    MCP = "mcp"
    #: An MCP endpoint about somebody's own things: nobody in particular has none.
    MCP_OWN = "mcp own"
    #: A page of the browser: whoever is not signed in is led to the sign-in.
    PAGE = "page"
    #: A page for superusers.
    ADMIN_PAGE = "admin page"

    def __init__(self, text: str) -> None:
        # Attributes and not properties: they are asked for with every request.
        #: True for pages that want somebody who is signed in.
        self.is_page = text in {"page", "admin page"}
        #: True where login tokens do not count.
        self.keys_only = text in {"run", "webhook"}


class Outcome(Enum):
    """What happens to a request without a credential."""

    REFUSE = "refuse"
    #: Refuse, and say that Langflow needs a key since 1.5.
    REFUSE_KEY_NEEDED = "refuse, a key is needed since 1.5"
    #: Nobody in particular: only what is public.
    ANONYMOUS = "anonymous"
    SUPERUSER = "as the superuser"
    SUPERUSER_DEPRECATED = "as the superuser, with a warning"

    @property
    def acts_as_superuser(self) -> bool:
        """True when the request is given the superuser's rights."""
        return self in {Outcome.SUPERUSER, Outcome.SUPERUSER_DEPRECATED}


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decide."""

    era: Era
    auto_login: bool = False
    skip_auth_auto_login: bool = False
    mcp_require_api_key: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; None means any."""

    era: Era
    auto_login: bool | None
    skip_auth_auto_login: bool | None
    api: Outcome
    mcp: Outcome

    def covers(self, policy: Policy) -> bool:
        """Say whether the line speaks of this policy."""
        return (
            self.era is policy.era
            and self.auto_login in (None, policy.auto_login)
            and self.skip_auth_auto_login in (None, policy.skip_auth_auto_login)
        )


TABLE = (
    Row(Era.BEFORE_1_5, True, None, Outcome.SUPERUSER, Outcome.SUPERUSER),
    Row(Era.BEFORE_1_5, False, True, Outcome.SUPERUSER, Outcome.SUPERUSER),
    Row(Era.BEFORE_1_5, False, False, Outcome.REFUSE, Outcome.REFUSE),
    Row(Era.FROM_1_5, True, True, Outcome.SUPERUSER_DEPRECATED, Outcome.ANONYMOUS),
    Row(Era.FROM_1_5, True, False, Outcome.REFUSE_KEY_NEEDED, Outcome.ANONYMOUS),
    Row(Era.FROM_1_5, False, None, Outcome.REFUSE, Outcome.ANONYMOUS),
    Row(Era.FROM_2_0, None, None, Outcome.REFUSE, Outcome.ANONYMOUS),
)


def without_credential(kind: Kind, policy: Policy) -> Outcome:
    """Decide on a request that carries no credential at all.

    Args:
        kind: what the matched endpoint asks for.
        policy: the settings in force.
    """
    if kind in {Kind.PUBLIC, Kind.OPTIONAL}:
        return Outcome.ANONYMOUS
    row = next(row for row in TABLE if row.covers(policy))
    if kind in {Kind.MCP, Kind.MCP_OWN}:
        needs_somebody = kind is Kind.MCP_OWN or policy.mcp_require_api_key
        return Outcome.REFUSE if needs_somebody and row.mcp is Outcome.ANONYMOUS else row.mcp
    # A webhook without a key is the advisory "anyone runs the flow as its owner", and a session-only act
    # needs somebody who signed in; no setting opens either.
    if kind in {Kind.WEBHOOK, Kind.SESSION} or kind.is_page:
        return Outcome.REFUSE
    return row.api
