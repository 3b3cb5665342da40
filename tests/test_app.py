"""The composition root."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import URL

from service.boot import BootError


def test_a_generated_password_is_shown_by_the_first_start_and_never_again(
    make_app: Callable[..., Flask], sqlite_url: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app(sqlite_url, superuser_password="")
    shown = re.search(r"Password +(\S+)", capsys.readouterr().err)
    assert shown
    form = {"username": "administrator", "password": shown[1]}
    assert app.test_client().post("/api/v1/login", data=form).status_code == 200
    make_app(sqlite_url, superuser_password="")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("web_allowed_hosts", ("http://intranet/",), "neither a host nor a network"),
        ("service_urls", ("google=http://mirror/",), "known are duckduckgo"),
        ("service_urls", ("http://mirror/",), "KEYTURN_SERVICE_URLS cannot be read"),
    ],
)
def test_addresses_that_cannot_be_read_stop_the_start(
    make_app: Callable[..., Flask], sqlite_url: URL, setting: str, value: tuple[str, ...], told: str
) -> None:
    with pytest.raises(BootError, match=told):
        make_app(sqlite_url, **{setting: value})
