"""Ready statements say and find what SQLAlchemy's own way does, on either database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, event, insert, select, text, type_coerce
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.orm import Session

from service.storage import ApiKey, User, Variable
from service.storage.statements import Batch, Insertion, Lookup, for_lookups
from service.storage.types import Names, UuidText

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))
COLUMNS = [name for name in ApiKey.__table__.c.keys() if name != "max_parallel"]  # noqa: SIM118
KEYS = Insertion(ApiKey, COLUMNS)
BY_ID = Lookup(select(*ApiKey.__table__.c).where(ApiKey.id == bindparam("id")))
VARIABLES = select(
    type_coerce(Variable.id, UuidText).label("id"), Variable.name,
    type_coerce(Variable.default_fields, Names).label("fields"),
).where(Variable.user_id == bindparam("owner"))  # fmt: skip


@pytest.fixture
def lookups(engine: Engine) -> Iterator[Engine]:
    made = for_lookups(engine)
    yield made
    made.dispose()


def values(owner: uuid.UUID, **changes: object) -> dict[str, Any]:
    given: dict[str, Any] = dict.fromkeys(COLUMNS)
    given |= {
        "id": uuid.uuid4(), "digest": uuid.uuid4().hex, "prefix": "sk-", "length": 60, "name": "ä\U0001f511",
        "user_id": owner, "is_active": True, "created_at": NOW, "total_uses": 2**40, "rotations": 0,
        "scopes": ["run", "keys"], "flows": [], "rate_requests": 5,
    }  # fmt: skip
    return given | changes


def test_a_row_is_found_as_it_was_added(engine: Engine, lookups: Engine, owner: uuid.UUID) -> None:
    given = values(owner)
    with engine.begin() as connection:
        added = KEYS.add(connection, given)
    found = BY_ID.first(lookups, {"id": given["id"]})
    assert found == added
    assert (found.scopes, found.flows, found.networks, found.max_parallel) == (["run", "keys"], [], None, None)
    assert (found.created_at, found.created_at.utcoffset()) == (NOW, timedelta(0))


def test_a_row_is_read_by_models_as_it_was_added(engine: Engine, owner: uuid.UUID) -> None:
    given = values(owner)
    with Session(engine) as session:
        KEYS.add(session, given)
        session.commit()
        row = session.get_one(ApiKey, given["id"])
        assert {name: getattr(row, name) for name in COLUMNS} == given


def test_lists_that_are_not_given_stay_null_in_the_database(engine: Engine, owner: uuid.UUID) -> None:
    with engine.begin() as connection:
        KEYS.add(connection, values(owner, scopes=None))
        assert connection.scalar(text("SELECT count(*) FROM api_key WHERE scopes IS NULL AND networks IS NULL")) == 1


def test_what_a_session_still_holds_is_written_first(engine: Engine) -> None:
    with Session(engine) as session:
        new = User(id=uuid.uuid4(), username="new", username_key="new", password_hash="none")
        session.add(new)
        KEYS.add(session, values(new.id))
        session.commit()


def test_a_row_is_undone_with_its_transaction(engine: Engine, lookups: Engine, owner: uuid.UUID) -> None:
    given = values(owner)
    with Session(engine) as session:
        KEYS.add(session, given)
    assert BY_ID.first(lookups, {"id": given["id"]}) is None


def test_a_row_that_is_there_already_is_refused_in_sqlalchemys_words(engine: Engine, owner: uuid.UUID) -> None:
    with engine.begin() as connection:
        KEYS.add(connection, values(owner, digest="the same"))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        KEYS.add(connection, values(owner, digest="the same"))


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("count", [1, 60])
def test_many_rows_are_written_as_one_is(
    engine: Engine, lookups: Engine, owner: uuid.UUID, count: int, at_once: bool
) -> None:
    every = [values(owner, name=f'"{number}\n\u2028ä\U0001f511', expires_at=NOW) for number in range(count)]
    with engine.begin() as connection:
        Batch(insert(ApiKey), at_once=at_once).write(connection, [row | {"max_parallel": 3} for row in every])
        for row in every:
            KEYS.add(connection, row | {"id": uuid.uuid4(), "digest": row["id"].hex})
    with Session(engine) as session:
        alone = {row.digest: row for row in session.scalars(select(ApiKey).where(ApiKey.max_parallel.is_(None)))}
    for row in every:
        found, one = BY_ID.first(lookups, {"id": row["id"]}), alone[row["id"].hex]
        same = [name for name in COLUMNS if name not in {"id", "digest"}]
        assert {name: getattr(found, name) for name in same} == {name: getattr(one, name) for name in same}


def test_of_many_rows_all_or_none_are_written(engine: Engine, lookups: Engine, owner: uuid.UUID) -> None:
    every = [values(owner, max_parallel=3) for _ in range(30)]
    with pytest.raises(IntegrityError), engine.begin() as connection:
        Batch(insert(ApiKey), at_once=True).write(connection, [*every, every[0]])
    assert BY_ID.first(lookups, {"id": every[0]["id"]}) is None


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("count", [0, 1, 60])
def test_a_list_is_the_same_by_every_way(
    engine: Engine, lookups: Engine, owner: uuid.UUID, count: int, at_once: bool
) -> None:
    with Session(engine) as session:
        session.add_all(
            Variable(
                user_id=owner, name=f'"{number}\n\u2028ä', type="Generic", ciphertext="x", default_fields=["a,b"]
            )
            for number in range(count)
        )
        session.commit()
        lookup = Lookup(VARIABLES, at_once=at_once)
        through_session = sorted(lookup.all(session, {"owner": owner}))
    found = sorted(lookup.all(lookups, {"owner": owner}))
    assert found == through_session
    assert len(found) == count
    assert all(str(uuid.UUID(row[0])) == row[0] and row[2] == ["a,b"] for row in found)


def test_the_lists_of_two_rows_are_two_lists(engine: Engine, lookups: Engine, owner: uuid.UUID) -> None:
    with Session(engine) as session:
        session.add_all(
            Variable(user_id=owner, name=name, type="Generic", ciphertext="x", default_fields=[]) for name in "ab"
        )
        session.commit()
    first, second = Lookup(VARIABLES, at_once=True).all(lookups, {"owner": owner})
    first[2].append("changed")
    assert second[2] == []


def test_an_error_of_the_database_comes_in_sqlalchemys_words(lookups: Engine) -> None:
    lost = Lookup(select(text("nothing")))
    with pytest.raises(DBAPIError):
        lost.all(lookups, {})


on_postgresql = pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)


@on_postgresql
def test_a_connection_that_was_closed_in_the_pool_is_replaced(engine: Engine, lookups: Engine) -> None:
    names = Lookup(select(User.username))
    before = names.all(lookups, {})
    hang_up(engine, backends(engine))
    assert names.all(lookups, {}) == before


@on_postgresql
def test_a_connection_that_is_closed_while_it_asks_is_replaced(engine: Engine, lookups: Engine) -> None:
    names = Lookup(select(User.username))
    before = names.all(lookups, {})
    event.listen(lookups, "checkout", lambda own, *_: hang_up(engine, [own.info.backend_pid]), once=True)
    assert names.all(lookups, {}) == before


@on_postgresql
def test_a_look_up_leaves_no_transaction_open(engine: Engine, lookups: Engine) -> None:
    with pytest.raises(ProgrammingError):
        Lookup(select(text("nothing"))).all(lookups, {})
    Lookup(select(User.username)).all(lookups, {})
    with engine.connect() as connection:
        states = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE '%in tr%'"
        )
        assert connection.scalar(states) == 0


def backends(engine: Engine) -> Sequence[int]:
    """PostgreSQL's processes for this test's other connections."""
    with engine.connect() as connection:
        others = text(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return connection.scalars(others).all()


def hang_up(engine: Engine, ids: Sequence[int]) -> None:
    """Close connections from PostgreSQL's side, and wait until they are."""
    with engine.connect() as connection:
        for id in ids:
            assert connection.scalar(text("SELECT pg_terminate_backend(:id, 10000)"), {"id": id})
