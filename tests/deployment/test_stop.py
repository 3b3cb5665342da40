"""The server is told to stop while nginx hands a stream on."""

from __future__ import annotations

from tests.deployment.conftest import Place, json_of, read_until
from tests.support.waiting import until


def test_a_stop_lets_a_stream_come_to_its_end_and_then_clients_are_told_to_try_again(place: Place) -> None:
    place.provider.go_on.clear()
    stream = place.stream()
    read_until(stream, b'"token"')
    place.server.ask_to_stop()
    refused = until(lambda: place.ask("GET", "/api/v1/users/whoami"), lambda answer: answer.status != 200, 60)
    assert (refused.status, refused.headers["Retry-After"], list(json_of(refused))) == (503, "5", ["detail"])
    place.provider.go_on.set()
    read_until(stream, b'"event": "end"')
    assert place.server.stop() == 0
