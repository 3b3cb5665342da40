"""What every way of running a flow shares: read what it needs, give the connection back, then run or hand over."""

from __future__ import annotations

from flask import Request

from service.domain import jobs, runs
from service.domain.jobs import Order, Ticket
from service.domain.runs import Prepared, RunRequest
from service.http.db import own_transaction, reads_only, release, services, session
from service.http.policy import caller

_VARIABLE_HEADER = "HTTP_X_LANGFLOW_GLOBAL_VAR_"


def prepared(identifier: str, asked: RunRequest) -> Prepared:
    """Read what the run needs, and give the connection back before waiting on a provider."""
    reads_only()
    identity, own = caller(), services()
    found = own.runner.prepare(
        session, identity.user_id, identifier, asked.tweaks, asked.variables, asked.session_id,
        only=identity.rights.flows if identity.rights is not None else None,
        slot=runs.slot_of(identity.rights, identity.key_id, own.run_limits, own.settings.run_timeout),
        key_id=identity.key_id,
    )  # fmt: skip
    release()
    return found


def in_background(identifier: str, asked: RunRequest, idempotency_key: str | None = None) -> Ticket:
    """Start a run that nobody waits for; what can be told before it runs is told now.

    Raises:
        DomainError: as for a run, and where as many wait or run as may.
    """
    found = prepared(identifier, asked)
    if found.slot is not None:
        found.slot.look()
    identity, own = caller(), services()
    order = Order(
        identity.user_id, found.flow_id, identity.key_id, asked, idempotency_key,
        found.slot.most if found.slot is not None else None,
    )  # fmt: skip
    with own_transaction() as transaction:
        ticket = jobs.submit(transaction, own.vault, own.jobs.rules, order)
    own.jobs.carrier.announce(ticket.id)
    own.jobs.keeper.awake()
    return ticket


def header_variables(request: Request) -> dict[str, str]:
    """The values that came as ``X-LANGFLOW-GLOBAL-VAR-NAME`` headers.

    WSGI cannot tell a dash from an underscore in a header's name, so neither do the names here.
    """
    start = len(_VARIABLE_HEADER)
    return {
        name[start:]: value for name, value in request.environ.items() if name.startswith(_VARIABLE_HEADER) and value
    }
