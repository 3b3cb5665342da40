"""Options and steps that several commands share."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, or_, select
from sqlalchemy.orm import Session

from service import boot
from service.adapters.passwords import Argon2Hasher
from service.domain import accounts, audit, flows
from service.domain.audit import CONSOLE, Action, Actor, Subject
from service.domain.errors import Forbidden, LoginRefused, NotFound
from service.domain.keys import KeyRules
from service.domain.ports import PasswordHasher, Vault
from service.domain.usernames import by_name, check_chosen_password
from service.instants import in_utc
from service.settings import Settings
from service.storage import Flow, User
from service.storage.base import utc_now
from service.storage.engine import begin_write

Command = TypeVar("Command", bound=Callable[..., Any])
_DATE_FORMATS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S")


@dataclass(slots=True)
class Workplace:
    """What a command works with."""

    settings: Settings
    engine: Engine
    session: Session
    vault: Vault
    rules: KeyRules
    hasher: PasswordHasher = field(default_factory=Argon2Hasher)
    now: datetime = field(default_factory=utc_now)
    #: Of the first superuser, where this command has made the database on its way.
    made_password: str | None = field(default=None, repr=False)
    #: The superuser who has shown who they are.
    by: Actor = CONSOLE
    as_json: bool = False

    def owner(self, username: str | None) -> User:
        """Return the user whose things a command is about; the superuser who runs it when none is named.

        Raises:
            NotFound: there is no such user.
        """
        user = by_name(self.session, username or self.by.username or self.settings.superuser)
        if user is None:
            raise NotFound(f"there is no user {username}")
        return user

    def flow(self, owner: User, text: str) -> Flow:
        """Return a user's flow by its id, its endpoint name or its name.

        Raises:
            NotFound: there is none such.
        """
        try:
            return flows.get(self.session, owner.id, uuid.UUID(text))
        except ValueError:
            named = or_(Flow.endpoint_name == text, Flow.name == text)
        flow = self.session.scalar(select(Flow).where(Flow.user_id == owner.id, named).order_by(Flow.created_at))
        if flow is None:
            raise NotFound(f"{owner.username} has no flow {text}; `keyturn flows list` shows them")
        return flow

    def show(self, rows: Sequence[dict[str, Any]], columns: dict[str, str], empty: str) -> None:
        """Print rows as a table, or as JSON.

        Args:
            rows: plain data.
            columns: what the table shows: name of the field -> heading.
            empty: what to say when there is none.
        """
        if self.as_json:
            click.echo(json.dumps(rows, default=str))
            return
        if not rows:
            click.echo(empty, err=True)
            return
        table = Table(*columns.values(), box=SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            table.add_row(*(_cell(row[name]) for name in columns))
        # Piped somewhere, a line is a row however long it is.
        width = None if sys.stdout.isatty() else 400
        Console(highlight=False, soft_wrap=not sys.stdout.isatty(), width=width, markup=False).print(table)

    def tell(self, text: str, **facts: Any) -> None:
        """Say that something was done, in words or as JSON."""
        click.echo(json.dumps(facts, default=str) if self.as_json else text)


def env_file_option(command: Command) -> Command:
    """Add ``--env-file``, which Langflow's documents put behind the command."""
    option = click.option("--env-file", type=click.Path(path_type=Path), help="Read settings from this file.")
    return option(command)


def of_superuser(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a ``Workplace`` in which a superuser has shown who they are, and ``--json``."""
    return _signed_in(command, None)


def of_superuser_with_secret(label: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The same for a command that takes a secret; it comes as ``secret``."""
    return lambda command: _signed_in(command, lambda: read_secret(label))


def of_superuser_with_new_password(label: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The same for a command that sets a password; it comes as ``secret``."""
    return lambda command: _signed_in(command, lambda: read_new_password(label))


def _signed_in(command: Callable[..., None], ask: Callable[[], str] | None) -> Callable[..., None]:
    @env_file_option
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
    @wraps(command)
    def signed_in(env_file: Path | None, as_json: bool, **options: Any) -> None:
        settings = read_settings(env_file)
        # Asked before the database is opened: whoever types slowly must not keep the server from writing.
        login = ask_for_login(settings)
        if ask is not None:
            options["secret"] = ask()
        with workplace(settings) as place:
            place.by, place.as_json = Actor.at_the_console(the_superuser(place, login)), as_json
            command(place, **options)

    return signed_in


def user_option(command: Command) -> Command:
    """Add ``--user``: whose things."""
    return click.option("--user", "username", help="Whose.  [default: the superuser who runs this]")(command)


def read_settings(env_file: Path | None, **options: Any) -> Settings:
    """Read the settings for a command; the option of the group counts where the command has none."""
    context = click.get_current_context(silent=True)
    chosen = env_file or (context.find_object(Path) if context else None)
    return Settings.from_env(env_file=chosen, **options)


def read_secret(label: str, *, twice: bool = False) -> str:
    """Ask for a secret on a terminal, or take a line of standard input; never an argument, which others can see.

    Raises:
        click.UsageError: standard input is at its end.
    """
    if sys.stdin.isatty():
        answer: str = click.prompt(label, hide_input=True, confirmation_prompt=twice, err=True)
        return answer
    line = sys.stdin.readline()
    if not line:
        raise click.UsageError(f"{label}: send it on standard input, one line each, or run this on a terminal")
    return line.rstrip("\r\n")


def read_new_password(label: str) -> str:
    """Ask for a password that somebody chooses; twice on a terminal.

    Raises:
        click.UsageError: standard input is at its end.
        Invalid: it is too short.
    """
    password = read_secret(label, twice=True)
    check_chosen_password(password)
    return password


@contextmanager
def workplace(settings: Settings) -> Iterator[Workplace]:
    """Open the database, in order, for one act; commits at the end. The server may be running or not."""
    facts = boot.prepare(settings)
    if facts.made_password:
        # Made on the way, in an empty database; nobody could ever see it again.
        click.echo(f"keyturn: made the superuser {facts.superuser} with the password {facts.made_password}", err=True)
    vault, _ = boot.open_vault(settings)
    engine = boot.open_engine(settings)
    try:
        with Session(engine, expire_on_commit=False) as session:
            begin_write(session)
            try:
                rules = boot.key_rules(settings, vault)
                yield Workplace(settings, engine, session, vault, rules, made_password=facts.made_password)
            except (LoginRefused, BreakGlassRefused) as error:
                session.rollback()
                _note_refusal(begin_write(session), error)
                session.commit()
                raise
            session.commit()
    finally:
        engine.dispose()


class BreakGlassRefused(Forbidden):
    """Somebody gave another secret than the server's."""

    reason, user_id, username = "wrong secret key", None, None


def _note_refusal(session: Session, error: LoginRefused | BreakGlassRefused) -> None:
    subject, details = Subject("user", error.user_id, error.username), {"reason": error.reason}
    audit.record(session, CONSOLE, Action.LOGIN, utc_now(), subject, details, refused=True)


@dataclass(frozen=True, slots=True)
class Login:
    """A name, and a password where one is needed."""

    username: str
    password: str | None = field(repr=False)


def ask_for_login(settings: Settings) -> Login | None:
    """Return whom to act as; None: the first superuser, whom this command makes on its way.

    With AUTO_LOGIN it is the superuser of the settings. Without, whoever runs the command must know the password:
    from the settings, or asked for.
    """
    if settings.auto_login:
        return Login(settings.superuser, None)
    if settings.superuser_password:
        return Login(settings.superuser, settings.superuser_password)
    if boot.has_no_users(settings):
        return None
    name = settings.superuser
    if sys.stdin.isatty():
        name = click.prompt("Superuser", default=name, err=True)
    return Login(name, read_secret("Password"))


def the_superuser(place: Workplace, login: Login | None) -> User:
    """Return the superuser to act as.

    Raises:
        Forbidden: there is no such superuser.
        LoginRefused: the password is wrong.
    """
    if login is None:
        if place.made_password is None:
            raise Forbidden("Another command has made the first superuser at this moment; run this one again")
        login = Login(place.settings.superuser, place.made_password)
    if login.password is None:
        user = by_name(place.session, login.username)
    else:
        user = accounts.login(place.session, CONSOLE, login.username, login.password, place.hasher, utc_now())
        # The command may take its time or lock another user, and the superuser's own sessions are not to wait for it.
        place.session.commit()
        begin_write(place.session)
    if user is None or not user.is_superuser or not user.is_active:
        raise Forbidden("The superuser of LANGFLOW_SUPERUSER is missing, not active, or no superuser")
    return user


class Date(click.DateTime):
    """A date or a time; without an offset it is UTC."""

    name = "date"

    def __init__(self) -> None:
        super().__init__(_DATE_FORMATS)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - as click asks
        return "DATE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found: datetime = super().convert(value, param, ctx)
        try:
            return in_utc(found)
        except ValueError as error:
            self.fail(f"{value} is {error}", param, ctx)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)
