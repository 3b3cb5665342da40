"""JSON text: whatever was made, clients and databases can read it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.json_text import encoded, spaced, stored

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(plain)
def test_what_is_written_reads_back_the_same(value: object) -> None:
    assert json.loads(encoded(value)) == value


@pytest.mark.parametrize("write", [lambda value: encoded(value).decode(), stored, spaced])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_does_not_have_becomes_null(write: object, number: float) -> None:
    assert json.loads(write({"a": [1, number]})) == {"a": [1, None]}  # type: ignore[operator]


def test_numbers_beyond_64_bits_keep_every_digit_and_lose_their_nans() -> None:
    assert encoded({"a": 2**70, "b": float("nan")}) == b'{"a":1180591620717411303424,"b":null}'


def test_half_of_a_surrogate_pair_is_escaped() -> None:
    assert encoded("a\ud800b") == b'"a\\ud800b"'


def test_keys_that_are_numbers_become_texts() -> None:
    assert encoded({1: "one", None: 2}) == b'{"1":"one","null":2}'


def test_what_is_nested_deeper_than_the_quick_way_goes_is_written_too() -> None:
    value: object = 1
    for _ in range(400):
        value = [value]
    assert encoded(value) == b"[" * 400 + b"1" + b"]" * 400


def test_text_outside_of_ascii_stays_as_it_is() -> None:
    assert encoded({"ä": "日本"}).decode() == '{"ä":"日本"}'


def test_an_answer_with_something_that_json_does_not_know_is_an_error() -> None:
    with pytest.raises(TypeError):
        encoded({"a": object})


@pytest.mark.parametrize("value", [uuid.UUID(int=7), datetime(2026, 1, 2, tzinfo=UTC), {"a", "b"}, b"bytes"])
def test_what_json_does_not_know_is_stored_as_text(value: object) -> None:
    assert json.loads(stored({"a": value})) == {"a": str(value)}
