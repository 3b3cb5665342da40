"""Bodies are read whole or refused, small ones and large ones alike."""

from __future__ import annotations

from io import BytesIO
from typing import IO, Any

import pytest
from flask import Flask

from service.http.bodies import SMALL
from tests.support.client import Api


class Broken(BytesIO):
    """A connection that ends in the middle."""

    def read(self, *_: Any) -> bytes:
        raise ConnectionResetError("the client was too slow")


def made(lite: Flask, key: str, body: IO[bytes], length: str) -> int:
    environ = {"wsgi.input": body, "CONTENT_LENGTH": length, "wsgi.input_terminated": True}
    answer = lite.test_client(use_cookies=False).post(
        "/api/v1/api_key/", headers={"x-api-key": key}, content_type="application/json", environ_overrides=environ
    )
    return answer.status_code


@pytest.fixture
def key(lite: Flask) -> str:
    return str(Api.of_superuser(lite).key)


@pytest.mark.parametrize("size", [20, SMALL, SMALL + 1, 3 * SMALL])
def test_a_body_of_its_length_is_read(lite: Flask, key: str, size: int) -> None:
    body = b'{"name": "n"}'.ljust(size)
    assert made(lite, key, BytesIO(body), str(size)) == 200


@pytest.mark.parametrize("size", [20, SMALL, SMALL + 1])
def test_a_body_that_is_shorter_than_it_says_is_refused(lite: Flask, key: str, size: int) -> None:
    body = b'{"name": "n"}'.ljust(size - 1)
    assert made(lite, key, BytesIO(body), str(size)) == 400


@pytest.mark.parametrize("size", [20, SMALL + 1])
def test_a_body_whose_sender_goes_away_is_refused(lite: Flask, key: str, size: int) -> None:
    assert made(lite, key, Broken(b'{"name": "n"}'), str(size)) == 400


def test_what_comes_behind_a_body_is_no_part_of_it(lite: Flask, key: str) -> None:
    assert made(lite, key, BytesIO(b'{"name": "n"}{"name": "n"}'), "13") == 200


def test_a_small_body_may_still_be_too_large(make_app: Any, sqlite_url: Any) -> None:
    app = make_app(sqlite_url, max_body_bytes=1000)
    good = str(Api.of_superuser(app).key)
    assert made(app, good, BytesIO(b'{"name": "n"}'.ljust(1000)), "1000") == 200
    assert made(app, good, BytesIO(b'{"name": "n"}'.ljust(1001)), "1001") == 413
