"""Users (contract 1.5)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

from flask import Response, request

from service.domain import accounts, users
from service.domain.errors import Forbidden
from service.domain.identity import Account
from service.http.answers import ready
from service.http.db import abandon, services, session
from service.http.parsing import Blueprint, path_id
from service.http.policy import actor, caller, visitor
from service.http.schemas.users import (
    NewUserSchema,
    PasswordResetSchema,
    UserListSchema,
    UserQuerySchema,
    UserSchema,
    UserUpdateSchema,
    user_body,
)
from service.json_text import encoded

P = ParamSpec("P")
R = TypeVar("R")

blueprint = Blueprint("users", __name__, url_prefix="/api/v1/users", description="Users and superusers")


@blueprint.get("/whoami", endpoint="whoami")
@blueprint.describes(200, UserSchema)
def whoami() -> Response:
    """Say whose credential this is."""
    return ready(_told(caller().account))


@lru_cache(maxsize=256)
def _told(account: Account) -> bytes:
    """The body is made of the account and nothing else, so what was made of an equal one is right."""
    return encoded(user_body(account))


def _strangers_only_where_sign_up_is_on(view: Callable[P, R]) -> Callable[P, R]:
    """Refuse before the body is read: an anonymous request must cost nothing."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        settings, identity = services().settings, visitor()
        by_superuser = identity is not None and identity.is_superuser
        if not by_superuser and (not settings.enable_signup or settings.auto_login):
            raise Forbidden("Public user registration is disabled.")
        return view(*args, **kwargs)

    return checked


@blueprint.post("/", endpoint="create")
@_strangers_only_where_sign_up_is_on
@blueprint.arguments(NewUserSchema)
@blueprint.response(201, UserSchema)
def create(body: dict[str, Any]) -> tuple[Any, int, dict[str, str]]:
    """Make a user: a superuser's act, or a sign-up where that is switched on."""
    own, identity = services(), visitor()
    if identity is None or not identity.is_superuser:
        own.sign_in.attempt("signup", request.remote_addr)
    new = users.NewUser(
        body["username"], body["password"], is_active=own.settings.new_user_is_active, optins=body.get("optins")
    )
    user = users.create(session(), actor(), new, own.hasher, own.now())
    return Account.of(user), 201, {"Location": f"/api/v1/users/{user.id}"}


@blueprint.get("/", endpoint="list")
@blueprint.arguments(UserQuerySchema, location="query")
@blueprint.response(200, UserListSchema)
def list_users(query: dict[str, Any]) -> dict[str, Any]:
    """List users, a page at a time."""
    search = query["search"] or query["username"]
    total, page = users.list_all(session(), query["skip"], query["limit"], search)
    return {"total_count": total, "users": [Account.of(user) for user in page]}


@blueprint.get("/<user_id>", endpoint="get")
@blueprint.response(200, UserSchema)
def get(user_id: str) -> Account:
    """Show a user: oneself, or anybody for a superuser."""
    return Account.of(users.get(session(), caller(), path_id(user_id, "user_id")))


@blueprint.patch("/<user_id>", endpoint="update")
@blueprint.arguments(UserUpdateSchema)
@blueprint.response(200, UserSchema)
def update(body: dict[str, Any], user_id: str) -> Account:
    """Change a user."""
    own = services()
    changed = users.update(session(), actor(), path_id(user_id, "user_id"), body, own.hasher, own.now())
    return Account.of(changed)


@blueprint.patch("/<user_id>/reset-password", endpoint="reset_password")
@blueprint.arguments(PasswordResetSchema)
@blueprint.response(200, UserSchema)
def reset_password(body: dict[str, str], user_id: str) -> Account:
    """Change one's own password; every session ends."""
    own = services()
    abandon()  # counting may write, and SQLite has one writer
    own.sign_in.own_password(caller().user_id)
    user = accounts.reset_password(
        session(), actor(), path_id(user_id, "user_id"), body["current_password"], body["password"], own.hasher,
        own.now(),
    )  # fmt: skip
    return Account.of(user)


@blueprint.delete("/<user_id>", endpoint="delete")
@blueprint.response(202)
def delete(user_id: str) -> dict[str, str]:
    """Delete a user with everything that is theirs; done when the answer comes."""
    users.remove(session(), actor(), path_id(user_id, "user_id"), services().now())
    return {"detail": "User deletion started", "request_id": str(uuid.uuid4())}
