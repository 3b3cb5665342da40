"""The entrance: signing in and out, and the password of the first superuser."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Response, request, url_for

from service.domain import accounts, users
from service.domain.accounts import Tokens
from service.domain.errors import DomainError, Forbidden, Invalid, LoginRefused
from service.domain.usernames import check_chosen_password
from service.http import cookies, csrf, signing_in
from service.http.db import services, session
from service.http.pages import forms
from service.http.pages.shell import blueprint, failed, go, page
from service.http.policy import actor, is_from_here, passes_openly


@blueprint.get("/", endpoint="home")
def home() -> Response:
    """Lead to the flows."""
    return go(url_for("pages.flows"))


@blueprint.get("/login", endpoint="login")
def login() -> Response:
    """Show the form; where AUTO_LOGIN holds, sign in at once, unless somebody has just signed out."""
    own = services()
    left = "out" in request.args
    if own.settings.auto_login and not left and passes_openly(request, own):
        return _welcome(signing_in.without_password())
    if _is_first_run() and not left:
        return go(url_for("pages.first_run"))
    return _login_form(left=left)


@blueprint.post("/login", endpoint="sign_in")
def sign_in() -> Response:
    """Sign in with a name and a password."""
    csrf.check(request, by_form=True)
    try:
        return _welcome(signing_in.with_password(forms.text("username"), request.form.get("password", "")))
    except DomainError as error:
        return failed(error, _login_form)


@blueprint.post("/logout", endpoint="logout")
def logout() -> Response:
    """Sign out."""
    csrf.check(request, by_form=True)
    signing_in.end()
    return cookies.clear(go(url_for("pages.login", out="1")), services())


@blueprint.get("/first-run", endpoint="first_run")
def first_run() -> Response:
    """Ask for the superuser's own password, once, before anybody has signed in."""
    if not _is_first_run():
        return go(url_for("pages.login"))
    return _first_run_form()


@blueprint.post("/first-run", endpoint="set_up")
def set_up() -> Response:
    """Give the superuser a password of its own; that of the start screen shows that it is the operator."""
    csrf.check(request, by_form=True)
    if not _is_first_run():
        raise Forbidden("The superuser has been set up already. Sign in.")
    own = services()
    try:
        if request.form.get("password", "") != request.form.get("again", ""):
            raise Invalid.field("The two are not the same", "body", "again")
        shown, new = forms.text("shown"), request.form.get("password", "")
        check_chosen_password(new)
        try:
            signing_in.with_password(own.settings.superuser, shown)
        except LoginRefused:
            # The page asks for no name, so "Incorrect username or password" would name what nobody can mend.
            raise Invalid.field("This is not the password that the server printed.", "body", "shown") from None
        user = users.first_superuser(session())
        assert user is not None  # noqa: S101 - it has just signed in # nosec B101
        accounts.reset_password(session(), actor().become(user), user.id, shown, new, own.hasher, own.now())
        return _welcome(accounts.issue(session(), user.id, own.lifetimes, own.now()))
    except DomainError as error:
        return failed(error, _first_run_form)


def _login_form(**context: Any) -> Response:
    return page("login.html", "Sign in", wanted=_wanted(), username=forms.text("username"), **context)


def _first_run_form(**context: Any) -> Response:
    return page("first_run.html", "Welcome to Keyturn", superuser=services().settings.superuser, **context)


def _is_first_run() -> bool:
    """Say whether the superuser's password may be set here and now.

    Only from the machine itself, and only while the password of the one account there is was made up by this server
    and nobody has used it.
    """
    if services().settings.superuser_password or not is_from_here(request):
        return False
    user = users.first_superuser(session())
    return user is not None and user.last_login_at is None


def _welcome(tokens: Tokens) -> Response:
    return cookies.set_tokens(go(_wanted()), tokens, services())


def _wanted() -> str:
    """Where somebody wanted to go: a path of this server, and no other place that merely looks like one."""
    wanted = request.values.get("next", "")
    parts = urlsplit(wanted)
    is_ours = (
        wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    )
    return wanted if is_ours and wanted.isprintable() and "\\" not in wanted else url_for("pages.flows")
