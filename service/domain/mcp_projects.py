"""Which flows of a project are tools of MCP, and what they say of themselves there."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.domain import mcp, projects
from service.domain.audit import Actor
from service.storage.flows import Flow, Project

EDITABLE = ("mcp_enabled", "action_name", "action_description")


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """A flow as the settings of its project show it."""

    id: uuid.UUID
    mcp_enabled: bool
    action_name: str
    action_description: str
    name: str
    description: str | None


def settings_of(
    session: Session, user_id: uuid.UUID, project_id: uuid.UUID, *, enabled_only: bool
) -> list[ToolSettings]:
    """Return the flows of one of the user's projects, with what they are called as tools.

    Raises:
        NotFound: no such project, or somebody else's.
    """
    projects.checked(session, user_id, project_id)
    query = select(Flow).where(Flow.user_id == user_id, Flow.folder_id == project_id, Flow.is_component.is_(False))
    if enabled_only:
        query = query.where(Flow.mcp_enabled.is_(True))
    return [_settings(flow) for flow in session.scalars(query.order_by(Flow.created_at, Flow.id))]


def server_name(session: Session, user_id: uuid.UUID, project_id: uuid.UUID) -> str:
    """Return the name under which clients keep the project's server; the project is the user's."""
    name = session.scalar(select(Project.name).where(Project.id == project_id, Project.user_id == user_id))
    return f"lf-{mcp.tool_name(name or '')[:26]}"


def change(
    session: Session, by: Actor, user_id: uuid.UUID, project_id: uuid.UUID, wanted: Sequence[Mapping[str, Any]],
    now: datetime,
) -> int:  # fmt: skip
    """Change what ``wanted`` names of the project's flows, and return how many there were.

    Others' flows, and those of other projects, are passed over like missing ones.

    Raises:
        NotFound: no such project, or somebody else's.
        Forbidden: a limited key makes a flow one that callers without a key can run.
    """
    projects.checked(session, user_id, project_id)
    by_id = {one["id"]: one for one in wanted}
    mine = Flow.user_id == user_id, Flow.folder_id == project_id
    flows = session.scalars(select(Flow).where(*mine, Flow.id.in_(by_id))).all()
    with mcp.guarded_opening(session, by, by_id):
        for flow in flows:
            for name in EDITABLE:
                if name in by_id[flow.id]:
                    setattr(flow, name, by_id[flow.id][name])
            flow.updated_at = now
        session.flush()
    return len(flows)


def _settings(flow: Flow) -> ToolSettings:
    own_name = mcp.tool_name(flow.name)
    return ToolSettings(
        id=flow.id,
        mcp_enabled=flow.mcp_enabled,
        action_name=mcp.tool_name(flow.action_name) if flow.action_name else own_name,
        action_description=mcp.description_of(flow, own_name),
        name=flow.name,
        description=flow.description,
    )
