"""Projects: the folders that flows lie in."""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.domain.errors import NotFound
from service.storage.flows import Project

DEFAULT_NAME = "Starter Project"
DEFAULT_DESCRIPTION = "Manage your own flows. Download and upload projects."


def default_of(session: Session, user_id: uuid.UUID) -> Project:
    """Return the user's default project; makes it where there is none yet."""
    project = session.scalar(select(Project).where(Project.user_id == user_id, Project.name == DEFAULT_NAME))
    if project is None:
        project = Project(user_id=user_id, name=DEFAULT_NAME, description=DEFAULT_DESCRIPTION)
        session.add(project)
        session.flush()
    return project


def checked(session: Session, user_id: uuid.UUID, project_id: uuid.UUID | None) -> uuid.UUID:
    """Return the id of one of the user's projects, the default one for None.

    Raises:
        NotFound: none such, or somebody else's.
    """
    if project_id is None:
        return default_of(session, user_id).id
    found = session.scalar(select(Project.id).where(Project.id == project_id, Project.user_id == user_id))
    if found is None:
        raise NotFound("Project not found")
    return found
