"""DNS rebinding: a page's origin has to be one that the server knows of itself, whatever Host says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.doors import House, Houses

REFUSED = (403, {"detail": "This request comes from another site"})


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Houses]:
    made = Houses(tmp_path_factory.mktemp("origins"))
    yield made
    made.close()


def ask(house: House, host: str = "localhost", **headers: str) -> tuple[int, object]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = house.ask("mcp", host=host, headers=sent)
    return answer.status_code, answer.json if answer.status_code >= 400 else None


@pytest.mark.parametrize("origin", ["http://localhost", "http://127.0.0.1", "http://[::1]", "http://localhost:7860"])
def test_a_page_of_the_server_itself_passes_on_loopback(houses: Houses, origin: str) -> None:
    assert ask(houses.of(), Origin=origin)[0] == 200


def test_a_program_passes(houses: Houses) -> None:
    assert ask(houses.of())[0] == 200


@pytest.mark.parametrize("origin", [
    "https://evil.example", "null", "", "http://localhost:1", "http://localhost.evil.example", "file://", "localhost",
    "http://127.0.0.1.evil.example", "http://localhost@evil.example", "http://evil.example#localhost", "*",
    "http://[::1", "http://localhost:port", "chrome-extension://localhost", "http://localhost http://evil.example",
])  # fmt: skip
@pytest.mark.parametrize("key", [False, True], ids=["without a key", "with a key"])
def test_every_other_page_is_refused(houses: Houses, origin: str, key: bool) -> None:
    house = houses.of()
    credential = {"x_api_key": house.keys["good"]} if key else {}
    assert ask(house, Origin=origin, **credential) == REFUSED


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "localhost.evil.example"])
def test_a_name_that_was_rebound_is_refused_although_host_agrees(houses: Houses, host: str) -> None:
    assert ask(houses.of(), host=host, Origin=f"http://{host}") == REFUSED


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_that_sends_no_origin_is_refused_by_what_the_browser_says(houses: Houses, site: str) -> None:
    assert ask(houses.of(), Sec_Fetch_Site=site) == REFUSED


@pytest.mark.parametrize("fields", [
    {"mcp_allowed_origins": ("https://ours.example",)}, {"cors_origins": ("https://ours.example",)},
], ids=["for MCP", "for CORS"])  # fmt: skip
def test_a_page_that_the_operator_lists_passes(houses: Houses, fields: dict[str, object]) -> None:
    house = houses.of(**fields)
    assert ask(house, Origin="https://ours.example")[0] == 200
    assert ask(house, Origin="https://ours.example:8443") == REFUSED


def test_a_star_for_cors_is_none_here(houses: Houses) -> None:
    house = houses.of(cors_origins=("*",))
    assert ask(house, Origin="https://evil.example") == REFUSED
    assert ask(house, Origin="*") == REFUSED


@pytest.mark.parametrize(("host", "origin", "status"), [
    ("0.0.0.0", "http://localhost:7860", 403), ("0.0.0.0", "http://0.0.0.0:7860", 403),
    ("192.0.2.7", "http://192.0.2.7:7860", 200), ("192.0.2.7", "http://localhost:7860", 403),
    ("192.0.2.7", "http://192.0.2.7:1", 403), ("keyturn.example", "https://keyturn.example:7860", 200),
])  # fmt: skip
def test_away_from_loopback_the_configured_host_is_the_servers_name(
    houses: Houses, host: str, origin: str, status: int
) -> None:
    assert ask(houses.of(host=host), Origin=origin)[0] == status


def test_a_listed_page_may_ask_for_what_a_preflight_has_to_allow(houses: Houses) -> None:
    client = houses.of(cors_origins=("https://ours.example",)).app.test_client(use_cookies=False)
    answer = client.options("/api/v1/mcp/streamable", headers={"Origin": "https://ours.example"})
    assert "mcp-protocol-version" in answer.headers["Access-Control-Allow-Headers"]
    assert "mcp-session-id" in answer.headers["Access-Control-Expose-Headers"]
