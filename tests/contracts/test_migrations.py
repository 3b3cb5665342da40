"""The migrations make the schema that the models describe, and can be walked both ways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Connection, inspect

from service.storage import schema
from service.storage.base import Base
from service.storage.engine import create_engine


@pytest.fixture
def connection(database_url: URL) -> Iterator[Connection]:
    engine = create_engine(database_url)
    with engine.connect() as opened:
        yield opened
    engine.dispose()


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def test_migrating_up_from_empty_gives_the_models(connection: Connection) -> None:
    schema.upgrade(connection)
    assert schema.differences(connection) == []


def test_migrating_down_leaves_no_table_of_ours(connection: Connection) -> None:
    schema.upgrade(connection)
    schema.downgrade(connection, "base")
    assert tables(connection) == {"alembic_version"}


def test_migrating_down_and_up_again_gives_the_models(connection: Connection) -> None:
    schema.upgrade(connection)
    schema.downgrade(connection, "base")
    schema.upgrade(connection)
    assert schema.differences(connection) == []


def test_a_second_upgrade_does_nothing(connection: Connection) -> None:
    schema.upgrade(connection)
    before = tables(connection)
    schema.upgrade(connection)
    assert (tables(connection), schema.differences(connection)) == (before, [])


def test_an_upgrade_that_is_not_committed_leaves_nothing(database_url: URL) -> None:
    engine = create_engine(database_url)
    with engine.connect() as opened:
        transaction = opened.begin()
        schema.upgrade(opened)
        transaction.rollback()
        assert tables(opened) == set()
    engine.dispose()


def test_an_empty_database_has_no_version(connection: Connection) -> None:
    assert schema.database_version(connection) is None


def test_a_migrated_database_has_the_codes_version(connection: Connection) -> None:
    schema.upgrade(connection)
    assert schema.database_version(connection) == schema.code_version()


def test_a_difference_between_models_and_database_is_seen(connection: Connection) -> None:
    schema.upgrade(connection)
    connection.exec_driver_sql("DROP TABLE variable")
    assert schema.differences(connection) != []


def test_every_constraint_has_a_name(connection: Connection) -> None:
    schema.upgrade(connection)
    unnamed = [
        f"{table}: {found}"
        for table in Base.metadata.tables
        for found in (
            *inspect(connection).get_foreign_keys(table),
            *inspect(connection).get_unique_constraints(table),
        )
        if not found["name"]
    ]
    assert unnamed == []
