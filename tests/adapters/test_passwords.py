"""Password hashes."""

from __future__ import annotations

from time import perf_counter

import bcrypt
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


#: Made by Langflow 1.5.1 (passlib 1.7.4) of "right"; cost 12.
OF_LANGFLOW = "$2b$12$9LQ6RVPMIr8lSolN6wsR.OSv5pWE7/OW4izV7/rbfr2CVxae6oRkC"
LONG = "long " * 20


@pytest.fixture(scope="module")
def of_long() -> str:
    """What Langflow stores for a password of 100 bytes: the hash of the first 72."""
    return bcrypt.hashpw(LONG.encode()[:72], bcrypt.gensalt(4)).decode()


def test_a_password_that_langflow_hashed_fits(hasher: Argon2Hasher) -> None:
    assert hasher.verify(OF_LANGFLOW, "right")


@pytest.mark.parametrize("password", ["", "wrong", "Right", "right\x00", "right\x00more", "\ud800", OF_LANGFLOW])
def test_a_wrong_password_does_not_fit_langflows_hash(hasher: Argon2Hasher, password: str) -> None:
    assert not hasher.verify(OF_LANGFLOW, password)


def test_a_long_password_goes_on_working(hasher: Argon2Hasher, of_long: str) -> None:
    assert hasher.verify(of_long, LONG)


def test_langflows_hash_of_a_long_password_knows_its_beginning_only(hasher: Argon2Hasher, of_long: str) -> None:
    assert hasher.verify(of_long, LONG[:72] + "whatever")
    assert not hasher.verify(of_long, LONG[:71])


def test_langflows_hash_is_to_be_made_anew(hasher: Argon2Hasher) -> None:
    assert hasher.needs_rehash(OF_LANGFLOW)


@pytest.mark.parametrize("junk", ["$2", "$2b$", "$2b$12$", "$2b$99$" + "a" * 53, "$2b$12$" + "é" * 53])
def test_a_stored_value_that_only_begins_like_bcrypt_fits_nothing(hasher: Argon2Hasher, junk: str) -> None:
    assert not hasher.verify(junk, "right")


@pytest.mark.parametrize("whose", [None, "argon2"])
def test_where_langflows_hashes_are_stored_every_name_takes_as_long_as_theirs(stored: str, whose: str | None) -> None:
    mixed = Argon2Hasher(legacy=True)
    mixed.verify(None, "warm")
    assert seconds_of(mixed, stored if whose else None) > seconds_of(mixed, OF_LANGFLOW) / 2


def test_a_hasher_that_meets_one_of_langflows_hashes_takes_as_long_from_then_on(stored: str) -> None:
    one = Argon2Hasher()
    before = seconds_of(one, stored)
    one.verify(OF_LANGFLOW, "wrong")
    assert seconds_of(one, stored) > 2 * before


def test_where_langflows_hashes_are_stored_the_other_passwords_fit_as_well(stored: str) -> None:
    mixed = Argon2Hasher(legacy=True)
    assert mixed.verify(stored, "right")
    assert not mixed.verify(stored, "wrong")
    assert not mixed.verify(None, "right")
