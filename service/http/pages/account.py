"""One's own account: the password."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from service.domain import accounts
from service.domain.errors import DomainError, Invalid
from service.domain.usernames import check_chosen_password
from service.http import cookies
from service.http.db import release, services, session
from service.http.pages.shell import back, blueprint, failed, page
from service.http.policy import actor, caller

_PATH = "/settings/account"


@blueprint.get(_PATH, endpoint="account")
def show() -> Response:
    """Show the form for a new password."""
    return _form()


@blueprint.post(_PATH, endpoint="change_password")
def change() -> Response:
    """Change one's own password; every other sign-in ends, and this one goes on."""
    own, user_id = services(), caller().user_id
    try:
        current, new = (request.form.get(name, "") for name in ("current", "password"))
        if new != request.form.get("again", ""):
            raise Invalid.field("The two are not the same", "body", "again")
        check_chosen_password(new)
        release()  # counting may write, and SQLite has one writer
        own.sign_in.own_password(user_id)
        accounts.reset_password(session(), actor(), user_id, current, new, own.hasher, own.now())
        tokens = accounts.issue(session(), user_id, own.lifetimes, own.now())
    except DomainError as error:
        return failed(error, _form)
    return cookies.set_tokens(back("account", "own-password"), tokens, own)


def _form(**context: Any) -> Response:
    return page("account.html", "Your account", **context)
