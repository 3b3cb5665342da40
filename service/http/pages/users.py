"""Users, for superusers."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from flask import Response, request

from service.domain import users
from service.domain.errors import DomainError
from service.domain.usernames import check_chosen_password
from service.http.db import services, session
from service.http.pages import forms
from service.http.pages.shell import back as lead_back
from service.http.pages.shell import blueprint, failed, page
from service.http.policy import actor, caller
from service.http.schemas.users import NewUserSchema

_PATH, _SIZE = "/admin/users", 100


@blueprint.get(_PATH, endpoint="users")
def show() -> Response:
    """List the users."""
    search = request.args.get("search", "")[:150].replace("\x00", "")
    skip = _skip()
    total, rows = users.list_all(session(), skip, _SIZE, search)
    return page("users.html", "Users", rows=rows, total=total, search=search, skip=skip, size=_SIZE)


@blueprint.get(f"{_PATH}/new", endpoint="new_user")
def new() -> Response:
    """Show the form for a new user."""
    return _new_form()


@blueprint.post(_PATH, endpoint="create_user")
def create() -> Response:
    """Make a user, who can sign in at once."""
    own = services()
    try:
        body = forms.load(
            NewUserSchema(), {"username": forms.text("username"), "password": request.form.get("password", "")}
        )
        check_chosen_password(body["password"])
        wanted = users.NewUser(
            body["username"], body["password"], is_active=True, is_superuser=forms.text("superuser") == "yes"
        )
        users.create(session(), actor(), wanted, own.hasher, own.now())
    except DomainError as error:
        return failed(error, _new_form)
    return lead_back("users", "user-added")


@blueprint.get(f"{_PATH}/<uuid:user_id>", endpoint="user")
def edit(user_id: uuid.UUID) -> Response:
    """Show a user and what can be done about them."""
    return _show_user(user_id)


@blueprint.post(f"{_PATH}/<uuid:user_id>", endpoint="change_user")
def change(user_id: uuid.UUID) -> Response:
    """Approve, deactivate, promote or demote a user, or set their password."""
    own, act = services(), forms.text("act")
    acts: dict[str, dict[str, Any]] = {
        "activate": {"is_active": True},
        "deactivate": {"is_active": False},
        "promote": {"is_superuser": True},
        "demote": {"is_superuser": False},
        "password": {"password": request.form.get("password", "")},
    }
    changes = acts.get(act, {})
    try:
        if "password" in changes:
            check_chosen_password(changes["password"])
        users.update(session(), actor(), user_id, changes, own.hasher, own.now())
    except DomainError as error:
        return failed(error, partial(_show_user, user_id))
    return lead_back("users", "password-set" if act == "password" else "user-changed", f"user-{user_id}")


@blueprint.get(f"{_PATH}/<uuid:user_id>/delete", endpoint="doomed_user")
def ask_deletion(user_id: uuid.UUID) -> Response:
    """Name the user, and ask once."""
    row = users.get(session(), caller(), user_id)
    return page("user_delete.html", f"Delete {row.username}?", row=row)


@blueprint.post(f"{_PATH}/<uuid:user_id>/delete", endpoint="delete_user")
def delete(user_id: uuid.UUID) -> Response:
    """Delete a user with everything that is theirs."""
    users.remove(session(), actor(), user_id, services().now())
    return lead_back("users", "user-deleted")


def _new_form(**context: Any) -> Response:
    return page("user_form.html", "Add user", entered=request.form, **context)


def _show_user(user_id: uuid.UUID, **context: Any) -> Response:
    row = users.get(session(), caller(), user_id)
    return page("user.html", row.username, row=row, **context)


def _skip() -> int:
    text = request.args.get("skip", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
