"""Runs that a request asks for, whatever shape it asks in."""

from __future__ import annotations

from service.domain import jobs
from service.domain.jobs import Order, Ticket
from service.domain.runs import Prepared, RunRequest
from service.http import key_limits
from service.http.db import own_transaction, reads_only, release, services, session
from service.http.policy import caller


def prepared_run(identifier: str, asked: RunRequest) -> Prepared:
    """Find a flow of the caller, within the rights of the key, and read what its run needs.

    The connection is given back before anybody waits on a provider.

    Raises:
        DomainError: as ``FlowRunner.prepare`` says.
    """
    reads_only()
    identity, own = caller(), services()
    prepared = own.runner.prepare(
        session, identity.user_id, identifier, asked.tweaks, asked.variables, asked.session_id,
        only=identity.rights.flows if identity.rights is not None else None, slot=key_limits.slot_of(identity, own),
        key_id=identity.key_id,
    )  # fmt: skip
    release()
    return prepared


def in_background(identifier: str, asked: RunRequest, idempotency_key: str | None = None) -> Ticket:
    """Start a run that nobody waits for; what can be told before it runs is told now.

    Raises:
        DomainError: as for a run, and where as many wait or run as may.
    """
    found = prepared_run(identifier, asked)
    identity, own = caller(), services()
    slot = key_limits.slot_of(identity, own)
    if slot is not None:
        slot.look()
    order = Order(
        identity.user_id, found.flow_id, identity.key_id, asked, idempotency_key,
        slot.most if slot is not None else None,
    )  # fmt: skip
    with own_transaction() as transaction:
        ticket = jobs.submit(transaction, own.vault, own.jobs.rules, order)
    own.jobs.carrier.announce(ticket.id)
    own.jobs.keeper.awake()
    return ticket
