"""Options and steps that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from sqlalchemy.orm import Session

from service import boot
from service.adapters.passwords import Argon2Hasher
from service.domain import accounts
from service.domain.audit import CONSOLE
from service.domain.errors import Forbidden
from service.domain.ports import PasswordHasher
from service.domain.usernames import by_name
from service.settings import Settings
from service.storage import User
from service.storage.base import utc_now
from service.storage.engine import begin_write

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a command works with."""

    session: Session
    hasher: PasswordHasher


def env_file_option(command: Command) -> Command:
    """Add ``--env-file``, which Langflow's documents put behind the command."""
    option = click.option("--env-file", type=click.Path(path_type=Path), help="Read settings from this file.")
    return option(command)


def read_settings(env_file: Path | None, **options: Any) -> Settings:
    """Read the settings for a command; the option of the group counts where the command has none."""
    context = click.get_current_context(silent=True)
    chosen = env_file or (context.find_object(Path) if context else None)
    return Settings.from_env(env_file=chosen, **options)


@contextmanager
def workplace(settings: Settings) -> Iterator[Workplace]:
    """Open the database, in order, for one act; commits at the end. The server may be running or not."""
    boot.prepare(settings)
    engine = boot.open_engine(settings)
    try:
        with Session(engine) as session:
            begin_write(session)
            yield Workplace(session, Argon2Hasher())
            session.commit()
    finally:
        engine.dispose()


def the_superuser(place: Workplace, settings: Settings) -> User:
    """Return the superuser to act as.

    With AUTO_LOGIN it is the one of the settings. Without, whoever runs the command must know the password:
    from the settings, or asked for.

    Raises:
        Forbidden: there is no such superuser.
        LoginRefused: the password is wrong.
    """
    if settings.auto_login:
        user = by_name(place.session, settings.superuser)
    else:
        name = settings.superuser
        password = settings.superuser_password
        if not password:
            name = click.prompt("Superuser", default=name, err=True)
            password = click.prompt("Password", hide_input=True, err=True)
        user = accounts.login(place.session, CONSOLE, name, password, place.hasher, utc_now())
    if user is None or not user.is_superuser or not user.is_active:
        raise Forbidden("The superuser of LANGFLOW_SUPERUSER is missing, not active, or no superuser")
    return user
