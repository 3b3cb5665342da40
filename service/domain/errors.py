"""What can go wrong in a use case, in the domain's own words.

``http/errors.py`` alone decides which status each class answers with. The text of an error is shown
to the client, so it never carries a secret, a query or a path.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class DomainError(Exception):
    """A use case refused or failed; ``str(error)`` is fit for the client."""

    @property
    def message(self) -> str:
        return str(self)


class NotFound(DomainError):
    """The thing does not exist, or belongs to somebody else: the two are never told apart."""


class JobNotFound(NotFound):
    """No such background run, or somebody else's."""

    def __init__(self, job_id: uuid.UUID) -> None:
        self.job_id = job_id
        super().__init__("Job not found")


class Conflict(DomainError):
    """The act would break a rule of uniqueness that the caller asked to be kept."""


class Rejected(DomainError):
    """The input has the right shape and still cannot be accepted (a duplicate name, say)."""


class Forbidden(DomainError):
    """The caller is known and may not do this.

    ``code`` goes out in ``x-langflow-error-code``, as Langflow 1.13 sends it.
    """

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class Locked(DomainError):
    """The flow is locked by its owner."""


class PreconditionFailed(DomainError):
    """``If-Match`` named a version that is no longer the stored one."""


class CredentialRefused(DomainError):
    """A credential was presented and is not good; never treated as no credential at all."""


class KeyRefused(CredentialRefused):
    """A key that exists and is not good here and now; the reason is for the audit trail alone.

    Args:
        key_id: which key.
        owner_id: whose.
        owner_name: whose.
        reason: a few words.
    """

    def __init__(self, key_id: uuid.UUID, owner_id: uuid.UUID, owner_name: str, reason: str) -> None:
        super().__init__("Invalid API key")
        self.key_id, self.owner_id, self.owner_name, self.reason = key_id, owner_id, owner_name, reason


class TokenRefused(CredentialRefused):
    """A login token is unknown, expired, revoked, or of the wrong kind."""


class LoginRefused(DomainError):
    """The name or the password is wrong, or the account is not active.

    Args:
        message: what the client is told.
        reason: what the audit trail is told.
        user_id: of the account that was meant, where there is one.
        username: its name as it is stored. What was typed may be a password in the wrong field.
    """

    def __init__(
        self, message: str, reason: str, user_id: uuid.UUID | None = None, username: str | None = None
    ) -> None:
        super().__init__(message)
        self.reason, self.user_id, self.username = reason, user_id, username


class AwaitingApproval(LoginRefused):
    """The right password of an account that nobody has activated yet."""


class TooManyAttempts(DomainError):
    """A limit is reached; try again after ``retry_after`` seconds."""

    def __init__(self, retry_after: float, text: str = "Too many requests. Please try again later.") -> None:
        super().__init__(text)
        self.retry_after = max(1, math.ceil(retry_after))


class LimitsAway(DomainError):
    """Where limits are counted cannot be reached, and the operator wants no request uncounted."""

    def __init__(self) -> None:
        super().__init__("Requests cannot be counted at the moment. Try again in a moment.")


class NotDecryptable(DomainError):
    """A stored value does not open with the secrets that this server has.

    One error for every cause, so that nothing is learned about which one it was.
    """


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input: where (``("body", "name")``), what kind, and in words."""

    loc: tuple[str | int, ...]
    kind: str
    text: str
    context: dict[str, object] | None = None


class Invalid(DomainError):
    """The input has the wrong shape; ``problems`` names each field."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(problems)
        super().__init__("; ".join(p.text for p in self.problems))

    def in_words(self) -> str:
        """Each problem with the name of its field, for whoever has no form before them."""
        return "; ".join(f"{'.'.join(map(str, p.loc[1:])) or 'body'}: {p.text}" for p in self.problems)

    @classmethod
    def field(cls, text: str, *loc: str | int, kind: str = "value_error") -> Invalid:
        return cls([Problem(loc, kind, text)])

    @classmethod
    def if_longer(cls, text: str, most: int, *loc: str | int) -> None:
        """Refuse a text of more than ``most`` characters.

        Raises:
            Invalid: it is longer.
        """
        if len(text) > most:
            raise cls.field(f"String should have at most {most} characters", *loc, kind="string_too_long")


class TooLarge(DomainError):
    """The body is larger than this server takes."""


class TooBusy(DomainError):
    """This process runs as many flows as it may; try again in a moment."""

    def __init__(self) -> None:
        super().__init__("This server is running as many flows as it can. Try again in a moment.")


class ServerStopping(DomainError):
    """The process stops, and its time is too short for this run."""

    def __init__(self) -> None:
        super().__init__("The server is being stopped and could not finish this run. Try again in a moment.")


class QueueFull(TooBusy):
    """As many jobs of this user wait as may."""

    def __init__(self) -> None:
        DomainError.__init__(self, "As many background runs wait or run as may. Try again when some have ended.")


class FlowInvalid(DomainError):
    """The stored graph cannot be run as it is (a broken edge, a cycle, an unreadable node)."""


class UnknownComponents(DomainError):
    """The flow holds components that no engine of this server knows. Nothing was run.

    Args:
        names: Langflow type names, for example ``{"AstraDB"}``.
        who: which engine, with its verb.
    """

    def __init__(self, names: Iterable[str], who: str = "the embedded engine does not have") -> None:
        self.names = tuple(sorted(set(names)))
        super().__init__(
            f"This flow needs components that {who}: {', '.join(self.names)}. "
            "Remove or replace them in Langflow and upload the flow again."
        )


class CodeRefused(DomainError):
    """The flow holds components that would run code of its own, which the operator has not allowed.

    Args:
        names: Langflow type names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(sorted(set(names)))
        super().__init__(
            f"This server does not run components that execute code or programs: {', '.join(self.names)}."
        )


class TweaksRefused(DomainError):
    """A caller tried to set fields that only the flow's author may set."""

    PROTECTED = "The field is protected and keeps the value set by the flow author."
    UNDECLARED = "This flow says which fields callers may set. Only those take a tweak."
    OFF = "This server takes no tweaks."

    def __init__(self, fields: Iterable[str], reason: str = PROTECTED) -> None:
        self.fields = tuple(sorted(set(fields)))
        super().__init__(reason)


class InputConflict(DomainError):
    """The same input was given twice, as ``input_value`` and as a tweak."""


class VariableMissing(DomainError):
    """A field wants a variable that nobody has set. Names the variable, never a value."""

    def __init__(self, name: str, component: str) -> None:
        self.name, self.component = name, component
        #: Without what a program can do about it.
        self.fault = f"The component {component} needs the variable {name}, which is not set."
        super().__init__(
            f"{self.fault} Create it with POST /api/v1/variables/, or set it in the environment of the server."
        )


class RunFailed(DomainError):
    """A component could not do its work.

    Args:
        reason: in words fit for the client.
        component: display name of the component, when one is to blame.
    """

    def __init__(self, reason: str, *, component: str | None = None) -> None:
        self.reason, self.component = reason, component
        where = f"Error building Component {component}: " if component else ""
        super().__init__(f"{where}{reason}")


class ComponentFailed(RunFailed):
    """The component's own failure."""


class FetchFailed(ComponentFailed):
    """An outgoing request got no usable answer."""


class AddressRefused(ComponentFailed):
    """An outgoing request would have gone where flows must not reach. The text names the host, nothing else."""


class ProviderFailed(RunFailed):
    """A model provider refused, failed or could not be reached."""


class RunTimedOut(RunFailed):
    """The run, or a provider that it waited for, took longer than the limit."""


class RunCancelled(RunFailed):
    """The caller has gone away."""


class RunTooLarge(RunFailed):
    """The run went over a limit on steps or sizes."""


class EngineFailed(RunFailed):
    """The process that a flow runs in did not come up, or ended before the flow had."""

    NOT_STARTED = "The engine for this flow could not be started. The server's log says why."
    GONE = "The engine for this flow has just ended. Try again in a moment."
    CRASHED = "The process that ran this flow ended unexpectedly."
    NONSENSE = "The process that ran this flow gave an answer that cannot be read."
    MEMORY = "The run needed more memory than it may use."


class JobLost(RunFailed):
    """Whoever ran a job has died or was stopped, or nobody took it up."""
