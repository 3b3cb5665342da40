"""The HTTP+SSE transport: a stream on one worker, POSTs to another, on both databases."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL
from werkzeug.test import TestResponse

from tests.conftest import Clock
from tests.http.mcp.conftest import HIDDEN, PUBLIC, store
from tests.support import flows
from tests.support.client import Api
from tests.support.mcp import STRANGER, Mcp, request_of
from tests.support.provider import Provider
from tests.support.waiting import until

KEY = {"name": "OPENAI_API_KEY", "value": "sk-of-nobody", "type": "Credential", "default_fields": []}
MISSING = (404, {"detail": "Could not find session"})


@dataclass
class Stream:
    """An open stream: where to send messages, and what comes out."""

    answer: TestResponse
    endpoint: str
    pieces: Iterator[bytes]

    def next(self) -> dict[str, Any]:
        """The next message."""
        for piece in self.pieces:
            if piece.startswith(b"event: message"):
                return dict(json.loads(piece.partition(b"data: ")[2]))
        raise AssertionError("the stream has ended")


@dataclass
class Place:
    """Two workers on one database, and a user with a public tool, "echo", and a hidden one, "chat"."""

    here: Flask
    there: Flask
    api: Api
    project: str
    streams: list[Stream]

    def open(self, path: str = "/api/v1/mcp/sse", key: str | None = None, address: str = STRANGER) -> Stream:
        """Open a stream on this worker."""
        headers = {"x-api-key": key} if key else {}
        answer = self.here.test_client(use_cookies=False).get(
            path, headers=headers, environ_base={"REMOTE_ADDR": address}
        )
        assert answer.status_code == 200, answer.get_data()
        pieces = iter(answer.response)
        endpoint = next(pieces).decode().partition("data: ")[2].strip()
        self.streams.append(Stream(answer, endpoint, pieces))
        return self.streams[-1]

    def send(self, stream: Stream, content: Any, key: str | None = None, **kwargs: Any) -> TestResponse:
        """Send a message to the other worker."""
        return Mcp(self.there, key).post(content, path=stream.endpoint, **kwargs)

    def rows(self, table: str) -> int:
        with self.here.extensions["keyturn"].engine.connect() as connection:
            return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() or 0)


@pytest.fixture
def place(make_app: Callable[..., Flask], sqlite_url: URL, provider: Provider) -> Iterator[Place]:
    """For what has nothing to do with the database."""
    yield from make_place(make_app, sqlite_url, provider)


@pytest.fixture
def either(make_app: Callable[..., Flask], database_url: URL, provider: Provider) -> Iterator[Place]:
    """On each of the databases."""
    yield from make_place(make_app, database_url, provider)


def make_place(make_app: Callable[..., Flask], url: URL, provider: Provider) -> Iterator[Place]:
    here = make_app(url, openai_base_url=provider.url, mcp_max_streams=8)
    api = Api.of_superuser(here)
    assert api.post("/variables/", json=KEY).status_code == 201
    project = store(api, "echo", **PUBLIC)["folder_id"]
    store(api, "chat", flows.chat_with_model(), **HIDDEN)
    made = Place(here, make_app(url, openai_base_url=provider.url), api, project, [])
    yield made
    for stream in made.streams:
        stream.answer.close()


def test_answers_come_out_of_the_stream_that_another_worker_holds(either: Place) -> None:
    stream = either.open()
    accepted = either.send(stream, request_of("initialize", {"protocolVersion": "2024-11-05"}, 0))
    assert (accepted.status_code, accepted.text) == (202, "Accepted")
    assert stream.next()["result"]["protocolVersion"] == "2024-11-05"
    either.send(stream, request_of("tools/list", number="a"))
    assert [tool["name"] for tool in stream.next()["result"]["tools"]] == ["echo"]


def test_a_tool_is_called_and_tells_how_it_goes(either: Place) -> None:
    stream = either.open(key=either.api.key)
    params = {"name": "chat", "arguments": {"input_value": "Hello"}, "_meta": {"progressToken": 1}}
    either.send(stream, request_of("tools/call", params, 5), either.api.key)
    said = [stream.next()]
    while "id" not in said[-1]:
        said.append(stream.next())
    assert said[0]["params"] == {"progressToken": 1, "progress": 1}
    assert said[-1]["result"]["content"] == [{"type": "text", "text": "You said: Hello"}]


@pytest.mark.parametrize("form", ["mcp/project", "mcp-projects"])
def test_a_project_has_streams_of_its_own(place: Place, form: str) -> None:
    stream = place.open(f"/api/v1/{form}/{place.project}/sse")
    assert stream.endpoint.startswith(f"/api/v1/{form}/{place.project}/?session_id=")
    place.send(stream, request_of("tools/call", {"name": "echo", "arguments": {"input_value": "Hi"}}))
    assert stream.next()["result"]["content"][0]["text"] == "Hi"


def test_an_unknown_tool_and_an_unknown_method_are_answered_into_the_stream(place: Place) -> None:
    stream = place.open()
    place.send(stream, request_of("tools/call", {"name": "nothing"}))
    assert stream.next()["result"]["isError"]
    place.send(stream, request_of("nothing", number=8))
    place.send(stream, request_of("tools/call", {"name": 1}, 9))
    errors = [stream.next(), stream.next()]
    assert [(one["id"], one["error"]["code"]) for one in errors] == [(8, -32601), (9, -32602)]


@pytest.mark.parametrize("content", [[request_of("ping")], {}, 1, {"jsonrpc": "2.0", "id": None, "method": "ping"}])
def test_what_is_no_message_is_refused_at_once(place: Place, content: Any) -> None:
    answer = place.send(place.open(), content)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, -32600)


def test_a_notification_gets_no_answer(place: Place) -> None:
    stream = place.open()
    assert place.send(stream, request_of("notifications/initialized", number=None)).status_code == 202
    place.send(stream, request_of("ping", number=7))
    assert stream.next()["id"] == 7


def test_a_stream_takes_messages_of_whoever_opened_it_only(place: Place) -> None:
    with_key, without = place.open(key=place.api.key), place.open()
    other = place.api.post("/api_key/", json={"name": "other"}).json["api_key"]
    ping = request_of("ping")
    refused = [place.send(with_key, ping), place.send(with_key, ping, other), place.send(without, ping, other)]
    assert [(answer.status_code, answer.json) for answer in refused] == [MISSING] * 3


def test_the_endpoint_begins_with_what_the_proxy_takes_off(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    pieces = iter(make_app(sqlite_url, root_path="/langflow").test_client().get("/api/v1/mcp/sse").response)
    assert next(pieces).startswith(b"event: endpoint\ndata: /langflow/api/v1/mcp/?session_id=")
    pieces.close()


def test_a_stream_takes_messages_on_its_own_endpoint_only(place: Place) -> None:
    token = place.open().endpoint.partition("session_id=")[2]
    answer = Mcp(place.there).post(
        request_of("ping"), path=f"/api/v1/mcp/project/{place.project}/", query_string={"session_id": token}
    )
    assert (answer.status_code, answer.json) == MISSING


@pytest.mark.parametrize("token", ["", "nothing", "a" * 5000, "é"])
def test_a_message_for_a_stream_that_never_was_is_404(place: Place, token: str) -> None:
    answer = Mcp(place.there).post(request_of("ping"), path="/api/v1/mcp/", query_string={"session_id": token})
    assert (answer.status_code, answer.json) == MISSING


def test_a_bad_key_is_refused_although_the_stream_is_open_to_strangers(place: Place) -> None:
    assert place.send(place.open(), request_of("ping"), "sk-nothing").status_code == 403


def test_a_closed_stream_takes_nothing_and_leaves_nothing(either: Place) -> None:
    stream = either.open()
    either.send(stream, request_of("ping"))
    stream.answer.close()
    answer = either.send(stream, request_of("ping"))
    assert (answer.status_code, answer.json) == MISSING
    assert [either.rows(table) for table in ("mcp_stream", "mcp_mail", "mcp_call")] == [0, 0, 0]


def test_a_call_whose_stream_is_closed_is_stopped(either: Place, provider: Provider) -> None:
    call(either, provider).answer.close()
    wait_for_the_run(either)
    provider.go_on.set()
    assert provider.abandoned.wait(10)


def test_a_call_is_cancelled_from_another_worker(either: Place, provider: Provider) -> None:
    stream = call(either, provider)
    headers = {"x-api-key": either.api.key}
    Mcp(either.here).post(
        request_of("notifications/cancelled", {"requestId": 5}, None), path=stream.endpoint, headers=headers
    )
    wait_for_the_run(either)
    provider.go_on.set()
    assert provider.abandoned.wait(10)
    either.send(stream, request_of("ping", number=6), either.api.key)
    said = stream.next()
    while "id" not in said:
        said = stream.next()
    assert said["id"] == 6


def test_a_head_opens_no_stream(place: Place) -> None:
    assert place.here.test_client().head("/api/v1/mcp/sse").status_code == 200
    assert place.rows("mcp_stream") == 0


def test_whoever_takes_no_events_gets_no_stream(place: Place) -> None:
    answer = place.here.test_client().get("/api/v1/mcp/sse", headers={"Accept": "application/json"})
    assert (answer.status_code, place.rows("mcp_stream")) == (406, 0)


def test_strangers_hold_half_of_the_streams_and_one_address_a_quarter(place: Place) -> None:
    addresses = [f"203.0.113.{number // 2}" for number in range(4)]
    opened = [place.open(address=address) for address in addresses]
    assert refused(place, addresses[0]) == refused(place, "203.0.113.9") == 429
    with_key = [place.open(key=place.api.key) for _ in range(4)]
    headers = {"x-api-key": place.api.key}
    assert place.here.test_client().get("/api/v1/mcp/sse", headers=headers).status_code == 429
    with_key[0].answer.close()
    opened[0].answer.close()
    assert place.open(address=addresses[0]).endpoint


def test_a_stream_says_that_it_is_still_there(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    app = make_app(sqlite_url, heartbeat_seconds=0.1)
    answer = app.test_client().get("/api/v1/mcp/sse")
    pieces = iter(answer.response)
    assert [next(pieces) for _ in range(3)][1:] == [b": still here\n\n"] * 2
    answer.close()


class TestTheCredential:
    """A stream is open for no longer than its credential is good."""

    @pytest.fixture
    def app(self, make_app: Callable[..., Flask], database_url: URL) -> Flask:
        return make_app(database_url, heartbeat_seconds=0.1)

    @pytest.mark.parametrize("act", ["revoke", "disable", "expire", "rotate", "deactivate", "delete"])
    def test_a_stream_ends_with_its_key(self, app: Flask, clock: Clock, act: str) -> None:
        chief = Api.of_superuser(app)
        user = chief.new_user("somebody")
        soon = (clock() + timedelta(hours=1)).isoformat()
        key = user.post("/api_key/", json={"name": "of the stream", "expires_at": soon}).json
        with beating(app, {"x-api-key": key["api_key"]}) as beats:
            if act == "expire":
                clock.forward(hours=2)
            else:
                path, whose = f"/api_key/{key['id']}", f"/users/{user.user_id}"
                answer = {
                    "revoke": lambda: user.delete(path),
                    "disable": lambda: user.patch(path, json={"is_active": False}),
                    "rotate": lambda: user.post(f"{path}/rotate", json={"grace_seconds": 0}),
                    "deactivate": lambda: chief.patch(whose, json={"is_active": False}),
                    "delete": lambda: chief.delete(whose),
                }[act]()
                assert answer.status_code in {200, 202}, answer.json
            assert ends(beats)

    def test_a_stream_ends_with_its_sign_in(self, app: Flask) -> None:
        user = Api.of_superuser(app).new_user("somebody")
        bearer = {"Authorization": f"Bearer {user.token}"}
        with beating(app, bearer) as beats:
            app.test_client(use_cookies=False).post("/api/v1/logout", headers=bearer)
            assert ends(beats)

    def test_a_stream_whose_key_is_good_goes_on(self, app: Flask) -> None:
        api = Api.of_superuser(app)
        other = api.post("/api_key/", json={"name": "other"}).json
        with beating(app, {"x-api-key": str(api.key)}) as beats:
            api.delete(f"/api_key/{other['id']}")
            assert not ends(beats)

    def test_a_stream_holds_no_connection_between_two_looks(self, app: Flask) -> None:
        user = Api.of_superuser(app).new_user("somebody")
        with beating(app, {"Authorization": f"Bearer {user.token}"}):
            own = app.extensions["keyturn"]
            # Whoever writes uses down may have one for a moment.
            until(lambda: own.engine.pool.checkedout() + own.lookups.pool.checkedout(), lambda taken: not taken)


def test_the_older_transport_can_be_switched_off(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    client = make_app(sqlite_url, mcp_sse_enabled=False).test_client()
    answers = [client.get("/api/v1/mcp/sse"), client.post("/api/v1/mcp/?session_id=a", json=request_of("ping"))]
    text = {"detail": "SSE transport is disabled. Use the Streamable HTTP endpoint."}
    assert [(answer.status_code, answer.json) for answer in answers] == [(404, text)] * 2
    assert Mcp(client.application).ask("ping") == {}


def test_mcp_can_be_switched_off(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    client = make_app(sqlite_url, mcp_server_enabled=False).test_client()
    paths = ["/api/v1/mcp/streamable", "/api/v1/mcp/", f"/api/v1/mcp/project/{uuid.uuid4()}/streamable"]
    assert {client.post(path, json=request_of("ping")).status_code for path in paths} == {404}


@contextmanager
def beating(app: Flask, headers: dict[str, str]) -> Iterator[Iterator[bytes]]:
    """A stream that has said once that it is still there."""
    answer = app.test_client(use_cookies=False).get("/api/v1/mcp/sse", headers=headers)
    pieces = iter(answer.response)
    assert [next(pieces) for _ in range(2)][1] == b": still here\n\n"
    yield pieces
    answer.close()


def ends(beats: Iterator[bytes]) -> bool:
    """Whether a stream ends within a few heartbeats; one may have been under way."""
    return len(list(islice(beats, 5))) < 5


def refused(place: Place, address: str) -> int:
    client = place.here.test_client(use_cookies=False)
    return client.get("/api/v1/mcp/sse", environ_base={"REMOTE_ADDR": address}).status_code


def call(place: Place, provider: Provider) -> Stream:
    """Call number 5 on the other worker, which waits in the middle of a long answer."""
    provider.go_on.clear()
    provider.pieces = ("first",) + ("x" * 4000,) * 2000
    stream = place.open(key=place.api.key)
    params = {"name": "chat", "arguments": {"input_value": "Hello"}, "_meta": {"progressToken": 1}}
    place.send(stream, request_of("tools/call", params, 5), place.api.key)
    assert provider.arrived.wait(10)
    return stream


def wait_for_the_run(place: Place) -> None:
    """Wait until the run that was to stop has stopped."""
    for thread in threading.enumerate():
        if thread.name == "run":
            thread.join(20)
            assert not thread.is_alive()
