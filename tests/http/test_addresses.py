"""Addresses that a proxy tells, or somebody who pretends to be one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import URL

from tests.support.client import Api


@pytest.mark.parametrize("address", ["a" * 300, "\x7f", "[::1", "1.2.3.4:80", "%00", "fe80::1%" + "e" * 200])
def test_an_address_that_is_none_is_no_reason_to_fail(
    make_app: Callable[..., Flask], database_url: URL, address: str
) -> None:
    app = make_app(database_url, trusted_proxies=1, rate_limit_enabled=True)
    headers = {"X-Forwarded-For": address}
    client = app.test_client(use_cookies=False)
    refused = client.post("/api/v1/login", data={"username": "x", "password": "y"}, headers=headers)
    assert refused.status_code == 401, refused.json
    assert client.get("/api/v1/users/whoami", headers=headers | {"x-api-key": "sk-x"}).status_code == 403
    made = Api.of_superuser(app).post("/api_key/", json={"name": "new"}, headers=headers)
    assert made.status_code == 200, made.json
