"""A flow that another one runs is a part of that run: it ends with it, and uses up what it may use."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL
from sqlalchemy.orm import Session

from service.domain.errors import RunCancelled, RunTimedOut
from service.domain.ports import RunContext, RunInput
from tests.http.api.test_runs import store
from tests.support import flows
from tests.support.client import Api


@pytest.fixture
def outer(lite: Flask) -> RunContext:
    """What a run that may run the flow ``inner`` has."""
    api = Api.of_superuser(lite)
    store(api, flows.echo(), "inner")
    store(api, flows.running_another("inner"), "outer")
    services = lite.extensions["keyturn"]
    with Session(services.engine) as session:
        owner = uuid.UUID(api.user_id)
        context: RunContext = services.runner.prepare(lambda: session, owner, "outer", {}, {}, None).context
    return context


def run_inner(outer: RunContext) -> Sequence[Mapping[str, Any]]:
    assert outer.flows is not None
    return outer.flows.run("inner", RunInput("x"), {}, "session", outer)


def test_it_counts_with_the_outer_one(outer: RunContext) -> None:
    run_inner(outer)
    once = outer.spent.steps
    run_inner(outer)
    assert (outer.spent.steps, outer.spent.produced > 0) == (2 * once, True)


def test_it_ends_when_the_outer_one_is_stopped(outer: RunContext) -> None:
    outer.cancellation.set()
    with pytest.raises(RunCancelled):
        run_inner(outer)


def test_it_has_the_time_that_the_outer_one_has_left(outer: RunContext) -> None:
    outer.spent.until = monotonic() - 1
    with pytest.raises(RunTimedOut):
        run_inner(outer)


@pytest.mark.parametrize(("most", "status"), [(5, 200), (4, 422)])
def test_both_together_take_no_more_steps_than_one_may(
    make_app: Callable[..., Flask], sqlite_url: URL, most: int, status: int
) -> None:
    api = Api.of_superuser(make_app(sqlite_url, max_steps=most))
    store(api, flows.echo(), "inner")
    store(api, flows.running_another("inner"), "outer")
    assert api.post("/run/outer", json={"input_value": "x"}).status_code == status
