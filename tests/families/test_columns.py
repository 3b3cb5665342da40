"""Whoever reads the database cannot sign in with what stands there: no column of any table is a credential."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from flask import Flask

from tests.families.routes import HERE, ROUTES, SAMPLES, Owner
from tests.families.rows import TABLES, dump

CARRIERS = ("header", "query", "bearer", "cookie")
#: table -> column -> every text that stands there
Values = dict[str, dict[str, set[str]]]
every_table = pytest.mark.parametrize("table", TABLES)


@pytest.fixture(scope="module")
def values(lasting: Flask) -> Values:
    """What stands in the database after every route was called once."""
    people = {of_superuser: Owner(lasting, is_superuser=of_superuser) for of_superuser in (False, True)}
    for owner in people.values():
        owner.all_things()
    for route in ROUTES:
        people[SAMPLES[route].by_superuser].send(route)
        people[SAMPLES[route].by_superuser].renew()
    for owner in people.values():
        owner.all_things()
    found: Values = {table: {column.name: set() for column in made.columns} for table, made in TABLES.items()}
    with an_mcp_client(people[False]):
        everything = dump(lasting)
    for table, rows in everything.items():
        for row in rows.values():
            for name, value in row.items():
                if value is not None:
                    found[table][name] |= {value.decode("latin-1") if isinstance(value, bytes) else str(value)}
    return found


@contextmanager
def an_mcp_client(owner: Owner) -> Iterator[None]:
    """A stream that is open, with a message that waits for it, and a call that runs."""
    client, headers = owner.app.test_client(use_cookies=False), {"x-api-key": owner.key}
    stream, own = client.get("/api/v1/mcp/sse", headers=headers), owner.app.extensions["keyturn"]
    endpoint = next(iter(stream.response)).decode().partition("data: ")[2].strip()
    answer = client.post(endpoint, headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert answer.status_code == 202
    call_id = hashlib.sha256(endpoint.encode()).hexdigest()
    own.mcp_calls.begin(call_id, lambda: None)
    yield
    own.mcp_calls.end(call_id)
    stream.close()


def present(app: Flask, value: str, carrier: str) -> int:
    text = value.encode("utf-8", "surrogatepass").decode("latin-1")
    environ = {
        "header": {"HTTP_X_API_KEY": text},
        "query": {"QUERY_STRING": f"x-api-key={quote(value, safe='')}"},
        "bearer": {"HTTP_AUTHORIZATION": f"Bearer {text}"},
        "cookie": {"HTTP_COOKIE": f"access_token_lf={text}"},
    }[carrier]
    return app.test_client(use_cookies=False).get("/api/v1/users/whoami", environ_overrides=environ).status_code


@pytest.mark.parametrize("table", sorted(set(TABLES) - {"limit_window", "limit_lease"}))
def test_every_table_had_something_to_present(values: Values, table: str) -> None:
    assert any(values[table].values()), f"no route of SAMPLES in {HERE} makes a row of {table}"


@every_table
def test_no_column_is_a_credential(lasting: Flask, values: Values, table: str) -> None:
    let_in = {
        (column, carrier)
        for column, texts in values[table].items()
        for text in texts
        for carrier in CARRIERS
        if present(lasting, text, carrier) not in {401, 403}
    }
    assert let_in == set()


@every_table
def test_no_column_is_a_refresh_token(lasting: Flask, values: Values, table: str) -> None:
    client = lasting.test_client(use_cookies=False)
    let_in = {
        column
        for column, texts in values[table].items()
        for text in texts
        if client.post("/api/v1/refresh", headers={"Cookie": f"refresh_token_lf={quote(text)}"}).status_code != 401
    }
    assert let_in == set()


@every_table
def test_no_column_is_the_password_of_its_user(lasting: Flask, values: Values, table: str) -> None:
    client, owner = lasting.test_client(use_cookies=False), Owner(lasting)
    suspects = {
        (column, text)
        for column, texts in values[table].items()
        if any(word in column for word in ("hash", "digest", "secret", "cipher", "token", "prefix"))
        for text in sorted(texts)[:3]
    }
    form = {"username": owner.mark}
    answers = {column: client.post("/api/v1/login", data=form | {"password": text}) for column, text in suspects}
    assert {column: answer.status_code for column, answer in answers.items() if answer.status_code != 401} == {}
