"""Projects: the folders that flows lie in."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.domain.errors import Conflict, Invalid, NotFound, Rejected
from service.domain.names import numbered
from service.storage.flows import Flow, Project

DEFAULT_NAME = "Starter Project"
MISSING = "Project not found"
MOST_LEVELS = 50
DEFAULT_DESCRIPTION = "Manage your own flows. Download and upload projects."


def default_of(session: Session, user_id: uuid.UUID) -> Project:
    """Return the user's default project; makes it where there is none yet."""
    query = select(Project).where(Project.user_id == user_id, Project.name == DEFAULT_NAME)
    project = session.scalar(query)
    if project is None:
        project = Project(user_id=user_id, name=DEFAULT_NAME, description=DEFAULT_DESCRIPTION)
        try:
            with session.begin_nested():
                session.add(project)
        except IntegrityError:  # another request made it just now
            project = session.scalars(query).one()
    return project


def checked(session: Session, user_id: uuid.UUID, project_id: uuid.UUID | None) -> uuid.UUID:
    """Return the id of one of the user's projects, the default one for None.

    Raises:
        NotFound: none such, or somebody else's.
    """
    if project_id is None:
        return default_of(session, user_id).id
    return get(session, user_id, project_id).id


def get(session: Session, user_id: uuid.UUID, project_id: uuid.UUID,
        only: frozenset[uuid.UUID] | None = None) -> Project:  # fmt: skip
    """Return one of the user's projects; ``only`` as for ``list_of``.

    Raises:
        NotFound: none such, or somebody else's.
    """
    project: Project | None = session.scalar(_mine(user_id, only).where(Project.id == project_id))
    if project is None:
        raise NotFound(MISSING)
    return project


def list_of(session: Session, user_id: uuid.UUID, only: frozenset[uuid.UUID] | None = None) -> list[Project]:
    """Return the user's projects, the default one first, then by name.

    Args:
        session: where to look.
        user_id: whose.
        only: the flows that the caller's key is limited to; it sees the projects that these lie in.
    """
    found: Iterable[Project] = session.scalars(_mine(user_id, only).order_by(Project.name))
    return sorted(found, key=lambda project: project.name != DEFAULT_NAME)


def create(session: Session, user_id: uuid.UUID, new: Mapping[str, Any]) -> Project:
    """Make a project; a taken name gets a number, as in Langflow, and the flows it names move into it.

    Raises:
        Invalid: the name has neither a letter nor a digit.
    """
    check_name(new["name"])
    like = Project.name.startswith(new["name"], autoescape=True)
    taken = set(session.scalars(select(Project.name).where(Project.user_id == user_id, like)))
    return _add(session, user_id, uuid.uuid4(), dict(new) | {"name": numbered(new["name"], taken, "{} ({})")})


def change(session: Session, user_id: uuid.UUID, project_id: uuid.UUID, changes: Mapping[str, Any]) -> Project:
    """Rename a project or describe it anew.

    Raises:
        NotFound: none such, or somebody else's; ``parent_id`` likewise.
        Conflict: another project of the user has the name.
        Invalid: the name has neither a letter nor a digit, or the project would lie inside itself.
    """
    project = get(session, user_id, project_id)
    # Looked up before anything is changed: a query would write a taken name, and not say so in words.
    parent_id = changes.get("parent_id")
    if parent_id is not None:
        parent_id = _parent(session, user_id, project_id, parent_id)
    if changes.get("name") is not None:
        check_name(changes["name"])
        project.name = changes["name"]
    if "description" in changes:
        project.description = changes["description"]
    if parent_id is not None:
        project.parent_id = parent_id
    _flush(session)
    return project


def put(session: Session, user_id: uuid.UUID, project_id: uuid.UUID, body: Mapping[str, Any]) -> tuple[Project, bool]:
    """Make the project of that id be what the body says; returns it, and whether it is new.

    Raises:
        NotFound: the id is somebody else's project.
        Rejected: the body lists flows, and the project is there already.
        Conflict: another project of the user has the name.
    """
    owner = session.scalar(select(Project.user_id).where(Project.id == project_id))
    if owner is None:
        check_name(body["name"])
        return _add(session, user_id, project_id, body), True
    project = get(session, user_id, project_id)
    if body.get("flows_list") or body.get("components_list"):
        raise Rejected(
            "flows_list/components_list are not supported when updating an existing project; set a flow's project "
            "via PUT /api/v1/flows/{flow_id} instead."
        )
    return change(session, user_id, project.id, body), False


def remove(session: Session, user_id: uuid.UUID, project_id: uuid.UUID) -> None:
    """Delete a project with the flows in it, as Langflow does; a default project is always there.

    Raises:
        NotFound: none such, or somebody else's.
    """
    project = get(session, user_id, project_id)
    session.execute(delete(Flow).where(Flow.folder_id == project.id, Flow.user_id == user_id))
    session.delete(project)
    session.flush()
    default_of(session, user_id)


def check_name(name: str) -> None:
    """Refuse a name without a letter or a digit: MCP servers are named after their project.

    Raises:
        Invalid: in Langflow's words.
    """
    if not any(letter.isalnum() for letter in name):
        text = "Project names must contain at least one letter or number"
        raise Invalid.field(text, "body", "name", kind="invalid_project_name")


def _mine(user_id: uuid.UUID, only: frozenset[uuid.UUID] | None) -> Select[Any]:
    """The one look-up of a project: every query begins with the owner."""
    query = select(Project).where(Project.user_id == user_id)
    if only is not None:
        query = query.where(Project.id.in_(select(Flow.folder_id).where(Flow.user_id == user_id, Flow.id.in_(only))))
    return query


def _add(session: Session, user_id: uuid.UUID, project_id: uuid.UUID, new: Mapping[str, Any]) -> Project:
    project = Project(id=project_id, user_id=user_id, name=new["name"], description=new.get("description"))
    session.add(project)
    _flush(session)
    move(session, user_id, project.id, [*(new.get("flows_list") or ()), *(new.get("components_list") or ())])
    return project


def move(session: Session, user_id: uuid.UUID, project_id: uuid.UUID, flow_ids: Sequence[uuid.UUID]) -> None:
    """Put flows of the user into a project; others' are passed over like missing ones."""
    if flow_ids:
        mine = update(Flow).where(Flow.id.in_(flow_ids), Flow.user_id == user_id)
        session.execute(mine.values(folder_id=project_id))


def _parent(session: Session, user_id: uuid.UUID, project_id: uuid.UUID, parent_id: uuid.UUID) -> uuid.UUID:
    if session.scalar(_mine(user_id, None).where(Project.id == parent_id)) is None:
        raise NotFound("Parent project not found")
    above: uuid.UUID | None = parent_id
    # Counted, because two changes at once may have closed a circle that this project is not in.
    for _ in range(MOST_LEVELS):
        if above is None:
            return parent_id
        if above == project_id:
            break
        above = session.scalar(select(Project.parent_id).where(Project.id == above))
    raise Invalid.field("Value error, a project cannot lie inside itself or too deep", "body", "parent_id")


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        text = str(error.orig)
        if "uq_project_user_id_name" in text or "project.name" in text:
            raise Conflict("Project name must be unique") from None
        raise
