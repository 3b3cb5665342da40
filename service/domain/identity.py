"""Who is calling: a frozen picture of a user, without the ORM."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service.domain.permissions import Rights
from service.storage.users import User

Via = Literal["key", "session", "policy"]


@dataclass(frozen=True, slots=True)
class Account:
    """What the server knows of a user, as it was when the request came in."""

    id: uuid.UUID
    username: str
    profile_image: str | None
    is_active: bool
    is_superuser: bool
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None
    github_starred: bool = False
    dialog_dismissed: bool = False
    discord_clicked: bool = False

    @classmethod
    def of(cls, user: User) -> Account:
        """Copy a row."""
        optins = {name: bool(user.optins.get(name)) for name in OPTINS}
        return cls(
            id=user.id,
            username=user.username,
            profile_image=user.profile_image,
            is_active=user.is_active,
            is_superuser=user.is_superuser,
            created_at=user.created_at,
            updated_at=user.updated_at,
            last_login_at=user.last_login_at,
            **optins,
        )

    @property
    def optins(self) -> dict[str, bool]:
        """The choices that Langflow's pages remember, by name."""
        return {name: getattr(self, name) for name in OPTINS}


OPTINS = ("github_starred", "dialog_dismissed", "discord_clicked")


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller of one request, and how the server knows.

    ``via`` is "policy" when the request had no credential and the policy lets it act as the superuser.
    """

    account: Account
    via: Via
    key_id: uuid.UUID | None = None
    #: Of the key; None: no key, or one without limits.
    rights: Rights | None = None
    #: When the key, or the former secret of it that was used, ends; None: never, or no key.
    expires_at: datetime | None = None

    @property
    def user_id(self) -> uuid.UUID:
        """The user's id."""
        return self.account.id

    @property
    def is_superuser(self) -> bool:
        """True when the user may administer the server."""
        return self.account.is_superuser
