"""Signing in and out (contract 1.3)."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify, request
from marshmallow import fields

from service.domain import accounts, audit
from service.domain.audit import Action, Subject
from service.domain.errors import CredentialRefused, Forbidden, LoginRefused, TokenRefused
from service.domain.sign_in import KNOWN_FOR
from service.domain.usernames import by_name, name_key
from service.http import cookies, csrf
from service.http.db import Services, abandon, own_transaction, release, services, session
from service.http.identity import ACCESS_COOKIE, REFRESH_COOKIE, identify
from service.http.parsing import Blueprint
from service.http.policy import actor, passes_openly, superuser_account
from service.http.schemas.fields import Text, WireSchema
from service.http.schemas.users import UserSchema

blueprint = Blueprint("auth", __name__, url_prefix="/api/v1", description="Sign in and out")


class LoginSchema(WireSchema):
    """The form of a sign-in."""

    username = Text(required=True)
    password = Text(required=True)


class TokenSchema(WireSchema):
    """A pair of opaque login tokens."""

    access_token = fields.String()
    refresh_token = fields.String()
    token_type = fields.String()


class SessionSchema(WireSchema):
    """Who is signed in."""

    authenticated = fields.Boolean()
    user = fields.Nested(UserSchema, allow_none=True)
    store_api_key = fields.String(allow_none=True)


@blueprint.post("/login", endpoint="login")
@blueprint.arguments(LoginSchema, location="form")
@blueprint.response(200, TokenSchema)
def login(form: dict[str, str]) -> Response:
    """Exchange a name and a password for login tokens."""
    csrf.check(request)
    own, account = services(), name_key(form["username"])
    # Before the hash is computed: guessing must cost the guesser, not the server.
    own.sign_in.attempt("login", request.remote_addr)
    counted = own.sign_in.guess(account, lambda: _is_known(form["username"], own))
    try:
        user = accounts.login(session(), actor(), form["username"], form["password"], own.hasher, own.now())
    except LoginRefused as error:
        abandon()
        subject = Subject("user", error.user_id, error.username)
        own.refusals.note(actor(), Action.LOGIN, own.now(), error.reason, subject)
        raise
    tokens = accounts.issue(session(), user.id, own.lifetimes, own.now())
    if counted:
        release()
        own.sign_in.guessed(account)
    return _answer(tokens)


def _is_known(username: str, own: Services) -> bool:
    """Say whether an account has signed in from this address before."""
    user = by_name(session(), username)
    since = own.now() - KNOWN_FOR
    return user is not None and audit.has_signed_in_from(session(), user.id, request.remote_addr, since)


@blueprint.get("/auto_login", endpoint="auto_login")
@blueprint.response(200, TokenSchema)
def auto_login() -> Response:
    """Sign the superuser in without a password, where AUTO_LOGIN and the policy allow it."""
    own = services()
    if not own.settings.auto_login or not passes_openly(request, own):
        disabled = {"message": "Auto login is disabled.", "auto_login": False}
        refused = jsonify({"detail": disabled})
        refused.status_code = 403 if own.settings.era >= (1, 6) else 400
        return refused
    account = superuser_account(own)
    with own_transaction() as writer:
        tokens = accounts.issue(writer, account.id, own.lifetimes, own.now())
        subject, details = Subject("user", account.id, account.username), {"reason": "AUTO_LOGIN"}
        audit.record(writer, actor(), Action.LOGIN, own.now(), subject, details)
    return _answer(tokens)


@blueprint.post("/refresh", endpoint="refresh")
@blueprint.response(200, TokenSchema)
def refresh() -> Response:
    """Exchange the refresh cookie for new tokens; a second use of it ends the sign-in."""
    csrf.check(request)
    own = services()
    token = request.cookies.get(REFRESH_COOKIE)
    if not token:
        raise TokenRefused("Invalid refresh token")
    outcome = accounts.refresh(session(), token, own.lifetimes, own.now())
    if isinstance(outcome, accounts.Reused):
        with own_transaction() as writer:
            accounts.end_reused(writer, actor(), outcome, own.now())
        raise TokenRefused("Invalid refresh token")
    return _answer(outcome)


@blueprint.post("/logout", endpoint="logout")
@blueprint.response(200)
def logout() -> Response:
    """End the sign-in whose token the request carries."""
    csrf.check(request)
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    carried = [request.cookies.get(ACCESS_COOKIE), request.cookies.get(REFRESH_COOKIE)]
    for token in (*carried, bearer.strip() if scheme.lower() == "bearer" else None):
        if token:
            accounts.logout(session(), actor(), token, services().now())
    return cookies.clear(jsonify({"message": "Logout successful"}), services())


@blueprint.get("/session", endpoint="session")
@blueprint.response(200, SessionSchema)
def current_session() -> dict[str, Any]:
    """Say who is signed in; a credential that is no longer good means nobody, and is no error."""
    try:
        identity = identify(request, services(), keys_only=False)
    except (CredentialRefused, Forbidden):
        identity = None
    account = identity.account if identity else None
    return {"authenticated": account is not None, "user": account, "store_api_key": None}


def _answer(tokens: accounts.Tokens) -> Response:
    body = {"access_token": tokens.access, "refresh_token": tokens.refresh, "token_type": "bearer"}
    response = jsonify(body)
    response.headers["Cache-Control"] = "no-store"
    return cookies.set_tokens(response, tokens, services())
