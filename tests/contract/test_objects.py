"""What clients read at start or on the way, field by field as Langflow 1.13 sent it.

``objects.json`` has the recorded bodies, one item of each list; ``{graph}`` stands for a flow's graph, which is the
caller's own. What Keyturn says differently on purpose is in ``DIFFERENCES``, with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL

from tests.support import flows
from tests.support.client import Api

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "objects.json").read_text(encoding="utf-8"))

#: Of each server its own: compared by form only.
OWN = re.compile(r"(^|\.)(id|\w+_id|last_modified_by|\w+_at|timestamp|version_token|\w*name|text|description|tags)$")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

DIFFERENCES = {
    "config.public max_file_size_upload": "A file goes through memory: 100 MB unless it is set.",
    "config.public allow_custom_components": "Only in lfx, where the operator allows it.",
    "config.full max_file_size_upload": "A file goes through memory: 100 MB unless it is set.",
    "config.full allow_custom_components": "Only in lfx, where the operator allows it.",
    "config.full agentic_experience": "There is no assistant.",
    "config.full local_vector_store_available": "There are no knowledge bases.",
    "flows.list.page total": "The recording had two flows.",
    "flows.list.page pages": "The recording had two flows.",
    "flows.basic_examples name_key": "The examples are Keyturn's, and not translated.",
    "flows.basic_examples folder_id": "The examples lie in no project.",
}

#: How each object is asked for.
ASKED: dict[str, Callable[[Api, str], Any]] = {
    "version": lambda api, flow: api.get("/version").json,
    "config.public": lambda api, flow: Api(api.app, None, "").get("/config").json,
    "config.full": lambda api, flow: api.get("/config").json,
    "session.none": lambda api, flow: Api(api.app, None, "").get("/session").json,
    "session.bearer": lambda api, flow: api.get("/session").json,
    "flows.list.header": lambda api, flow: api.get("/flows/?header_flows=true&remove_example_flows=true").json[0],
    "flows.list.page": lambda api, flow: api.get("/flows/?get_all=false&page=1&size=1").json,
    "flows.get": lambda api, flow: api.get(f"/flows/{flow}").json,
    "flows.download": lambda api, flow: api.post("/flows/download/", json=[flow]).json,
    "flows.basic_examples": lambda api, flow: api.get("/flows/basic_examples/").json[0],
    "projects.list": lambda api, flow: api.get("/projects/").json[0],
    "monitor.messages": lambda api, flow: api.get("/monitor/messages?session_id=sess-1").json[-1],
}


@pytest.fixture
def answers(make_app: Callable[..., Flask], database_url: URL) -> dict[str, Any]:
    """The same objects of a server with one flow that ran once."""
    api = Api.of_superuser(make_app(database_url))
    body = {"name": "probe", "description": "d", "endpoint_name": "probe", "data": flows.echo()}
    flow = api.post("/flows/", json=body).json["id"]
    api.post(f"/run/{flow}", json={"input_value": "hello", "session_id": "sess-1"})
    return {tag: ask(api, flow) for tag, ask in ASKED.items()}


def compared(recorded: Any, ours: Any, path: str) -> Iterator[str]:
    """Yield the places where the two are not of one form, or not of one value that is not the server's own."""
    if recorded == "{graph}":
        return
    if isinstance(recorded, dict) and isinstance(ours, dict) and recorded.keys() == ours.keys():
        for name, value in recorded.items():
            yield from compared(value, ours[name], f"{path}.{name}".strip("."))
    elif isinstance(recorded, list) and isinstance(ours, list) and len(recorded) == len(ours):
        for one, other in zip(recorded, ours, strict=True):
            yield from compared(one, other, path)
    elif form_of(recorded) != form_of(ours) or (recorded != ours and not OWN.search(path)):
        yield path


def form_of(value: Any) -> str:
    """The kind of a value; of a text how it is written."""
    text = _UUID.sub("ID", value) if isinstance(value, str) else ""
    return f"{type(value).__name__} {re.sub('[0-9]', '0', text) if re.match('ID|[0-9]{4}-', text) else ''}"


def test_every_object_is_as_recorded_but_for_the_listed_differences(answers: dict[str, Any]) -> None:
    found = {f"{tag} {path}" for tag, body in RECORDED.items() for path in compared(body, answers[tag], "")}
    assert found == DIFFERENCES.keys()


def test_each_recorded_object_is_asked_for() -> None:
    assert ASKED.keys() == RECORDED.keys()
