"""What is known again from an earlier request: a host, a path, and whoami's body."""

from __future__ import annotations

import pytest
from flask import Flask, request, url_for

from service.http import lean
from service.http.lean import App
from tests.support.client import Api


@pytest.fixture
def small() -> App:
    made = App(__name__)

    @made.route("/things/<name>", methods=["GET"])
    def show(name: str) -> dict[str, str]:
        return {"shown": name}

    @made.route("/things/<name>", methods=["POST"])
    def change(name: str) -> dict[str, str]:
        return {"changed": name}

    @made.route("/where")
    def where() -> dict[str, str]:
        return {"url": url_for("where", _external=True)}

    return made


@pytest.mark.parametrize("time", [1, 2])
def test_a_path_leads_where_its_method_says(small: App, time: int) -> None:
    client = small.test_client()
    for _ in range(time):
        assert client.get("/things/a").json == {"shown": "a"}
        assert client.post("/things/a").json == {"changed": "a"}
        assert client.get("/things/b").json == {"shown": "b"}
        assert client.delete("/things/a").status_code == 405
        assert client.get("/nowhere").status_code == 404


def test_what_a_view_does_to_its_arguments_is_not_known_again(small: App) -> None:
    @small.before_request
    def spoil() -> None:
        (request.view_args or {})["name"] += "!"

    client = small.test_client()
    assert [client.get("/things/a").json for _ in range(3)] == [{"shown": "a!"}] * 3


def test_each_host_and_scheme_has_its_own_addresses(small: App) -> None:
    client = small.test_client()
    for _ in range(2):
        for base in ("http://one.example", "https://one.example", "http://two.example:8080", "http://ONE.example"):
            assert client.get("/where", base_url=base).json == {"url": f"{base.lower()}/where"}


@pytest.mark.parametrize("host", ["a b", "a\x7f", "é" * 300, "x" * 5000, "exa mple.com"])
def test_a_host_that_is_none_is_judged_each_time(small: App, host: str) -> None:
    client = small.test_client()
    headers = {"Host": host.encode().decode("latin-1")}
    answers = {client.get("/where", headers=headers).status_code for _ in range(3)}
    bare = Flask(__name__)
    bare.add_url_rule("/where", view_func=lambda: "here")
    assert answers == {bare.test_client().get("/where", headers=headers).status_code}


def test_nobody_fills_the_memory_with_hosts_and_paths(small: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "_MOST_HOSTS", 5)
    monkeypatch.setattr(lean, "_MOST_PLACES", 5)
    client = small.test_client()
    for number in range(20):
        assert client.get(f"/things/{number}", base_url=f"http://host{number}.example").status_code == 200
        assert client.get(f"/things/{number}" + "x" * 300, base_url="http://one.example").status_code == 200
    assert (len(small._hosts) <= 5, len(small._places) <= 5) == (True, True)
    assert all(len(path) < 256 for _, path in small._places)


def test_whoami_tells_of_a_change_at_once(api: Api) -> None:
    before = api.get("/users/whoami").json
    assert before is not None
    changed = api.patch(f"/users/{before['id']}", json={"profile_image": "Space/046-rocket.svg"})
    assert changed.status_code == 200, changed.json
    assert api.get("/users/whoami").json == before | {
        "profile_image": "Space/046-rocket.svg", "updated_at": changed.json["updated_at"],
    }  # fmt: skip


def test_a_head_request_is_told_the_length_and_gets_no_body(api: Api) -> None:
    whole, head = api.get("/users/whoami"), api.open("HEAD", "/users/whoami")
    assert (head.data, head.headers["Content-Length"]) == (b"", str(len(whole.data)))
