"""Users on the wire (contract 1.5)."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from service.domain.identity import Account
from service.domain.usernames import PASSWORD_LENGTH, USERNAME_LENGTH
from service.http.schemas.fields import Flag, Instant, Text, WireSchema, between, instant_text

_USERNAME = {"format": "username", "minLength": 1, "maxLength": USERNAME_LENGTH}
_PASSWORD = {"minLength": 1, "maxLength": PASSWORD_LENGTH}


class OptinsSchema(WireSchema):
    """Choices that Langflow's pages remember."""

    github_starred = Flag()
    dialog_dismissed = Flag()
    discord_clicked = Flag()


class UserSchema(WireSchema):
    """A user, in the documents' order."""

    id = fields.UUID()
    username = fields.String()
    profile_image = fields.String(allow_none=True)
    store_api_key = fields.Constant(None)
    is_active = fields.Boolean()
    is_superuser = fields.Boolean()
    create_at = Instant(attribute="created_at", style="Z")
    updated_at = Instant(style="Z")
    last_login_at = Instant(style="Z", allow_none=True)
    optins = fields.Nested(OptinsSchema)


def user_body(account: Account) -> dict[str, Any]:
    """Dump an account; what ``UserSchema`` describes, written out, for whoami answers all day.

    A test compares the two.
    """
    return {
        "id": str(account.id),
        "username": account.username,
        "profile_image": account.profile_image,
        "store_api_key": None,
        "is_active": account.is_active,
        "is_superuser": account.is_superuser,
        "create_at": instant_text(account.created_at, "Z"),
        "updated_at": instant_text(account.updated_at, "Z"),
        "last_login_at": instant_text(account.last_login_at, "Z"),
        "optins": {
            "github_starred": account.github_starred,
            "dialog_dismissed": account.dialog_dismissed,
            "discord_clicked": account.discord_clicked,
        },
    }


class UserListSchema(WireSchema):
    """One page of users."""

    total_count = fields.Integer()
    users = fields.List(fields.Nested(UserSchema))
    deletion_requests: fields.Field[dict[str, Any]] = fields.Constant({})


class NewUserSchema(WireSchema):
    """Sign-up, or a superuser's act; rights are not among the fields on purpose."""

    username = Text(required=True, metadata=_USERNAME)
    password = Text(required=True, metadata=_PASSWORD)
    optins = fields.Nested(OptinsSchema)


class UserUpdateSchema(WireSchema):
    """Part of a user; what is absent stays."""

    username = Text(metadata=_USERNAME)
    profile_image = Text(allow_none=True, longest=255)
    password = Text(metadata=_PASSWORD)
    is_active = Flag()
    is_superuser = Flag()
    optins = fields.Nested(OptinsSchema)


class PasswordResetSchema(WireSchema):
    """One's own new password."""

    current_password = Text(required=True)
    password = Text(required=True, metadata=_PASSWORD)


class UserQuerySchema(WireSchema):
    """Which page of users."""

    skip = fields.Integer(load_default=0, validate=between(0, 2**31))
    limit = fields.Integer(load_default=10, validate=between(1, 200))
    search = Text(load_default=None, allow_none=True)
    username = Text(load_default=None, allow_none=True)
