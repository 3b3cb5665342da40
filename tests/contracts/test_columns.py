"""Whoever reads the database cannot sign in with what stands there: no column is a credential."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from service.adapters.vault import FernetVault
from service.storage import ApiKey, Base, User
from service.storage.users import SessionToken
from tests.conftest import SECRET, SUPERUSER
from tests.support.client import Api

CARRIERS = ("header", "query", "bearer", "cookie")
#: Where digests and hashes stand; every column of every table is presented in ``tests/families/test_columns.py``.
ROWS: dict[str, type[Base]] = {"api_key": ApiKey, "session_token": SessionToken, "user": User}
COLUMNS = [(table, column.key) for table, model in ROWS.items() for column in inspect(model).columns]


@pytest.fixture
def values(lite: Flask) -> dict[tuple[str, str], list[str]]:
    """(table, column) -> every value that stands there."""
    Api.of_superuser(lite)
    with Session(lite.extensions["keyturn"].engine) as session:
        return {
            (table, column): [str(getattr(row, column)) for row in session.scalars(select(ROWS[table]))]
            for table, column in COLUMNS
        }


def present(app: Flask, value: str, carrier: str) -> int:
    headers, query = {}, {}
    if carrier == "header":
        headers["x-api-key"] = value
    elif carrier == "bearer":
        headers["Authorization"] = f"Bearer {value}"
    elif carrier == "cookie":
        headers["Cookie"] = f"access_token_lf={value}"
    else:
        query["x-api-key"] = value
    client = app.test_client(use_cookies=False)
    return client.get("/api/v1/users/whoami", headers=headers, query_string=query).status_code


@pytest.mark.parametrize("mark", ["sk-", "kta_", "ktr_"])
def test_a_digest_behind_the_mark_of_a_credential_is_none(
    lite: Flask, values: dict[tuple[str, str], list[str]], mark: str
) -> None:
    digests = values["api_key", "digest"] + values["session_token", "digest"]
    answers = {present(lite, mark + digest, carrier) for digest in digests for carrier in CARRIERS}
    assert answers <= {401, 403}


def test_a_password_hash_is_no_password(lite: Flask, values: dict[tuple[str, str], list[str]]) -> None:
    form = {"username": SUPERUSER, "password": values["user", "password_hash"][0]}
    assert lite.test_client().post("/api/v1/login", data=form).status_code == 401


def test_a_digest_is_no_refresh_token(lite: Flask, values: dict[tuple[str, str], list[str]]) -> None:
    statuses = [
        lite.test_client(use_cookies=False)
        .post("/api/v1/refresh", headers={"Cookie": f"refresh_token_lf={digest}"})
        .status_code
        for digest in values["session_token", "digest"]
    ]
    assert statuses == [401] * len(statuses)


def test_the_servers_secret_is_no_credential(lite: Flask) -> None:
    assert {present(lite, SECRET, carrier) for carrier in CARRIERS} <= {401, 403}


def test_something_encrypted_with_the_servers_secret_is_no_credential(lite: Flask) -> None:
    forged = FernetVault(SECRET).encrypt(SUPERUSER)
    assert {present(lite, forged, carrier) for carrier in CARRIERS} <= {401, 403}


def test_a_refresh_token_is_no_access_token(lite: Flask) -> None:
    form = {"username": SUPERUSER, "password": "securepassword"}
    token = lite.test_client().post("/api/v1/login", data=form).json["refresh_token"]
    assert {present(lite, token, carrier) for carrier in CARRIERS} <= {401, 403}


@pytest.mark.parametrize("part", ["first", "middle", "last", "twice", "upper"])
def test_a_part_of_a_key_is_no_key(lite: Flask, part: str) -> None:
    key = str(Api.of_superuser(lite).key)
    forms = {"first": key[:-1], "middle": key[:20] + "A" + key[21:], "last": key[:-1] + "A", "twice": key + key,
             "upper": key.upper()}  # fmt: skip
    value = forms[part] if forms[part] != key else key[:-1] + "B"
    assert {present(lite, value, carrier) for carrier in ("header", "query", "bearer")} <= {401, 403}
