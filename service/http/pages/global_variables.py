"""Settings -> Global Variables."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from flask import Response, request

from service.domain import variables
from service.domain.errors import DomainError, NotFound
from service.domain.variables import VariableView
from service.http.db import services, session
from service.http.pages import forms
from service.http.pages.shell import back as lead_back
from service.http.pages.shell import blueprint, failed, page
from service.http.policy import actor, caller
from service.http.schemas.variables import NewVariableSchema, VariableUpdateSchema

_TITLE, _NEW, _EDIT = "Global Variables", "Add variable", "Edit variable"
_PATH = "/settings/global-variables"


@blueprint.get(_PATH, endpoint="variables")
def show() -> Response:
    """List the variables, where each comes from, and which flows use it."""
    own, owner_id = services(), caller().user_id
    rows = variables.list_of(session(), own.vault, owner_id)
    used = variables.users_of(session(), owner_id, with_fillers=own.settings.fills_fields)
    sources = variables.sources_of(session(), owner_id, own.settings.environment)
    return page("variables.html", _TITLE, rows=rows, used=used, sources=sources)


@blueprint.get(f"{_PATH}/new", endpoint="new_variable")
def new() -> Response:
    """Show the form for a new variable."""
    return _new_form()


@blueprint.post(_PATH, endpoint="create_variable")
def create() -> Response:
    """Make a variable."""
    own = services()
    try:
        body = forms.load(NewVariableSchema(), _body() | {"value": request.form.get("value", "")})
        variables.create(session(), own.vault, actor(), caller().user_id, body, own.now())
    except DomainError as error:
        return failed(error, _new_form)
    return lead_back("variables", "variable-saved")


@blueprint.get(f"{_PATH}/<uuid:variable_id>", endpoint="variable")
def edit(variable_id: uuid.UUID) -> Response:
    """Show a variable's form; the value of a Credential is not in it."""
    return _edit_form(variable_id)


@blueprint.post(f"{_PATH}/<uuid:variable_id>", endpoint="change_variable")
def change(variable_id: uuid.UUID) -> Response:
    """Change a variable; an empty value leaves the stored one as it is."""
    own = services()
    try:
        value = request.form.get("value", "")
        body = _body() | ({"value": value} if value else {}) | {"id": str(variable_id)}
        changes = forms.load(VariableUpdateSchema(), body)
        variables.update(session(), own.vault, actor(), caller().user_id, variable_id, changes, own.now())
    except DomainError as error:
        return failed(error, partial(_edit_form, variable_id))
    return lead_back("variables", "variable-saved", f"variable-{variable_id}")


@blueprint.get(f"{_PATH}/<uuid:variable_id>/delete", endpoint="doomed_variable")
def ask_deletion(variable_id: uuid.UUID) -> Response:
    """Name the variable and who uses it, and ask once."""
    row, fills = _find(variable_id), services().settings.fills_fields
    used = variables.users_of(session(), caller().user_id, with_fillers=fills)
    return page("variable_delete.html", f"Delete {row.name}?", row=row, used=used.get(row.name, []))


@blueprint.post(f"{_PATH}/<uuid:variable_id>/delete", endpoint="delete_variable")
def delete(variable_id: uuid.UUID) -> Response:
    """Delete a variable."""
    variables.remove(session(), actor(), caller().user_id, variable_id, services().now())
    return lead_back("variables", "variable-deleted")


def _new_form(**context: Any) -> Response:
    return page("variable_form.html", _NEW, row=None, entered=request.form, **context)


def _edit_form(variable_id: uuid.UUID, **context: Any) -> Response:
    row = _find(variable_id)
    stored = {"name": row.name, "type": row.type, "value": row.value or "", "fields": ", ".join(row.default_fields)}
    return page("variable_form.html", _EDIT, row=row, entered=request.form or stored, **context)


def _find(variable_id: uuid.UUID) -> VariableView:
    rows = variables.list_of(session(), services().vault, caller().user_id)
    row = next((row for row in rows if row.id == str(variable_id)), None)
    if row is None:
        raise NotFound("Variable not found")
    return row


def _body() -> dict[str, Any]:
    kind = variables.GENERIC if forms.text("type") == variables.GENERIC else variables.CREDENTIAL
    return {"name": forms.text("name"), "type": kind, "default_fields": forms.lines("fields")}
