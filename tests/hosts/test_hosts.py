"""Everything true with one worker is true with four, and with two hosts on one PostgreSQL."""

from __future__ import annotations

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import PASSWORD, SUPERUSER
from tests.hosts.conftest import Host, Place, events_of, new_address, new_name, sign_in, text_of
from tests.support import flows
from tests.support.mcp import BOTH, request_of
from tests.support.waiting import until

#: Connections of their own, so that with four workers some go to others than the one that did something.
AGAIN = 6


def whoami(host: Host, key: str | None = None, **kwargs: Any) -> list[int]:
    """The statuses of a few requests, sent one after the other."""
    return [host.status("/users/whoami", key, **kwargs) for _ in range(AGAIN)]


def run(host: Host, name: str, key: str, says: str = "hi", **body: Any) -> Any:
    return host.ask("POST", f"/run/{name}", key, json={"input_value": says, **body})


def of_many(count: int, ask: Any) -> Counter[int]:
    """The statuses of many requests that are sent at once, by number."""
    with ThreadPoolExecutor(8) as pool:
        return Counter(pool.map(ask, range(count)))


def test_hosts_that_start_at_once_on_an_empty_database_make_one_superuser(place: Place) -> None:
    found = place.there.make("GET", "/users/", place.key, params={"limit": 100})
    assert [user["username"] for user in found["users"] if user["is_superuser"]] == [SUPERUSER]


def test_a_revoked_key_is_refused_at_the_very_next_request(place: Place) -> None:
    made = place.new_key()
    assert whoami(place.there, made["api_key"]) == [200] * AGAIN
    place.here.make("DELETE", f"/api_key/{made['id']}", place.key)
    assert whoami(place.there, made["api_key"]) == [403] * AGAIN


def test_a_key_that_is_switched_off_and_on_is_so_everywhere(place: Place) -> None:
    made = place.new_key()
    assert whoami(place.there, made["api_key"]) == [200] * AGAIN
    for on, status in ((False, 403), (True, 200)):
        place.here.make("PATCH", f"/api_key/{made['id']}", place.key, json={"is_active": on})
        assert whoami(place.there, made["api_key"]) == [status] * AGAIN


def test_a_right_that_was_taken_away_is_gone_everywhere(place: Place) -> None:
    made, flow = place.new_key(), place.new_flow(flows.echo())
    assert [run(place.there, flow, made["api_key"]).status_code for _ in range(AGAIN)] == [200] * AGAIN
    place.here.make("PATCH", f"/api_key/{made['id']}", place.key, json={"scopes": ["read"]})
    assert [run(place.there, flow, made["api_key"]).status_code for _ in range(AGAIN)] == [403] * AGAIN


def rotate(host: Host, place: Place, key_id: str, grace: int, **headers: str) -> str:
    body = {"grace_seconds": grace}
    answer = host.make("POST", f"/api_key/{key_id}/rotate", place.key, json=body, headers=headers)
    return str(answer["api_key"])


def test_a_rotated_key_is_good_everywhere_and_its_former_secret_is_not(place: Place) -> None:
    made = place.new_key()
    assert whoami(place.there, made["api_key"]) == [200] * AGAIN
    new = rotate(place.here, place, made["id"], 0)
    assert whoami(place.there, made["api_key"]) == [403] * AGAIN
    assert whoami(place.there, new) == [200] * AGAIN


def test_a_former_secret_lives_for_its_grace_everywhere(place: Place) -> None:
    made = place.new_key()
    new = rotate(place.here, place, made["id"], 600)
    assert whoami(place.there, made["api_key"]) + whoami(place.there, new) == [200] * AGAIN * 2
    rotate(place.there, place, made["id"], 1)
    assert whoami(place.here, made["api_key"]) == [403] * AGAIN
    until(lambda: whoami(place.here, new), lambda found: found == [403] * AGAIN)


def test_a_rotation_that_is_asked_for_again_elsewhere_gives_the_same_key(place: Place) -> None:
    made, retry = place.new_key(), {"Idempotency-Key": str(uuid.uuid4())}
    first = rotate(place.here, place, made["id"], 60, **retry)
    again = [rotate(place.turn(number), place, made["id"], 60, **retry) for number in range(AGAIN)]
    assert again == [first] * AGAIN
    assert whoami(place.there, first) == [200] * AGAIN


def test_a_sign_in_is_a_session_everywhere_and_ends_everywhere(place: Place) -> None:
    _, name = place.new_user()
    token = sign_in(place.here, name)["access_token"]
    assert whoami(place.there, token=token) == [200] * AGAIN
    place.there.make("POST", "/logout", token=token)
    assert whoami(place.here, token=token) == [401] * AGAIN


def test_a_session_that_is_renewed_elsewhere_goes_on_here(place: Place) -> None:
    _, name = place.new_user()
    tokens = sign_in(place.here, name)
    renewed = place.there.make("POST", "/refresh", cookies={"refresh_token_lf": tokens["refresh_token"]})
    assert whoami(place.here, token=renewed["access_token"]) == [200] * AGAIN
    assert whoami(place.here, token=tokens["access_token"]) == [401] * AGAIN


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "another-password"}], ids=["off", "password"])
def test_a_user_who_is_switched_off_or_gets_a_new_password_is_signed_out_everywhere(
    place: Place, change: dict[str, Any]
) -> None:
    user_id, name = place.new_user()
    token = sign_in(place.there, name)["access_token"]
    key = place.there.make("POST", "/api_key/", token=token, json={"name": "own"})["api_key"]
    assert whoami(place.there, token=token) == [200] * AGAIN
    place.here.make("PATCH", f"/users/{user_id}", place.key, json=change)
    assert whoami(place.there, token=token) == [401] * AGAIN
    assert whoami(place.there, key) == [200 if "password" in change else 403] * AGAIN


def test_sign_ins_of_an_address_are_counted_over_all(place: Place) -> None:
    address, form = new_address(), {"username": new_name(), "password": "wrong"}

    def attempt(number: int) -> int:
        return place.turn(number).ask("POST", "/login", data=form, address=address).status_code

    assert of_many(12, attempt) == {401: 5, 429: 7}


def test_a_keys_requests_are_counted_exactly_over_all(place: Place) -> None:
    key = place.new_key(rate_limit={"requests": 30, "window_seconds": 3600})["api_key"]
    assert of_many(70, lambda number: place.turn(number).status("/users/whoami", key)) == {200: 30, 429: 40}


def test_a_keys_runs_at_once_are_counted_exactly_over_all(place: Place) -> None:
    key, flow = place.new_key(max_parallel_runs=3)["api_key"], place.model_flow()
    place.provider.go_on.clear()
    place.provider.failures.extend(["hold"] * 3)
    refused: list[int] = []

    def ask(number: int) -> int:
        status = int(run(place.turn(number), flow, key).status_code)
        if status == 429:
            refused.append(status)
        return status

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, number) for number in range(8)]
        until(lambda: len(refused), lambda count: count == 5, seconds=60)
        place.provider.go_on.set()
        assert Counter(one.result(60) for one in asked) == {200: 3, 429: 5}
    assert run(place.there, flow, key).status_code == 200


def test_uses_of_a_key_add_up_over_all(place: Place) -> None:
    made, unknown = place.new_key(), uuid.uuid4()
    assert of_many(40, lambda number: place.turn(number).status("/users/whoami", made["api_key"])) == {200: 40}
    assert of_many(9, lambda number: place.turn(number).status(f"/flows/{unknown}", made["api_key"])) == {404: 9}

    def used() -> Any:
        found = place.there.make("GET", f"/api_key/{made['id']}/usage", place.key, params={"days": 2})
        by_status: Counter[str] = Counter()
        for day in found["days"]:
            by_status.update({str(status): count for status, count in day["statuses"].items()})
        return found["total_uses"], by_status

    until(used, lambda found: found == (49, {"200": 40, "404": 9}), seconds=60)


def test_a_variable_that_was_changed_is_used_by_the_next_run_everywhere(place: Place) -> None:
    variable = place.new_variable("sk-first")
    key = flows.secret(value=variable["name"], variable=True)
    flow = place.new_flow(flows.chat_with_model(flows.language_model(key=key)))
    for value in ("sk-first", "sk-second"):
        body = {"id": variable["id"], "value": value}
        place.here.make("PATCH", f"/variables/{variable['id']}", place.key, json=body)
        for _ in range(AGAIN):
            assert text_of(run(place.there, flow, place.key)) == "You said: hi"
            assert place.provider.last.headers["authorization"] == f"Bearer {value}"


def test_a_flow_that_was_changed_or_deleted_is_so_at_the_next_run_everywhere(place: Place) -> None:
    flow = place.new_flow(flows.echo())
    assert [text_of(run(place.there, flow, place.key)) for _ in range(AGAIN)] == ["hi"] * AGAIN
    found = next(one for one in place.here.make("GET", "/flows/", place.key) if one["endpoint_name"] == flow)
    place.here.make("PATCH", f"/flows/{found['id']}", place.key, json={"data": flows.prompt_chain(2)})
    said = {text_of(run(place.there, flow, place.key)) for _ in range(AGAIN)}
    assert len(said) == 1
    assert said != {"hi"}
    place.here.make("DELETE", f"/flows/{found['id']}", place.key)
    assert [run(place.there, flow, place.key).status_code for _ in range(AGAIN)] == [404] * AGAIN


def test_an_answer_comes_out_of_the_mcp_stream_that_somebody_else_holds(place: Place) -> None:
    name = place.new_flow(flows.echo(), mcp_enabled=True)
    with place.here.ask("GET", "/mcp/sse", place.key, stream=True) as stream:
        lines = stream.iter_lines(chunk_size=1)
        endpoint = next(line for line in lines if line.startswith(b"data: /")).decode()[6:]
        events = (line for line in lines if line.startswith(b"data: {"))
        for number in range(AGAIN):
            call = request_of("tools/call", {"name": name, "arguments": {"input_value": f"hi {number}"}}, number)
            assert place.there.ask("POST", endpoint, place.key, json=call).status_code == 202
            assert f'"hi {number}"'.encode() in next(events)


def test_a_tool_call_is_cancelled_from_elsewhere(place: Place) -> None:
    name = place.model_flow(mcp_enabled=True)
    place.provider.go_on.clear()
    place.provider.failures.append("hold")
    headers = {"Mcp-Session-Id": uuid.uuid4().hex, "Accept": BOTH}
    call = request_of("tools/call", {"name": name, "arguments": {"input_value": "hi"}}, 5)
    cancel = request_of("notifications/cancelled", {"requestId": 5}, None)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(place.here.ask, "POST", "/mcp/streamable", place.key, json=call, headers=headers)
        assert place.provider.arrived.wait(60)
        place.there.ask("POST", "/mcp/streamable", place.key, json=cancel, headers=headers)
        assert place.provider.abandoned.wait(60)
        assert not list(events_of(asked.result(60)))


def test_a_job_is_seen_and_listed_and_cancelled_elsewhere(place: Place) -> None:
    flow = place.model_flow()
    place.provider.go_on.clear()
    place.provider.failures.append("hold")
    job_id = run(place.here, flow, place.key, background=True).json()["id"]
    assert place.provider.arrived.wait(60)
    seen = [place.there.make("GET", f"/jobs/{job_id}", place.key)["status"] for _ in range(AGAIN)]
    assert seen == ["running"] * AGAIN
    assert job_id in [one["id"] for one in place.there.make("GET", "/jobs/", place.key)["jobs"]]
    place.there.make("POST", f"/jobs/{job_id}/cancel", place.key)
    assert place.provider.abandoned.wait(60)
    assert place.here.make("GET", f"/jobs/{job_id}", place.key)["status"] == "cancelled"


def test_the_result_of_a_job_is_told_everywhere(place: Place) -> None:
    job_id = run(place.here, place.model_flow(), place.key, background=True).json()["id"]
    done = until(
        lambda: place.there.make("GET", f"/jobs/{job_id}", place.key),
        lambda job: job["status"] not in {"queued", "running"}, seconds=60,
    )  # fmt: skip
    assert (done["status"], done["attempts"]) == ("done", 1)


def test_a_response_is_gone_on_with_elsewhere(place: Place) -> None:
    flow = place.new_flow(flows.agent_with_calculator())
    previous = None
    for number, says in enumerate(("one", "two", "three")):
        body = {"model": flow, "input": says, "previous_response_id": previous}
        previous = place.turn(number).make("POST", "/v1/responses", place.key, json=body)["id"]
    sent = [turn["content"] for turn in place.provider.last.body["messages"] if turn["role"] == "user"]
    assert sent == ["one", "two", "three"]


def test_a_streamed_run_is_in_the_history_elsewhere(place: Place) -> None:
    flow, session = place.model_flow(), new_name()
    body = {"input_value": "hi", "session_id": session}
    told = place.here.ask("POST", f"/run/{flow}?stream=true", place.key, json=body)
    assert '"event": "end"' in told.text
    for _ in range(AGAIN):
        found = place.there.make("GET", "/monitor/messages", place.key, params={"session_id": session})
        assert [message["text"] for message in found] == ["hi", "You said: hi"]


def test_a_password_that_was_changed_by_its_user_is_the_only_one_everywhere(place: Place) -> None:
    user_id, name = place.new_user()
    token = sign_in(place.here, name)["access_token"]
    body = {"current_password": PASSWORD, "password": "a-new-password"}
    place.here.make("PATCH", f"/users/{user_id}/reset-password", token=token, json=body)
    former = {"username": name, "password": PASSWORD}
    assert place.there.ask("POST", "/login", data=former, address=new_address()).status_code == 401
    assert sign_in(place.there, name, "a-new-password")["access_token"]
