"""The request's database session and the application's services.

One commit per request, here, for a status below 400. What must survive a refusal is written with
``own_transaction``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

from flask import Flask, current_app, g, request
from flask.ctx import _AppCtxGlobals
from flask.wrappers import Response
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.domain.accounts import Lifetimes
from service.domain.keys import KeyRules
from service.domain.policy import Policy
from service.domain.ports import LimitStore, PasswordHasher, Vault
from service.domain.sign_in import SignInLimits
from service.metrics import Meter
from service.settings import Settings
from service.storage import Base
from service.storage.engine import begin_quietly, begin_write, engine_options, install_rules, limit_statements

if TYPE_CHECKING:
    from service.adapters.housekeeper import Housekeeper
    from service.adapters.key_cache import CommitCache, NoCache
    from service.adapters.lfx import LfxExecutor
    from service.adapters.limits import LocalLimits, SharedLimits
    from service.adapters.mcp_calls import OpenCalls
    from service.adapters.mcp_mail import Mailbox
    from service.adapters.messages import MessageWriter
    from service.adapters.periodic import Periodic
    from service.adapters.providers import Providers
    from service.adapters.refusals import RefusalLog
    from service.adapters.run_log import RunLog
    from service.adapters.usage import UsageCounter
    from service.background import Background
    from service.domain.flow_runner import FlowRunner
    from service.domain.mcp_shapes import Shapes

db = SQLAlchemy(metadata=Base.metadata, disable_autonaming=True)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the views work with; built once, in ``service/app.py``."""

    settings: Settings
    engine: Engine
    #: For reads of one statement.
    lookups: Engine
    policy: Policy
    lifetimes: Lifetimes
    vault: Vault
    hasher: PasswordHasher
    key_rules: KeyRules
    limits: SharedLimits
    #: Requests of a key in its window.
    request_limits: LimitStore
    #: Runs of a key at once.
    run_limits: LimitStore
    sign_in: SignInLimits
    #: Bad keys are counted in each process: a write for each would be a gift to whoever sends them.
    bad_keys: LocalLimits
    refusals: RefusalLog
    keys: NoCache | CommitCache
    usage: UsageCounter
    messages: MessageWriter
    run_log: RunLog
    models: Providers
    #: None: every flow runs in this process.
    lfx: LfxExecutor | None
    runner: FlowRunner
    tool_shapes: Shapes
    mcp_mail: Mailbox
    mcp_calls: OpenCalls
    #: Counted in this process: they keep its threads for others.
    mcp_places: LocalLimits
    meter: Meter
    jobs: Background
    housekeeper: Housekeeper
    now: Callable[[], datetime]

    def close(self) -> None:
        """Write what is still in memory, and close every connection."""
        self.housekeeper.close()
        self.jobs.close()
        self.messages.close()
        self.run_log.close()
        self.usage.close()
        self.keys.close()
        self.models.close()
        if self.lfx is not None:
            self.lfx.close()
        self.limits.close()
        self.lookups.dispose()
        self.engine.dispose()


def services() -> Services:
    """Return the services of the application that handles this request."""
    return cast(Services, current_app.extensions["keyturn"])


def notes() -> _AppCtxGlobals:
    """Return what this request notes for later, Flask's ``g`` itself.

    For what every request passes through: Flask's proxy looks it up anew at each use, for a microsecond each time.
    """
    return g._get_current_object()  # type: ignore[no-any-return]


def install(app: Flask, settings: Settings) -> Engine:
    """Connect the application to its database and return the engine."""
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings.database_url, pool_size=settings.threads)
    db.init_app(app)
    with app.app_context():
        return limit_statements(install_rules(db.engine), settings.database_statement_seconds)


def session() -> Session:
    """Return the request's session; a request that may change things begins as a writer."""
    own = db.session()
    if not g.get("session_open"):
        g.session_open = True
        if request.method not in SAFE_METHODS and not g.get("reads_only"):
            begin_write(own)
    return own


def release() -> None:
    """Commit what was done and give the connection back, before a long wait on somebody else."""
    if g.pop("session_open", False):
        db.session.commit()
        db.session.remove()


def catch_up(*gathering: Periodic) -> None:
    """Have what is gathered in memory written, and read it from now on.

    The transaction that asked who is calling ends first: on SQLite it would go on seeing the time before, and one
    that may write would stand in the way.
    """
    release()
    for one in gathering:
        one.flush()


def reads_only() -> None:
    """Say that this request only reads, although its method is POST."""
    g.reads_only = True


def abandon() -> None:
    """Undo what was done and give the connection back: another transaction is to write now."""
    if g.pop("session_open", False):
        _give_up()
        db.session.remove()


@contextmanager
def own_transaction() -> Iterator[Session]:
    """A short transaction of its own, for what must stay although the request is refused."""
    abandon()
    with Session(services().engine) as own:
        begin_write(own)
        yield own
        own.commit()


@contextmanager
def addition() -> Iterator[Connection]:
    """A transaction of its own for something new; it ends with the block, and knows rows but no objects.

    To be used where things are made all day: what a session knows of its objects costs as much as writing them.
    """
    abandon()
    with services().engine.connect() as connection:
        yield begin_quietly(connection)
        connection.commit()


def commit_in_the_end(app: Flask) -> None:
    """Commit each request's work before anything tells of its answer.

    To be called after all others that look at answers: the last to be registered is the first to see them.
    """
    app.after_request(_finish)


def _finish(response: Response) -> Response:
    if not notes().pop("session_open", False):
        return response
    if response.status_code < 400:
        try:
            db.session.commit()
        except SQLAlchemyError as error:
            _give_up()
            # The answer says that it is done, and it is not.
            return current_app.make_response(current_app.handle_user_exception(error))
    else:
        _give_up()
    return response


def _give_up() -> None:
    # A connection that broke cannot even be told so, and nothing of it is kept.
    with suppress(SQLAlchemyError):
        db.session.rollback()
