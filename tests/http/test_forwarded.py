"""What a proxy's headers may say: an address and a scheme, and only where the operator trusts a proxy."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL
from werkzeug.test import EnvironBuilder

from service.http.forwarded import Forwarded, address_of
from tests.support.client import Api

PEER = "192.0.2.1"


def told(proxies: int, **headers: str) -> tuple[str, str]:
    """Address and scheme that an application sees behind so many proxies."""
    seen: dict[str, Any] = {}
    environ = EnvironBuilder(environ_overrides={"REMOTE_ADDR": PEER, **headers}).get_environ()
    Forwarded(lambda environ, _start: seen.update(environ) or [], proxies)(environ, lambda *_: None)  # type: ignore[arg-type, func-returns-value]
    return seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:443", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:443", "203.0.113.9"),
    ],
)
def test_an_address_is_told_in_its_usual_form(text: str, address: str) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "unknown", "_hidden", "localhost", "evil.example", "203.0.113", "203.0.113.9.1", "203.0.113.256",
        "0203.0.113.9", "203.0.113.9/24", "203.0.113.9:", "203.0.113.9:port", "203.0.113.9:1234567",
        "2001:db8::1:443]", "[2001:db8::1", "[203.0.113.9", "[[2001:db8::1]]", "fe80::1%eth0", "fe80::1%<script>",
        "1e3", "3405803785",         "0x7f000001", "\u0661.\u0662.\u0663.\u0664", "203.0.113.9\r\nX-Evil: 1",
        "203.0.113.9\x00", "\x1b[31m203.0.113.9", "203.0.113.9" + " " * 100, "1" * 10_000, "f" * 10_000,
        "'; DROP TABLE audit_event; --", "sk-" + "a" * 43,
    ],
    ids=lambda text: repr(text[:30]),
)  # fmt: skip
def test_what_is_no_address_is_none(text: str) -> None:
    assert address_of(text) is None


@pytest.mark.parametrize(
    ("proxies", "header", "address"),
    [
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, garbage", PEER),
        (1, "203.0.113.9,", PEER),
        (1, ",", PEER),
        (2, "203.0.113.9, 198.51.100.1", "203.0.113.9"),
        (2, "6.6.6.6, 203.0.113.9, 198.51.100.1", "203.0.113.9"),
        (2, "6.6.6.6, , 198.51.100.1", PEER),
        (2, "198.51.100.1", PEER),
        (3, "a" * 100_000, PEER),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_address_is_what_the_outermost_trusted_proxy_saw_or_the_peers(
    proxies: int, header: str, address: str
) -> None:
    assert told(proxies, HTTP_X_FORWARDED_FOR=header)[0] == address


@pytest.mark.parametrize(
    ("header", "scheme"),
    [("https", "https"), ("HTTPS", "https"), ("http, https", "https"), ("https, http", "http"), ("http", "http"),
     ("javascript", "http"), ("https\r\nX-Evil: 1", "http"), ("", "http"), ("https:", "http"), ("on", "http")],
)  # fmt: skip
def test_the_scheme_is_http_or_https(header: str, scheme: str) -> None:
    assert told(1, HTTP_X_FORWARDED_PROTO=header)[1] == scheme


def test_an_address_that_is_none_stands_in_no_line_of_the_log(
    make_app: Callable[..., Flask], sqlite_url: URL, tmp_path: Path
) -> None:
    log_file = tmp_path / "log"
    app = make_app(sqlite_url, trusted_proxies=1, log_level="info", log_file=log_file, log_json=True)
    client = app.test_client()
    for forwarded in ("canary-address", "203.0.113.9:443"):
        client.get("/health", headers={"X-Forwarded-For": forwarded})
    for handler in logging.getLogger("service").handlers:
        handler.flush()
    lines = [json.loads(line) for line in log_file.read_text().splitlines()]
    assert [line["address"] for line in lines if line.get("endpoint") == "monitor.health"] == [
        "127.0.0.1", "203.0.113.9",
    ]  # fmt: skip


FORWARDED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Prefix": "/evil",
    "X-Script-Name": "/evil",
    "Forwarded": "for=203.0.113.9;proto=https;host=evil.example",
}


@pytest.mark.parametrize("proxies", [0, 1], ids=["without a proxy", "behind one"])
def test_no_header_changes_where_a_redirect_leads(
    make_app: Callable[..., Flask], sqlite_url: URL, proxies: int
) -> None:
    client = make_app(sqlite_url, trusted_proxies=proxies).test_client()
    assert client.get("/flows", headers=FORWARDED).headers["Location"] == client.get("/flows").headers["Location"]


def test_without_a_trusted_proxy_no_header_changes_an_answer(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    api = Api.of_superuser(make_app(sqlite_url))
    plain, told = (api.get("/users/whoami", headers=headers) for headers in ({}, FORWARDED))
    assert "Strict-Transport-Security" not in told.headers
    assert (plain.status_code, plain.json) == (told.status_code, told.json)
