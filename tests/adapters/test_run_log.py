"""Rows of runs: none lost, and one that cannot be written holds up no other."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.adapters.run_log import RunLog
from service.domain.ports import FinishedRun, TokenUsage
from service.storage import Flow, RunRow, User

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def run_log(engine: Engine) -> Iterator[RunLog]:
    made = RunLog(engine)
    yield made
    made.close()


@pytest.fixture
def run(engine: Engine) -> FinishedRun:
    with Session(engine) as session:
        owner = session.scalars(select(User.id)).one()
        flow = Flow(user_id=owner, name="a flow")
        session.add(flow)
        session.commit()
        return FinishedRun(owner, flow.id, None, NOW, 1.2345, "done", TokenUsage(3, 4, 7))


def stored(engine: Engine) -> list[RunRow]:
    with Session(engine) as session:
        return list(session.scalars(select(RunRow)))


def test_a_run_is_there_after_a_flush_with_its_time_and_tokens(
    engine: Engine, run_log: RunLog, run: FinishedRun
) -> None:
    run_log.add(run)
    run_log.flush()
    row = stored(engine)[0]
    assert (row.duration, row.outcome, row.input_tokens, row.output_tokens) == (1234, "done", 3, 4)


def test_a_run_of_a_flow_that_is_gone_holds_up_no_other(engine: Engine, run_log: RunLog, run: FinishedRun) -> None:
    run_log.add(FinishedRun(run.owner_id, uuid.uuid4(), None, NOW, 1.0, "done"))
    run_log.add(run)
    run_log.flush()
    assert [row.flow_id for row in stored(engine)] == [run.flow_id]


def test_a_flush_waits_for_what_another_is_writing(
    engine: Engine, run_log: RunLog, run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go_on, write = threading.Event(), threading.Event(), run_log._write

    def slowly(runs: list[FinishedRun]) -> None:
        writing.set()
        go_on.wait(10)
        write(runs)

    monkeypatch.setattr(run_log, "_write", slowly)
    run_log.add(run)
    first = threading.Thread(target=run_log.flush)
    first.start()
    assert writing.wait(10)
    second = threading.Thread(target=run_log.flush)
    second.start()
    second.join(0.05)
    waited = second.is_alive()
    go_on.set()
    first.join(10)
    second.join(10)
    assert (waited, len(stored(engine))) == (True, 1)


def test_what_waits_is_written_when_the_server_stops(engine: Engine, run_log: RunLog, run: FinishedRun) -> None:
    run_log.add(run)
    run_log.close()
    assert len(stored(engine)) == 1
