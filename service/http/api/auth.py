"""Signing in and out (contract 1.3)."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify, request
from marshmallow import fields

from service.domain import accounts
from service.domain.errors import TokenRefused
from service.http import cookies, csrf, sessions, signing_in
from service.http.db import services
from service.http.identity import REFRESH_COOKIE
from service.http.parsing import Blueprint
from service.http.policy import passes_openly, recognised
from service.http.schemas.fields import Text, WireSchema
from service.http.schemas.users import UserSchema

blueprint = Blueprint("auth", __name__, url_prefix="/api/v1", description="Sign in and out")

_KIND = "bearer"  # RFC 6749, 7.1


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
    return _answer(signing_in.with_password(form["username"], form["password"]))


@blueprint.get("/auto_login", endpoint="auto_login")
@blueprint.response(200, TokenSchema)
def auto_login() -> Response:
    """Sign the superuser in without a password, where AUTO_LOGIN and the policy allow it."""
    own = services()
    if not own.settings.auto_login or not passes_openly(request, own):
        # Clients of 1.5 read this answer to learn whether to ask for a password.
        is_old = own.settings.era < (1, 6)
        message = "Auto login is disabled. Please enable it in the settings" if is_old else "Auto login is disabled."
        refused = jsonify({"detail": {"message": message, "auto_login": False}})
        refused.status_code = 400 if is_old else 403
        return refused
    return _answer(signing_in.without_password())


@blueprint.post("/refresh", endpoint="refresh")
@blueprint.response(200, TokenSchema)
def refresh() -> Response:
    """Exchange the refresh cookie for new tokens; a second use of it ends the sign-in."""
    csrf.check(request)
    token = request.cookies.get(REFRESH_COOKIE)
    if not token:
        raise TokenRefused("Invalid refresh token")
    return _answer(sessions.refreshed(token))


@blueprint.post("/logout", endpoint="logout")
@blueprint.response(200)
def logout() -> Response:
    """End the sign-in whose token the request carries."""
    csrf.check(request)
    signing_in.end()
    return cookies.clear(jsonify({"message": "Logout successful"}), services())


@blueprint.get("/session", endpoint="session")
@blueprint.response(200, SessionSchema)
def current_session() -> dict[str, Any]:
    """Say who is signed in; a credential that is no longer good means nobody, and is no error."""
    identity = recognised()
    account = identity.account if identity else None
    return {"authenticated": account is not None, "user": account, "store_api_key": None}


def _answer(tokens: accounts.Tokens) -> Response:
    body = {"access_token": tokens.access, "refresh_token": tokens.refresh, "token_type": _KIND}
    response = jsonify(body)
    response.headers["Cache-Control"] = "no-store"
    return cookies.set_tokens(response, tokens, services())
