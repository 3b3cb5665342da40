"""The OpenAPI document: whole, and without loose ends. ``tests/fuzz`` holds the service to what it says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask import Flask

from service.http.openapi.plugin import OPERATIONS

#: JSON-RPC, pages, and the document itself are described elsewhere.
ELSEWHERE = re.compile(r"mcp\.|pages\.|api-docs\.")


@pytest.fixture(scope="module")
def document(lasting: Flask) -> Any:
    return lasting.test_client().get("/openapi.json").json


def operations(document: Any) -> list[Any]:
    return [one for path in document["paths"].values() for name, one in path.items() if name != "parameters"]


def test_every_route_of_the_api_is_in_it(lasting: Flask, document: Any) -> None:
    routes = {rule.endpoint for rule in lasting.url_map.iter_rules() if not ELSEWHERE.match(rule.endpoint)}
    assert {operation["operationId"] for operation in operations(document)} == routes == set(OPERATIONS)


def test_every_reference_leads_somewhere(document: Any) -> None:
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named - set(document["components"]["schemas"]) == set()


def test_every_link_leads_to_an_operation(document: Any) -> None:
    known = {operation["operationId"] for operation in operations(document)}
    found = {
        link["operationId"]
        for operation in operations(document)
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    }
    assert found
    assert found <= known


def test_every_closed_operation_says_how_one_shows_who_one_is(document: Any) -> None:
    for operation in operations(document):
        closed = "403" in operation["responses"] and "401" in operation["responses"]
        assert not closed or operation["security"] or operation["operationId"].startswith("auth.")


def test_the_shape_of_a_refusal_is_that_of_the_api(document: Any) -> None:
    refused = document["paths"]["/api/v1/flows/{flow_id}"]["get"]["responses"]["404"]
    assert refused["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Refusal"}
    assert list(document["components"]["schemas"]["Refusal"]["properties"]) == ["detail"]
