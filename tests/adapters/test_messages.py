"""Writing chat messages: none lost, none of somebody else's touched."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.adapters.messages import MessageWriter
from service.domain import flows as flow_cases
from service.domain.audit import BOOT
from service.storage import Flow, StoredChatMessage, User
from tests.support import flows


@pytest.fixture
def writer(engine: Engine) -> Iterator[MessageWriter]:
    made = MessageWriter(engine)
    yield made
    made.close()


def new_flow(engine: Engine, name: str = "echo") -> tuple[uuid.UUID, uuid.UUID]:
    """Owner and flow."""
    with Session(engine) as session:
        owner = session.scalars(select(User.id)).first()
        assert owner is not None
        flow = flow_cases.create(session, BOOT, owner, {"name": name, "data": flows.echo()}, datetime.now(UTC))
        session.commit()
        return owner, flow.id


def row(owner: uuid.UUID, flow: uuid.UUID, text: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": uuid.uuid4(), "user_id": owner, "flow_id": flow, "session_id": "s", "context_id": "", "sender": "User",
        "sender_name": "User", "text": text, "files": [], "timestamp": datetime.now(UTC), "error": False,
        "edit": False, "category": "message", "properties": {"a": 1}, "content_blocks": [], "session_metadata": None,
        "duration": None, **changes,
    }  # fmt: skip


def texts(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return sorted(session.scalars(select(StoredChatMessage.text)))


def test_rows_are_written_at_once(engine: Engine, writer: MessageWriter) -> None:
    owner, flow = new_flow(engine)
    writer.write([row(owner, flow, "one"), row(owner, flow, "two")])
    assert texts(engine) == ["one", "two"]


def test_many_large_rows_are_written(engine: Engine, writer: MessageWriter) -> None:
    owner, flow = new_flow(engine)
    large = [f"{number:02}" + "ä" * 300_000 for number in range(12)]
    writer.write([row(owner, flow, text) for text in large])
    assert texts(engine) == large


@pytest.mark.parametrize("others", [0, 30])
def test_a_known_id_replaces_what_its_owner_has(engine: Engine, writer: MessageWriter, others: int) -> None:
    owner, flow = new_flow(engine)
    first = row(owner, flow, "before")
    writer.write([first])
    writer.write([*(row(owner, flow, "other") for _ in range(others)), {**first, "text": "after"}])
    assert texts(engine) == ["after", *["other"] * others]


@pytest.mark.parametrize("others", [0, 30])
def test_somebody_elses_row_is_never_replaced(engine: Engine, writer: MessageWriter, others: int) -> None:
    owner, flow = new_flow(engine)
    first = row(owner, flow, "mine")
    writer.write([first])
    with Session(engine) as session:
        other = uuid.uuid4()
        now = datetime.now(UTC)
        names = {"username": "other", "username_key": "other", "password_hash": "x"}
        flags = {"is_active": True, "is_superuser": False, "optins": {}}
        session.add(User(id=other, created_at=now, updated_at=now, **names, **flags))
        session.commit()
    writer.write([{**first, "user_id": other, "text": "stolen"}, *(row(owner, flow, "other") for _ in range(others))])
    assert texts(engine) == ["mine", *["other"] * others]


def test_deferred_rows_are_written_by_a_flush(engine: Engine, writer: MessageWriter) -> None:
    owner, flow = new_flow(engine)
    writer.defer([row(owner, flow, "later")])
    writer.flush()
    assert texts(engine) == ["later"]


def test_deferred_rows_are_written_by_a_clean_stop(engine: Engine) -> None:
    owner, flow = new_flow(engine)
    writer = MessageWriter(engine)
    writer.defer([row(owner, flow, "last words")])
    writer.close()
    assert texts(engine) == ["last words"]


def test_a_flow_that_is_gone_takes_only_its_own_messages_along(engine: Engine, writer: MessageWriter) -> None:
    owner, gone = new_flow(engine, "gone")
    _, kept = new_flow(engine, "kept")
    with Session(engine) as session:
        session.execute(delete(Flow).where(Flow.id == gone))
        session.commit()
    writer.defer([row(owner, gone, "lost"), row(owner, kept, "stays")])
    writer.flush()
    assert texts(engine) == ["stays"]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_know_are_stored_as_nothing(
    engine: Engine, writer: MessageWriter, number: float
) -> None:
    owner, flow = new_flow(engine)
    writer.write([row(owner, flow, "odd", content_blocks=[{"output": {"a": [number, 1.5]}}])])
    with Session(engine) as session:
        assert session.scalars(select(StoredChatMessage.content_blocks)).one() == [{"output": {"a": [None, 1.5]}}]


def test_a_row_that_can_never_be_written_does_not_keep_the_others_out(engine: Engine, writer: MessageWriter) -> None:
    owner, flow = new_flow(engine)
    hopeless = row(owner, flow, "lost", flow_id=None)
    unfit = [row(owner, flow, "lost a\x00b")] if engine.dialect.name == "postgresql" else []
    writer.defer([hopeless, *unfit, row(owner, flow, "stays")])
    writer.flush()
    assert texts(engine) == ["stays"]


def test_what_cannot_be_written_yet_stays_for_the_next_time(engine: Engine, writer: MessageWriter) -> None:
    owner, flow = new_flow(engine)
    with Session(engine) as session:
        session.connection().exec_driver_sql("ALTER TABLE message RENAME TO message_away")
        session.commit()
    writer.defer([row(owner, flow, "patient")])
    writer.flush()
    with Session(engine) as session:
        session.connection().exec_driver_sql("ALTER TABLE message_away RENAME TO message")
        session.commit()
    writer.flush()
    assert texts(engine) == ["patient"]


def test_a_failure_of_the_database_shows_no_value(engine: Engine) -> None:
    with Session(engine) as session, pytest.raises(SQLAlchemyError) as failed:
        session.execute(text("SELECT * FROM nowhere WHERE a = :a"), {"a": "canary"})
    assert "canary" not in str(failed.value)
