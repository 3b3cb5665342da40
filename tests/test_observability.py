"""Logs: what goes on failing is told in few lines, and a log that cannot be written costs nobody an answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import observability
from service.observability import OUTAGE_LINE_SECONDS, Outage
from tests.support.clock import Seconds

log = logging.getLogger("tests.observability")


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def outage(seconds: Seconds) -> Outage:
    return Outage(log, clock=seconds)


@pytest.fixture(autouse=True)
def former_handlers() -> Iterator[None]:
    yield
    observability.install("warning")


def test_a_failure_is_told_at_once_and_then_counted_once_a_minute(
    outage: Outage, seconds: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        outage.failed("it is away (%s)", "why")
    seconds.now += OUTAGE_LINE_SECONDS
    outage.failed("it is away (%s)", "why")
    assert caplog.messages == ["it is away (why)", "it is away (why), 101 times so far"]


def test_the_end_is_told_with_the_count(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    outage.failed("away")
    outage.failed("away")
    outage.over("back")
    outage.over("back")
    assert caplog.messages == ["away", "back, after 2 failures"]


def test_what_fails_every_second_time_is_quiet_too(
    outage: Outage, seconds: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        outage.failed("away")
        outage.over("back")
        seconds.now += 1
    assert len(caplog.messages) == 2


def test_lines_for_a_full_disk_are_dropped_and_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    observability.install("info", Path("/dev/full"))
    for _ in range(3):
        logging.getLogger("service").info("a line")
    printed = capsys.readouterr().err
    assert printed.count("the log cannot be written") == 1
    assert "Traceback" not in printed
