from __future__ import annotations

import pytest

from service.domain.errors import Invalid
from service.domain.responses import LONGEST_SESSION, Turn


@pytest.mark.parametrize("session_id", ["ada", "with_an_underscore", "resp_looks_like_one", "zwei\nZeilen", "ü"])
def test_the_session_of_a_turn_is_read_from_its_id(session_id: str) -> None:
    first = Turn.after(session_id)
    second = Turn.after(first.response_id)
    assert (first.session_id, second.session_id) == (session_id, session_id)
    assert first.response_id != second.response_id


@pytest.mark.parametrize("previous", [None, ""])
def test_a_turn_after_nothing_begins_a_session_of_its_own(previous: str | None) -> None:
    assert Turn.after(previous).session_id != Turn.after(previous).session_id


def test_a_session_as_long_as_runs_allow_can_be_continued() -> None:
    longest = "s" * LONGEST_SESSION
    assert Turn.after(Turn.after(longest).response_id).session_id == longest


def test_a_longer_one_is_refused() -> None:
    with pytest.raises(Invalid):
        Turn.after("s" * (LONGEST_SESSION + 1))
