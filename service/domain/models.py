"""Flows as the models of OpenAI's protocol: what a caller may run, under the name that runs it."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from service.domain.errors import NotFound
from service.domain.flow_runner import find
from service.storage.flows import Flow

MOST = 1000


@dataclass(frozen=True, slots=True)
class Model:
    """A flow by the name that runs it."""

    name: str
    created_at: datetime

    @classmethod
    def of(cls, flow: Flow) -> Model:
        """The model that a flow is: by its endpoint name, unless it has none or one that would be read as an id."""
        with suppress(ValueError):
            uuid.UUID(flow.endpoint_name or "")
            return cls(str(flow.id), flow.created_at)
        return cls(flow.endpoint_name or str(flow.id), flow.created_at)


def list_of(session: Session, user_id: uuid.UUID, only: frozenset[uuid.UUID] | None) -> list[Model]:
    """Return the user's flows that have a graph, the newest first, at most ``MOST``.

    ``only`` are those that the caller's key is limited to.
    """
    query = _runnable(user_id)
    if only is not None:
        query = query.where(Flow.id.in_(only))
    return [Model.of(flow) for flow in session.scalars(query.order_by(Flow.created_at.desc(), Flow.id).limit(MOST))]


def get(session: Session, user_id: uuid.UUID, identifier: str, only: frozenset[uuid.UUID] | None) -> Model:
    """Return one of them by id or endpoint name.

    Raises:
        NotFound: none such, or somebody else's, or none of the key's.
    """
    flow_id = find(session, user_id, identifier, by_name=False).id
    flow = session.scalar(_runnable(user_id).where(Flow.id == flow_id))
    if flow is None or (only is not None and flow_id not in only):
        raise NotFound("Model not found")
    return Model.of(flow)


def _runnable(user_id: uuid.UUID) -> Select[Any]:
    return select(Flow).where(Flow.user_id == user_id, Flow.version_token.is_not(None), Flow.is_component.is_(False))
