"""Settings -> Langflow API Keys."""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial
from typing import Any

from flask import Response, request

from service.domain import flows, keys, rotation
from service.domain.errors import DomainError, Invalid, Rejected
from service.domain.permissions import Scope
from service.http.db import catch_up, services, session
from service.http.pages import forms
from service.http.pages.shell import back as lead_back
from service.http.pages.shell import blueprint, failed, page
from service.http.policy import actor, caller
from service.http.schemas.keys import KeyChangesSchema, NewKeySchema
from service.storage.keys import ApiKey

_TITLE, _NEW, _EDIT = "Langflow API Keys", "Add API Key", "Edit API Key"
_PATH = "/settings/api-keys"
GRACES = (("0", "none: it ends now"), ("3600", "1 hour"), ("86400", "1 day"), ("604800", "7 days"))
SCOPES = (
    (Scope.RUN, "run flows"),
    (Scope.READ, "look at flows, variables' names, messages and keys"),
    (Scope.MANAGE, "change them, keys among them"),
    (Scope.ADMIN, "what only a superuser may"),
    (Scope.METRICS, "read the server's numbers (a superuser's key)"),
)


@blueprint.get(_PATH, endpoint="keys")
def show() -> Response:
    """List the keys."""
    return _list()


@blueprint.get(f"{_PATH}/new", endpoint="new_key")
def new() -> Response:
    """Show the form for a new key."""
    return _new_form()


@blueprint.post(_PATH, endpoint="create_key")
def create() -> Response:
    """Make a key and show it, this once."""
    own = services()
    try:
        wanted = forms.load(NewKeySchema(), _body())
        row, key = keys.create(session(), actor(), caller().user_id, wanted, own.now(), own.key_rules)
    except DomainError as error:
        return failed(error, _new_form)
    return _shown_once(row, key, "Your new API key")


@blueprint.get(f"{_PATH}/<uuid:key_id>", endpoint="key")
def edit(key_id: uuid.UUID) -> Response:
    """Show a key's form."""
    return _edit_form(key_id)


@blueprint.post(f"{_PATH}/<uuid:key_id>", endpoint="change_key")
def change(key_id: uuid.UUID) -> Response:
    """Change a key."""
    own, owner_id = services(), caller().user_id
    try:
        changes = forms.load(KeyChangesSchema(), _changes(keys.get(session(), owner_id, key_id)))
        keys.change(session(), actor(), owner_id, key_id, changes, own.now(), own.key_rules)
    except DomainError as error:
        return failed(error, partial(_edit_form, key_id))
    return lead_back("keys", "key-changed", f"key-{key_id}")


@blueprint.post(f"{_PATH}/<uuid:key_id>/switch", endpoint="switch_key")
def switch(key_id: uuid.UUID) -> Response:
    """Disable or enable a key."""
    own, on = services(), forms.text("on") == "yes"
    keys.change(session(), actor(), caller().user_id, key_id, {"is_active": on}, own.now(), own.key_rules)
    return lead_back("keys", "key-enabled" if on else "key-disabled", f"key-{key_id}")


@blueprint.get(f"{_PATH}/<uuid:key_id>/rotate", endpoint="rotation")
def ask_rotation(key_id: uuid.UUID) -> Response:
    """Ask how long the former secret lives on."""
    return _rotation_form(key_id)


@blueprint.post(f"{_PATH}/<uuid:key_id>/rotate", endpoint="rotate_key")
def rotate(key_id: uuid.UUID) -> Response:
    """Give a key a new secret and show it, this once."""
    own = services()
    try:
        grace = timedelta(seconds=forms.number("grace") or 0)
        row, key = rotation.rotate(session(), actor(), caller().user_id, key_id, grace, own.now(), own.key_rules)
    except DomainError as error:
        return failed(error, partial(_rotation_form, key_id))
    return _shown_once(row, key, "Your rotated API key")


@blueprint.get(f"{_PATH}/delete", endpoint="doomed_keys")
def ask_deletion() -> Response:
    """Name the keys that were selected, and ask once."""
    chosen = forms.ids("id")
    if not chosen:
        return _none_selected()
    rows = [keys.get(session(), caller().user_id, one) for one in chosen]
    return page("key_delete.html", "Delete API keys?" if len(rows) > 1 else "Delete this API key?", rows=rows)


@blueprint.post(f"{_PATH}/delete", endpoint="delete_keys")
def delete() -> Response:
    """Delete the keys, all or none."""
    chosen = forms.ids("id")
    if not chosen:
        return _none_selected()
    for key_id in chosen:
        keys.revoke(session(), actor(), caller().user_id, key_id, services().now())
    return lead_back("keys", "keys-deleted")


def _list(**context: Any) -> Response:
    own = services()
    catch_up(own.usage)
    total, rows = keys.list_of(session(), caller().user_id)
    return page("keys.html", _TITLE, rows=[_row(row) for row in rows[::-1]], total=total, **context)


def _none_selected() -> Response:
    return failed(Rejected("Select a key first."), _list)


def _new_form(**context: Any) -> Response:
    return page("key_form.html", _NEW, **_choices(None), **context)


def _edit_form(key_id: uuid.UUID, **context: Any) -> Response:
    return page("key_form.html", _EDIT, **_choices(keys.get(session(), caller().user_id, key_id)), **context)


def _rotation_form(key_id: uuid.UUID, **context: Any) -> Response:
    row = keys.get(session(), caller().user_id, key_id)
    return page("key_rotate.html", "Rotate API Key", row=row, graces=_graces(), **context)


def _row(row: ApiKey) -> dict[str, Any]:
    own = services()
    now = own.now()
    expired = row.expires_at is not None and row.expires_at <= now
    rotating = row.former_until is not None and row.former_until > now
    state = "expired" if expired else "active" if row.is_active else "disabled"
    return {"key": row, "state": state, "rotating": rotating, "stale": keys.is_stale(row, now, own.key_rules)}


def _shown_once(row: ApiKey, key: str, title: str) -> Response:
    flow = next(iter(flows.list_of(session(), caller().user_id, with_data=False)), None)
    target = (flow.endpoint_name or flow.id) if flow is not None else "FLOW_ID"
    return page("key_shown.html", title, row=row, key=key, base=request.host_url.rstrip("/"), target=target)


def _graces() -> list[tuple[str, str]]:
    longest = services().key_rules.longest_grace.total_seconds()
    return [(seconds, words) for seconds, words in GRACES if int(seconds) <= longest]


def _body() -> dict[str, Any]:
    """The form as the API's body; None is "not limited"."""
    requests, seconds = forms.number("rate_requests"), forms.number("rate_seconds")
    if (requests is None) != (seconds is None):
        raise Invalid.field("Fill in both the requests and the seconds, or neither", "body", "rate_limit")
    some = request.form.getlist
    return {
        "name": forms.text("name") or None,
        "expires_at": forms.end_of_day("expires_at"),
        "scopes": some("scopes") if forms.text("scopes_are") == "some" else None,
        "flows": some("flows") if forms.text("flows_are") == "some" else None,
        "networks": forms.lines("networks") or None,
        "rate_limit": {"requests": requests, "window_seconds": seconds} if requests is not None else None,
        "max_parallel_runs": forms.number("max_parallel_runs"),
    }


def _changes(row: ApiKey) -> dict[str, Any]:
    """The form, without what the key has already: a date alone would move the end to midnight."""
    body = _body()
    if forms.text("expires_at") == _stored(row)["expires_at"]:
        del body["expires_at"]
    if body["networks"] is None and row.networks == []:
        # Nothing is typed for "from nowhere" too, and that must not become "from anywhere".
        del body["networks"]
    return body


def _choices(row: ApiKey | None) -> dict[str, Any]:
    """What the form shows: what was typed, or what is stored."""
    mine = flows.list_of(session(), caller().user_id, with_data=False)
    return {"row": row, "flows": mine, "scopes": SCOPES, "entered": request.form or _stored(row)}


def _stored(row: ApiKey | None) -> dict[str, Any]:
    if row is None:
        return {}
    shown = {
        "name": row.name,
        "expires_at": row.expires_at and row.expires_at.date().isoformat(),
        "scopes_are": "all" if row.scopes is None else "some",
        "flows_are": "all" if row.flows is None else "some",
        "networks": "\n".join(row.networks or ()),
        "rate_requests": row.rate_requests,
        "rate_seconds": row.rate_seconds,
        "max_parallel_runs": row.max_parallel,
    }
    return {name: "" if value is None else value for name, value in shown.items()}
