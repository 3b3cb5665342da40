"""An application with flows of two owners: public ones, hidden ones, and ones that are no tools."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from tests.http.api.conftest import newcomer, shared, shared_url  # noqa: F401 - fixtures of this folder too
from tests.support import flows
from tests.support.client import Api
from tests.support.mcp import Mcp
from tests.support.provider import Provider, serving

PUBLIC = {"mcp_enabled": True, "access_type": "PUBLIC"}
HIDDEN = {"mcp_enabled": True}


@dataclass
class Owner:
    """A user with flows of each kind, each named after what it is."""

    api: Api
    project: str
    ids: dict[str, str]

    def mcp(self, path: str | None = None) -> Mcp:
        """A client with the user's key."""
        return Mcp(self.api.app, self.api.key, *([path] if path else []))

    def limited(self, path: str | None = None, **limits: Any) -> Mcp:
        """A client with another key of the user."""
        made = self.api.post("/api_key/", json={"name": "limited", **limits})
        assert made.status_code == 200, made.json
        return Mcp(self.api.app, made.json["api_key"], *([path] if path else []))


def store(api: Api, name: str, data: Any = None, **fields: Any) -> dict[str, Any]:
    """Store a flow and return it."""
    made = api.post("/flows/", json={"name": name, "data": data or flows.echo(), **fields})
    assert made.status_code == 201, made.json
    return dict(made.json)


def make_owner(app: Flask) -> Owner:
    api, mark = newcomer(app), uuid.uuid4().hex[:8]
    kinds = {"public": PUBLIC, "hidden": HIDDEN, "no tool": {"access_type": "PUBLIC"}, "private": {}}
    made = {kind: store(api, f"{kind} {mark}", **fields) for kind, fields in kinds.items()}
    return Owner(api, made["public"]["folder_id"], {kind: flow["id"] for kind, flow in made.items()})


@pytest.fixture
def owner(shared: Flask) -> Owner:  # noqa: F811
    return make_owner(shared)


@pytest.fixture
def neighbour(shared: Flask) -> Owner:  # noqa: F811
    return make_owner(shared)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving() as provider:
        yield provider
