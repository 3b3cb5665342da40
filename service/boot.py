"""What happens once before the server answers: the schema, the secret, the first superuser.

Any number of processes may start together: the first one does it under a lock, the others wait and find it
done. Whatever stands in the way becomes a ``BootError``, one line that says what to do.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep

from sqlalchemy import URL, Connection, Engine, exists, func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from service import __version__, declaration, observability
from service.adapters.passwords import BCRYPT_MARK, Argon2Hasher
from service.adapters.vault import CHECK_TEXT, FernetVault, secret_from
from service.domain import audit, examples, flows, users, variables
from service.domain.errors import NotDecryptable
from service.domain.keys import KeyRules
from service.domain.ports import Vault
from service.domain.usernames import by_name
from service.environment import SettingsError
from service.settings import Settings
from service.storage import ApiKey, Base, Flow, SecretCheck, User, outages, schema
from service.storage.engine import begin_write, create_engine, is_memory

log = logging.getLogger(__name__)

#: Names the advisory lock in PostgreSQL; any number that nobody else uses.
_LOCK_NUMBER = 0x6B657974
#: Seconds between two tries to reach a database that is starting.
_AGAIN_SECONDS = 0.5


class BootError(Exception):
    """The server cannot start; the text is one line: what is wrong, and one way to mend it."""


class DatabaseAway(BootError):
    """The database does not answer, and may be starting; or its disk is full. Waiting may help."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the start screen tells.

    ``made_password`` is set in the one process that made the superuser without being given a password.
    """

    secret_source: str
    users: int
    keys: int
    flows: int
    superuser: str
    #: Passwords that came from Langflow are still stored as it hashed them.
    old_hashes: bool = False
    made_password: str | None = field(default=None, repr=False)


#: What the process that this one was forked from has found.
_found: Facts | None = None


def secret_of(settings: Settings) -> tuple[str, str]:
    """Return the server's secret, and where it comes from.

    Raises:
        BootError: the file cannot be read or made, or is too short.
    """
    try:
        secret, source = secret_from(settings.config_dir, settings.secret_key)
    except OSError as error:
        raise BootError(
            f"LANGFLOW_CONFIG_DIR {settings.config_dir} cannot hold the secret ({error.strerror}): make it writable, "
            "or set LANGFLOW_SECRET_KEY"
        ) from None
    if len(secret) < 32:
        raise BootError(f"{source} holds fewer than 32 characters: restore it from your backup")
    return secret, source


def open_vault(settings: Settings) -> tuple[FernetVault, str]:
    """Return the vault, and where its secret comes from."""
    secret, source = secret_of(settings)
    return FernetVault(secret, settings.previous_secret_keys), source


def has_no_users(settings: Settings) -> bool:
    """Say whether the database is empty: it has no schema of ours, or nobody in it."""
    engine = open_engine(settings)
    try:
        with engine.connect() as connection:
            if schema.database_version(connection) is None:
                return True
            return connection.scalar(select(User.id).limit(1)) is None
    except DBAPIError as error:
        raise _unusable(settings.database_url, error) from None
    finally:
        engine.dispose()


def key_rules(settings: Settings, vault: FernetVault) -> KeyRules:
    """What the operator allows of keys."""
    return KeyRules(
        longest_life=timedelta(days=settings.key_max_days) if settings.key_max_days else None,
        longest_grace=timedelta(seconds=settings.key_rotation_grace_seconds),
        stale_after=timedelta(days=settings.key_stale_days),
        rotation_secret=vault.rotation_secret,
    )


def prepare(settings: Settings, *, started: bool = False) -> Facts:
    """Bring database, secret and superuser into order; does nothing where they are.

    Args:
        settings: everything that can be set.
        started: a server starts, so the audit trail says which policy is in force.

    Raises:
        BootError: something has to be mended first.
    """
    vault, source = open_vault(settings)
    engine = open_engine(settings)
    try:
        with _lock(engine, settings.database_url):
            _schema(engine, settings)
            with Session(engine) as session:
                begin_write(session)
                _check_secret(session, vault, source)
                password = _bootstrap(session, settings, vault)
                _load_flows(session, settings)
                _declare(session, settings, vault)
                if started:
                    _tell_policy(session, settings)
                session.commit()
                return _facts(session, settings, source, password)
    except DBAPIError as error:
        raise _unusable(settings.database_url, error) from None
    finally:
        engine.dispose()


def open_log(settings: Settings) -> None:
    """Send the logs of this process where the settings say; the file's folder is made.

    Raises:
        BootError: the file cannot be opened.
    """
    try:
        if settings.log_file is not None:
            settings.log_file.parent.mkdir(parents=True, exist_ok=True)
        observability.install(settings.log_level, settings.log_file, as_json=settings.log_json)
    except OSError as error:
        raise BootError(
            f"LANGFLOW_LOG_FILE {settings.log_file} cannot be opened ({error.strerror}): name a file that can be "
            "written, or leave it out for standard error"
        ) from None


def start(settings: Settings, *, started: bool = False) -> Facts:
    """Prepare, and wait for a database that is starting at the same time; workers that are forked later know of it.

    Raises:
        BootError: something has to be mended first, or the database has not come up in time.
    """
    global _found  # noqa: PLW0603 - what a fork inherits
    until, is_told = monotonic() + settings.database_wait_seconds, False
    while True:
        try:
            _found = prepare(settings, started=started)
        except DatabaseAway as error:
            if monotonic() >= until:
                raise
            if not is_told:
                is_told, most = True, settings.database_wait_seconds
                print(f"keyturn: {error}. Waiting for it, {most} seconds at most.", file=sys.stderr, flush=True)
            sleep(_AGAIN_SECONDS)
        else:
            return _found


def start_worker(settings: Settings) -> Facts:
    """Prepare in a process that answers requests.

    One that is started in place of another while the database is away or full starts all the same: were it to end
    instead, gunicorn would take the server down with it.

    Raises:
        BootError: something has to be mended first.
    """
    try:
        return prepare(settings, started=True)
    except DatabaseAway as error:
        if _found is None:
            return start(settings, started=True)
        log.warning("%s. This worker starts all the same, and refuses what it cannot do.", error)
        return replace(_found, made_password=None)


def open_engine(settings: Settings) -> Engine:
    """Make the engine; a SQLite file that is made on the way can be read by its owner alone."""
    url = settings.database_url
    if url.get_backend_name() == "sqlite" and not is_memory(url):
        path = Path(url.database or "")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            raise BootError(
                f"the database file {path} cannot be made ({error.strerror}): set LANGFLOW_CONFIG_DIR or "
                "LANGFLOW_DATABASE_URL to a place that is writable"
            ) from None
    return create_engine(url)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn a configuration that cannot be used into lines on standard error and exit status 3.

    gunicorn takes status 3 of a worker as "cannot boot" and stops, instead of trying for ever.
    """
    try:
        yield
    except SettingsError as error:
        for problem in error.problems:
            print(f"keyturn: {problem}", file=sys.stderr)
    except BootError as error:
        print(f"keyturn: {error}", file=sys.stderr)
    else:
        return
    sys.stderr.flush()
    raise SystemExit(3)


@contextmanager
def _lock(engine: Engine, url: URL) -> Iterator[None]:
    if url.get_backend_name() == "postgresql":
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": _LOCK_NUMBER})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": _LOCK_NUMBER})
    elif is_memory(url):
        yield
    else:
        handle = os.open(f"{url.database}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _schema(engine: Engine, settings: Settings) -> None:
    with engine.connect() as connection:
        version = schema.database_version(connection)
        if version == schema.code_version():
            return
        if version is not None and not schema.is_known(version):
            _refuse_foreign(connection, versioned=True)
            raise BootError(
                f"the database is at schema {version}, which is newer than this Keyturn: install the version that "
                "it belongs to, or restore a backup"
            )
        if version is None:
            _refuse_foreign(connection)
        if not settings.auto_migrate:
            raise BootError(
                f"the database is at schema {version or 'none'} and needs {schema.code_version()}: run "
                "`keyturn db upgrade`, or set KEYTURN_AUTO_MIGRATE=true"
            )
        schema.upgrade(connection)
        connection.commit()


def _refuse_foreign(connection: Connection, *, versioned: bool = False) -> None:
    """Stop before writing into a database that holds somebody else's tables, Langflow's above all."""
    names = set(connection.dialect.get_table_names(connection))
    connection.rollback()
    ours = set(Base.metadata.tables)
    # Every Keyturn that has a schema has checked its secret; Langflow shares the other names, and Alembic.
    if SecretCheck.__tablename__ not in names and names & (ours | ({"alembic_version"} if versioned else set())):
        raise BootError(
            "the database holds tables of another program (Langflow's?): give Keyturn a database of its own with "
            "LANGFLOW_DATABASE_URL"
        )


def _check_secret(session: Session, vault: FernetVault, source: str) -> None:
    known = list(session.scalars(select(SecretCheck)))
    fitting = [check for check in known if vault.knows(check.key_id)]
    if known and not fitting:
        raise BootError(
            f"the secret from {source} is not the one that this database was encrypted with: restore the former "
            "secret, or put it into KEYTURN_PREVIOUS_SECRET_KEYS"
        )
    for check in fitting:
        if not _opens(vault, check.ciphertext):
            raise BootError(f"the secret check {check.key_id} in the database is damaged: restore a backup")
    if vault.key_id not in {check.key_id for check in known}:
        session.add(SecretCheck(key_id=vault.key_id, ciphertext=vault.encrypt(CHECK_TEXT)))


def readiness(engine: Engine, vault: Vault) -> dict[str, str]:
    """Say of each thing that a server needs whether it is there: ``"ok"``, or what is wrong in a word."""
    found = dict.fromkeys(("database", "migrations", "secret"), "unknown")
    try:
        with Session(engine) as session:
            version = schema.database_version(session.connection())
            known = session.scalars(select(SecretCheck.ciphertext)).all()
    except SQLAlchemyError:
        return found | {"database": "away"}
    found |= {"database": "ok", "migrations": "ok" if version == schema.code_version() else "other"}
    return found | {"secret": "ok" if any(_opens(vault, text) for text in known) else "other"}


def _opens(vault: Vault, check: str) -> bool:
    try:
        return vault.decrypt(check) == CHECK_TEXT
    except NotDecryptable:
        return False


def _bootstrap(session: Session, settings: Settings, vault: FernetVault) -> str | None:
    now = datetime.now(UTC)
    made: str | None = None
    owner = by_name(session, settings.superuser)
    if session.scalar(select(User.id).where(User.is_superuser.is_(True)).limit(1)) is None:
        if owner is not None:
            raise BootError(
                f"LANGFLOW_SUPERUSER names {settings.superuser}, who exists and is no superuser: choose another name"
            )
        given = settings.superuser_password
        made = None if given else secrets.token_urlsafe(15)
        new = users.NewUser(settings.superuser, given or str(made), is_active=True, is_superuser=True)
        owner = users.create(session, audit.BOOT, new, Argon2Hasher(), now)
    if owner is None or not owner.is_superuser:
        if settings.is_open:
            raise BootError(
                f"LANGFLOW_AUTO_LOGIN signs in as {settings.superuser}, who is no superuser here: set "
                "LANGFLOW_SUPERUSER to the name of one"
            )
        return made
    if settings.store_environment_variables:
        variables.follow_environment(session, vault, owner.id, settings.environment, now)
    if settings.demo_flows:
        _load_demo_flows(session, owner, now)
    return made


def _load_flows(session: Session, settings: Settings) -> None:
    folder = settings.load_flows_path
    if folder is None:
        return
    owner = by_name(session, settings.superuser)
    if owner is None or not owner.is_superuser:
        raise BootError(
            f"LANGFLOW_LOAD_FLOWS_PATH {folder}: its flows are for {settings.superuser}, who is no superuser here: "
            "set LANGFLOW_SUPERUSER to the name of one"
        )
    is_by_name = settings.load_flows_overwrite_on_name_match
    try:
        declaration.load_flows(session, owner, folder, datetime.now(UTC), by_name=is_by_name)
    except declaration.DeclarationError as error:
        raise BootError(f"LANGFLOW_LOAD_FLOWS_PATH {folder}: {error}") from None


def _declare(session: Session, settings: Settings, vault: FernetVault) -> None:
    if settings.bootstrap_file is None:
        return
    try:
        declared = declaration.read(settings.bootstrap_file, settings.bootstrap_environment)
        declaration.apply(session, declared, vault, Argon2Hasher(), key_rules(settings, vault), datetime.now(UTC))
    except declaration.DeclarationError as error:
        raise BootError(f"KEYTURN_BOOTSTRAP_FILE {settings.bootstrap_file}: {error}") from None


def _tell_policy(session: Session, settings: Settings) -> None:
    """Write the policy in force into the audit trail, once for workers that start together."""
    now = datetime.now(UTC)
    details = {
        "keyturn": __version__, "langflow_version": settings.langflow_version, "auto_login": settings.auto_login,
        "skip_auth_auto_login": settings.skip_auth_auto_login,
        "allow_unauthenticated": settings.allow_unauthenticated,
        "mcp_require_api_key": settings.mcp_require_api_key, "enable_signup": settings.enable_signup,
        "new_user_is_active": settings.new_user_is_active, "rate_limit_enabled": settings.rate_limit_enabled,
        "trusted_proxies": settings.trusted_proxies, "host": settings.host,
    }  # fmt: skip
    last = audit.page(session, audit.Filter(action=audit.Action.SERVER_STARTED), None, 1)[0]
    # A time ahead is one from before the clock was set back.
    together = last and abs(now - last[0].at) < timedelta(minutes=1) and last[0].details == details
    if not together:
        audit.record(session, audit.BOOT, audit.Action.SERVER_STARTED, now, audit.Subject("server", None), details)


def _load_demo_flows(session: Session, owner: User, now: datetime) -> None:
    for body in examples.bodies():
        taken = Flow.endpoint_name == body["endpoint_name"]
        if session.scalar(select(Flow.id).where(Flow.user_id == owner.id, taken)) is None:
            flows.create(session, audit.BOOT, owner.id, {k: v for k, v in body.items() if v is not None}, now)


def _facts(session: Session, settings: Settings, source: str, password: str | None) -> Facts:
    def count(model: type[Base]) -> int:
        return session.scalar(select(func.count()).select_from(model)) or 0

    return Facts(
        secret_source=source,
        users=count(User),
        keys=count(ApiKey),
        flows=count(Flow),
        superuser=settings.superuser,
        old_hashes=session.scalar(select(exists().where(User.password_hash.startswith(BCRYPT_MARK)))) or False,
        made_password=password,
    )


def _unusable(url: URL, error: DBAPIError) -> BootError:
    name = url.render_as_string(hide_password=True)
    if outages.is_full(error):
        return DatabaseAway(f"the database {name} has no space left on its disk: make some")
    first = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    # Nobody starts a SQLite file.
    kind = DatabaseAway if url.get_backend_name() == "postgresql" and outages.is_away(error) else BootError
    return kind(f"the database {name} cannot be used ({first}): start it, or correct LANGFLOW_DATABASE_URL")
