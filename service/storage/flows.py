"""Flows and the projects that they lie in."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, deferred, mapped_column

from service.storage.base import Base, Document, Identified, utc_now


class Project(Identified, Base):
    """A folder of flows; Langflow's clients call it project or folder."""

    __tablename__ = "project"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    #: NULL: lies at the top.
    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("project.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Flow(Identified, Base):
    """A flow as Langflow exports it."""

    __tablename__ = "flow"
    __table_args__ = (UniqueConstraint("user_id", "name"), UniqueConstraint("user_id", "endpoint_name"))

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    folder_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("project.id", ondelete="SET NULL"), index=True)
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    #: NULL: runs by id only.
    endpoint_name: Mapped[str | None] = mapped_column(String(255))
    #: The exported JSON, untouched; NULL: a flow that was made without a graph. Large, so loaded when asked for.
    data: Mapped[dict[str, Any] | None] = deferred(mapped_column(Document))
    #: Changes with each change of ``data``; NULL: no graph yet. The compiled flow is kept under it.
    version_token: Mapped[uuid.UUID | None]
    icon: Mapped[str | None] = mapped_column(String(255))
    icon_bg_color: Mapped[str | None] = mapped_column(String(64))
    gradient: Mapped[str | None] = mapped_column(String(255))
    tags: Mapped[list[str] | None] = mapped_column(Document)
    is_component: Mapped[bool] = mapped_column(default=False)
    webhook: Mapped[bool] = mapped_column(default=False)
    locked: Mapped[bool] = mapped_column(default=False)
    mcp_enabled: Mapped[bool] = mapped_column(default=False)
    action_name: Mapped[str | None] = mapped_column(String(255))
    action_description: Mapped[str | None] = mapped_column(Text)
    access_type: Mapped[str] = mapped_column(String(20), default="PRIVATE")
    flow_type: Mapped[str] = mapped_column(String(50), default="workflow")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)
