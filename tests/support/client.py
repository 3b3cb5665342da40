"""A caller of the API with a key, for tests."""

from __future__ import annotations

from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

SUPERUSER, PASSWORD = "administrator", "securepassword"
USER_PASSWORD = "pw12345678"


class Api:
    """Sends requests with an API key in the header; ``api.get("/users/whoami")`` adds ``/api/v1``."""

    def __init__(self, app: Flask, key: str | None, user_id: str, token: str | None = None) -> None:
        self.app, self.key, self.user_id, self.token = app, key, user_id, token

    @classmethod
    def of_superuser(cls, app: Flask) -> Api:
        return cls.signed_in(app, SUPERUSER, PASSWORD)

    @classmethod
    def signed_in(cls, app: Flask, username: str, password: str) -> Api:
        """Sign in, make a key, and call with it."""
        client = app.test_client(use_cookies=False)
        login = client.post("/api/v1/login", data={"username": username, "password": password})
        assert login.status_code == 200, login.json
        token = login.json["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        key = client.post("/api/v1/api_key/", json={"name": "test"}, headers=bearer).json
        return cls(app, key["api_key"], key["user_id"], token)

    def new_user(self, username: str) -> Api:
        """Make and activate an ordinary user; returns a caller with that user's key."""
        made = self.post("/users/", json={"username": username, "password": USER_PASSWORD})
        assert made.status_code == 201, made.json
        self.patch(f"/users/{made.json['id']}", json={"is_active": True})
        return Api.signed_in(self.app, username, USER_PASSWORD)

    def open(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        headers = dict(kwargs.pop("headers", None) or {})
        if self.key is not None:
            headers.setdefault("x-api-key", self.key)
        full = path if path.startswith(("/api/", "/v1/", "/health", "/openapi", "/metrics")) else f"/api/v1{path}"
        return self.app.test_client(use_cookies=False).open(full, method=method, headers=headers, **kwargs)

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.open("GET", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> TestResponse:
        return self.open("POST", path, **kwargs)

    def put(self, path: str, **kwargs: Any) -> TestResponse:
        return self.open("PUT", path, **kwargs)

    def patch(self, path: str, **kwargs: Any) -> TestResponse:
        return self.open("PATCH", path, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> TestResponse:
        return self.open("DELETE", path, **kwargs)
