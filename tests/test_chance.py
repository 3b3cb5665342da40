"""Ids differ, whatever is done to Python's own generator, and in each process."""

from __future__ import annotations

import multiprocessing
import random
import uuid
from collections.abc import Callable

import pytest

from service import chance

MADE: list[Callable[[], object]] = [
    chance.new_id,
    chance.new_uuid,
    lambda: chance.hexadecimal(16),
    lambda: chance.octets(8),
]


@pytest.mark.parametrize("make", MADE)
def test_ids_differ_when_somebody_sets_pythons_generator_back(make: Callable[[], object]) -> None:
    state = random.getstate()
    made = set()
    for _ in range(100):
        random.seed(0)
        made.add(make())
    random.setstate(state)
    assert len(made) == 100


def test_forked_processes_make_ids_of_their_own() -> None:
    with multiprocessing.get_context("fork").Pool(4, maxtasksperchild=1) as pool:
        made = pool.map(_ids, range(8), chunksize=1)
    assert len({one for ids in [*made, _ids(0)] for one in ids}) == 9 * 20


def _ids(_: int) -> list[str]:
    return [chance.new_id() for _ in range(20)]


@pytest.mark.parametrize("make", [chance.new_id, lambda: str(chance.new_uuid())])
def test_an_id_is_a_uuid_of_version_4(make: Callable[[], str]) -> None:
    for _ in range(200):
        text = make()
        assert (str(uuid.UUID(text)), uuid.UUID(text).version, uuid.UUID(text).variant) == (text, 4, uuid.RFC_4122)


@pytest.mark.parametrize("digits", [1, 16, 32])
def test_hexadecimal_has_as_many_digits_as_asked_for(digits: int) -> None:
    assert all(len(chance.hexadecimal(digits)) == digits for _ in range(500))
