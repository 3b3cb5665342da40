"""Runs that a request asks for, whatever shape it asks in."""

from __future__ import annotations

from service.domain.runs import Prepared, RunRequest
from service.http import key_limits
from service.http.db import reads_only, release, services, session
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
