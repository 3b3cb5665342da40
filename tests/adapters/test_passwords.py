"""Password hashes."""

from __future__ import annotations

from time import perf_counter

import pytest
from argon2 import PasswordHasher

from service.adapters.passwords import Argon2Hasher


@pytest.fixture(scope="module")
def hasher() -> Argon2Hasher:
    return Argon2Hasher()


@pytest.fixture(scope="module")
def stored(hasher: Argon2Hasher) -> str:
    return hasher.hash("right")


def seconds_of(hasher: Argon2Hasher, stored: str | None) -> float:
    """The quickest of several refusals."""
    times = []
    for _ in range(5):
        start = perf_counter()
        hasher.verify(stored, "wrong")
        times.append(perf_counter() - start)
    return min(times)


def test_the_right_password_fits(hasher: Argon2Hasher, stored: str) -> None:
    assert hasher.verify(stored, "right")


@pytest.mark.parametrize("password", ["", "wrong", "right ", "Right", "right\x00", "righ"])
def test_a_wrong_password_does_not_fit(hasher: Argon2Hasher, stored: str, password: str) -> None:
    assert not hasher.verify(stored, password)


def test_the_hash_itself_is_no_password(hasher: Argon2Hasher, stored: str) -> None:
    assert not hasher.verify(stored, stored)


def test_a_hash_has_owasps_parameters(stored: str) -> None:
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_the_same_password_never_has_the_same_hash(hasher: Argon2Hasher) -> None:
    assert hasher.hash("same") != hasher.hash("same")


def test_nobodys_password_never_fits(hasher: Argon2Hasher) -> None:
    assert not hasher.verify(None, "right")


def test_an_unknown_user_takes_a_hash_as_well(hasher: Argon2Hasher, stored: str) -> None:
    assert seconds_of(hasher, None) > seconds_of(hasher, stored) / 2


@pytest.mark.parametrize("junk", ["", "right", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv"])
def test_a_stored_value_that_is_no_hash_fits_nothing(hasher: Argon2Hasher, junk: str) -> None:
    assert not hasher.verify(junk, "right")


def test_half_of_a_surrogate_pair_is_refused_and_does_not_crash(hasher: Argon2Hasher, stored: str) -> None:
    assert not hasher.verify(stored, "\ud800")


def test_a_current_hash_needs_no_rehash(hasher: Argon2Hasher, stored: str) -> None:
    assert not hasher.needs_rehash(stored)


def test_a_hash_with_weaker_parameters_is_to_be_made_anew(hasher: Argon2Hasher) -> None:
    assert hasher.needs_rehash(PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash("right"))
