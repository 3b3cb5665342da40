from __future__ import annotations

from typing import Any

import pytest

from service.engine.fields import OPEN_KINDS, Kind, Unfit, coerce
from service.engine.values import Data, Message


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", "a\\nb", "a\nb"),
        ("text", 5, "5"),
        ("text", True, "True"),
        ("text", ["a\\n", 1], ["a\n", "1"]),
        ("text", {"text": "saved"}, "saved"),
        ("text", {"data": {"text": "saved"}}, "saved"),
        ("text", None, "default"),
        ("template", "a\\nb", "a\\nb"),
        ("secret", "sk-\\n", "sk-\\n"),
        ("bool", "false", False),
        ("bool", "yes", True),
        ("bool", 0, False),
        ("bool", "", "default"),
        ("int", "7", 7),
        ("int", 7.9, 7),
        ("int", "", "default"),
        ("float", "0.5", 0.5),
        ("float", 1, 1.0),
        ("dict", {"a": 1}, {"a": 1}),
        ("dict", [{"key": "a", "value": 1}, {"b": 2}], {"a": 1, "b": 2}),
        ("dict", '{"a": 1}', {"a": 1}),
        ("nested", "", "default"),
        ("any", [1], [1]),
        ("any", None, "default"),
    ],
    ids=repr,
)
def test_a_stored_value_becomes_what_the_component_reads(kind: Kind, value: Any, expected: Any) -> None:
    assert coerce(kind, value, "default") == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", "seven"),
        ("int", [7]),
        ("int", True),
        ("int", float("nan")),
        ("int", 2**63),
        ("float", "inf"),
        ("float", 10**400),
        ("dict", "{"),
        ("dict", 7),
        ("dict", ["a"]),
        ("text", [10**5000]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_does_not_fit_is_refused_without_being_repeated(kind: Kind, value: Any) -> None:
    with pytest.raises(Unfit) as caught:
        coerce(kind, value)
    assert "seven" not in str(caught.value)


def test_an_empty_object_is_the_default_of_an_object_field() -> None:
    assert coerce("dict", "") == {}


@pytest.mark.parametrize("value", [Message("x"), Data({})])
def test_what_comes_over_an_edge_stays_as_it_is(value: Any) -> None:
    assert coerce("text", value) is value


def test_kinds_that_decide_where_a_secret_goes_are_not_open() -> None:
    assert OPEN_KINDS.isdisjoint({"secret", "url", "file", "code", "template", "provider", "model"})
