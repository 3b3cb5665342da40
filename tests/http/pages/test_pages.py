"""What the pages do, without a script: fetched and checked one by one."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL

from service.domain.policy import Kind
from service.http.rules import RULES
from tests.http.pages.conftest import DEMO
from tests.support import flows
from tests.support.client import PASSWORD, SUPERUSER, Api
from tests.support.pages import FROM_HERE, Browser, Page

KEYS, VARIABLES = "/settings/api-keys", "/settings/global-variables"
PLACES = ("/flows", "/settings/account", KEYS, f"{KEYS}/new", VARIABLES, f"{VARIABLES}/new", "/settings/usage")
ECHO_RUNS = ["Chat Input", "Prompt Template", "Chat Output"]
ADMIN_PLACES = ("/admin/users", "/admin/users/new", "/admin/audit")


@pytest.mark.parametrize("path", [*PLACES, *ADMIN_PLACES])
def test_each_place_answers_with_a_sound_page(browser: Browser, path: str) -> None:
    page = browser.get(path)
    assert (page.status, page.path) == (200, path)


@pytest.mark.parametrize("path", [*PLACES, *ADMIN_PLACES])
def test_a_stranger_is_led_to_the_sign_in_and_from_there_to_the_page(app: Flask, path: str) -> None:
    browser = Browser(app)
    page = browser.get(path)
    assert (page.status, page.path) == (200, "/login")
    wanted = page.form("/login").find("input", {"name": "next"})["value"]
    assert browser.post("/login", username=SUPERUSER, password=PASSWORD, next=wanted).path == path


@pytest.mark.parametrize("path", ADMIN_PLACES)
def test_pages_for_superusers_are_closed_to_others(app: Flask, api: Api, path: str) -> None:
    api.new_user("somebody")
    page = Browser.signed_in(app, "somebody", "pw12345678").get(path)
    assert page.status == 403
    assert "/admin/" not in page.html


def test_every_page_route_has_the_rule_of_a_page(app: Flask) -> None:
    doors = {"static", "login", "sign_in", "logout", "first_run", "set_up"}
    kinds = {name.removeprefix("pages."): kind for name, kind in RULES.items() if name.startswith("pages.")}
    assert {name for name, kind in kinds.items() if kind is Kind.PUBLIC} == doors
    assert all(kind.is_page for name, kind in kinds.items() if name not in doors)


def test_a_foreign_page_cannot_send_any_form(browser: Browser) -> None:
    routes = [
        (rule, re.sub(r"<[^>]+>", "00000000-0000-4000-8000-000000000000", rule.rule))
        for rule in browser.app.url_map.iter_rules()
        if rule.endpoint.startswith("pages.") and "POST" in rule.methods
    ]
    assert len(routes) > 10
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}):
        assert {path: browser.status("POST", path, headers=headers) for _, path in routes} == {
            path: 403 for _, path in routes
        }


def test_an_origin_of_cors_cannot_send_forms_either(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    origin = "https://partner.example"
    browser = Browser.signed_in(make_app(sqlite_url, cors_origins=(origin,)))
    for path in (KEYS, "/login", "/logout"):
        assert browser.status("POST", path, headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"}) == 403


def test_an_api_key_opens_no_page(app: Flask, api: Api) -> None:
    answer = app.test_client().get("/flows", headers={"x-api-key": str(api.key)})
    assert answer.status_code == 403


class TestAddressesThatLeadNowhere:
    A_BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

    @pytest.mark.parametrize(
        "path", ["/nowhere", "/flow/nowhere", "/settings", "/admin/nowhere", "/static/nowhere.css"]
    )
    def test_have_a_page_for_a_browser(self, app: Flask, browser: Browser, path: str) -> None:
        answers = [
            client.get(path, headers={"Accept": self.A_BROWSER}) for client in (app.test_client(), browser.client)
        ]
        pages = [Page(app, answer) for answer in answers]
        assert [(page.status, page.soup.h1.get_text()) for page in pages] == [(404, "There is no such page")] * 2
        assert pages[0].html == pages[1].html

    @pytest.mark.parametrize("accept", ["", "*/*", "application/json", "application/json, text/html;q=0.5"])
    def test_are_json_for_programs(self, app: Flask, accept: str) -> None:
        answer = app.test_client().get("/nowhere", headers={"Accept": accept} if accept else {})
        assert (answer.status_code, answer.json) == (404, {"detail": "Not Found"})

    @pytest.mark.parametrize("path", ["/api", "/api/v1/nowhere", "/v1/nowhere", "/health/nowhere"])
    def test_are_json_for_everybody_where_programs_ask(self, app: Flask, path: str) -> None:
        answer = app.test_client().get(path, headers={"Accept": self.A_BROWSER})
        assert (answer.status_code, answer.json) == (404, {"detail": "Not Found"})

    def test_tell_a_stranger_nothing_of_what_there_is(self, app: Flask, echo: dict[str, Any]) -> None:
        client = app.test_client()
        ids = (echo["id"], "00000000-0000-4000-8000-000000000000")
        answers = [client.get(f"/flow/{one}", headers={"Accept": self.A_BROWSER}) for one in ids]
        assert [(answer.status_code, answer.location) for answer in answers] == [
            (303, f"/login?next=/flow/{one}") for one in ids
        ]

    def test_a_form_of_which_the_address_was_opened_has_a_page_too(self, app: Flask) -> None:
        answer = app.test_client().get("/logout", headers={"Accept": self.A_BROWSER})
        assert (Page(app, answer).status, "POST" in answer.headers["Allow"]) == (405, True)


def test_backend_only_serves_no_page(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    client = make_app(sqlite_url, backend_only=True).test_client()
    assert {path: client.get(path).status_code for path in ("/", "/login", "/flows", "/static/app.css")} == {
        "/": 404, "/login": 404, "/flows": 404, "/static/app.css": 404,
    }  # fmt: skip


@pytest.mark.parametrize("next_page", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example"])
def test_the_sign_in_leads_to_no_other_site(app: Flask, next_page: str) -> None:
    form = {"username": SUPERUSER, "password": PASSWORD, "next": next_page}
    answer = app.test_client().post("/login", data=form, headers=FROM_HERE)
    assert (answer.status_code, answer.location) == (303, "/flows")


def test_a_wrong_password_is_said_and_the_name_stays(app: Flask) -> None:
    page = Browser(app).post("/login", username=SUPERUSER, password="wrong")
    assert page.status == 401
    assert "Incorrect username or password" in page.text
    assert page.soup.find("input", {"name": "username"})["value"] == SUPERUSER


def test_signing_out_closes_the_pages(browser: Browser) -> None:
    assert browser.post("/logout").path == "/login"
    assert browser.get("/flows").path == "/login"


def test_an_access_token_that_has_ended_is_renewed_on_the_way(browser: Browser) -> None:
    browser.client.delete_cookie("access_token_lf")
    assert browser.get("/flows").path == "/flows"
    assert browser.get(KEYS).path == KEYS


def test_auto_login_signs_in_at_once_and_not_after_signing_out(
    make_app: Callable[..., Flask], sqlite_url: URL
) -> None:
    browser = Browser(make_app(sqlite_url, auto_login=True))
    assert browser.get("/").path == "/flows"
    page = browser.post("/logout")
    assert (page.path, "You are signed out." in page.text) == ("/login", True)


class TestFirstRun:
    @pytest.fixture
    def fresh(self, make_app: Callable[..., Flask], sqlite_url: URL, capsys: pytest.CaptureFixture[str]) -> Flask:
        app = make_app(sqlite_url, superuser_password="")
        self.shown = re.search(r"Password +(\S+)", capsys.readouterr().err)[1]
        return app

    def test_leads_to_the_superusers_own_password(self, fresh: Flask) -> None:
        browser = Browser(fresh)
        assert browser.get("/").path == "/first-run"
        form = {"shown": self.shown, "password": "a password of my own", "again": "a password of my own"}
        assert browser.post("/first-run", **form).path == "/flows"
        assert Browser.signed_in(fresh, SUPERUSER, "a password of my own")

    def test_is_over_once_somebody_has_signed_in(self, fresh: Flask) -> None:
        Browser.signed_in(fresh, SUPERUSER, self.shown)
        other = Browser(fresh)
        assert other.get("/first-run").path == "/login"
        assert other.status("POST", "/first-run", data={"shown": self.shown}, headers=FROM_HERE) == 403

    @pytest.mark.parametrize(
        ("address", "headers"),
        [
            ("203.0.113.9", {}),
            ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}),
            ("127.0.0.1", {"Via": "1.1 proxy"}),
            ("127.0.0.1", {"Host": "evil.example"}),
        ],
    )
    def test_is_for_the_machine_itself(self, fresh: Flask, address: str, headers: dict[str, str]) -> None:
        client = fresh.test_client()
        answer = client.get("/first-run", environ_base={"REMOTE_ADDR": address}, headers=headers)
        assert (answer.status_code, answer.location) == (303, "/login")

    def test_wants_the_password_that_the_server_printed(self, fresh: Flask) -> None:
        page = Browser(fresh).post("/first-run", shown="guess", password="my own password", again="my own password")
        assert (page.status, page.path) == (422, "/first-run")
        assert page.soup.find(id="shown-wrong").get_text() == "This is not the password that the server printed."

    def test_takes_no_short_password(self, fresh: Flask) -> None:
        page = Browser(fresh).post("/first-run", shown=self.shown, password="1234567", again="1234567")
        assert (page.status, page.soup.find(id="password-wrong").get_text()) == (422, "Use at least 8 characters")
        assert Browser.signed_in(fresh, SUPERUSER, self.shown)


class TestKeys:
    def made(self, browser: Browser, **fields: Any) -> str:
        page = browser.post(KEYS, name="for the shop", **fields)
        assert page.status == 200, page.text
        return page.soup.find(id="key").get_text()

    def row(self, browser: Browser) -> Any:
        return browser.get(KEYS).soup.find("a", string="for the shop").find_parent("tr")

    def id(self, browser: Browser) -> str:
        return str(self.row(browser)["id"]).removeprefix("key-")

    def test_a_key_is_shown_once_with_a_curl_and_works(self, browser: Browser, app: Flask) -> None:
        page = browser.post(KEYS, name="for the shop")
        key = page.soup.find(id="key").get_text()
        assert key in page.soup.find(id="curl").get_text()
        assert Api(app, key, "").get("/users/whoami").status_code == 200
        assert key not in browser.get(KEYS).html

    def test_a_form_with_a_mistake_makes_no_key_and_keeps_what_was_typed(self, browser: Browser) -> None:
        page = browser.post(KEYS, name="for the shop", networks="not a network")
        assert page.status == 422
        assert page.soup.find(id="networks").get_text() == "not a network"
        assert "is not a network" in page.soup.find(id="networks-wrong").get_text()
        assert "for the shop" not in browser.get(KEYS).text

    def test_limits_of_the_form_hold(self, browser: Browser, app: Flask, echo: dict[str, Any]) -> None:
        key = self.made(browser, scopes_are="some", scopes="run", flows_are="some", flows=echo["id"])
        caller = Api(app, key, "")
        assert caller.get("/flows/").status_code == 403
        assert caller.post("/run/echo", json={"input_value": "hi"}).status_code == 200

    def test_only_these_with_none_chosen_allows_nothing(self, browser: Browser, app: Flask) -> None:
        caller = Api(app, self.made(browser, scopes_are="some"), "")
        assert caller.get("/flows/").status_code == 403

    def test_saving_a_form_unchanged_changes_nothing(self, browser: Browser, api: Api) -> None:
        body = {
            "name": "for the shop",
            "scopes": ["read"],
            "flows": [],
            "networks": [],
            "max_parallel_runs": 3,
            "expires_at": "2099-01-01T10:20:30Z",
            "rate_limit": {"requests": 5, "window_seconds": 60},
        }
        before = api.post("/api_key/", json=body).json
        form = browser.get(f"{KEYS}/{before['id']}").form(f"{KEYS}/{before['id']}")
        browser.post(f"{KEYS}/{before['id']}", **filled_in(form))
        assert api.get(f"/api_key/{before['id']}").json == before | {"api_key": before["api_key"][:8] + "*" * 42} | {
            "api_key": api.get(f"/api_key/{before['id']}").json["api_key"]
        }

    def test_a_disabled_key_is_refused_and_an_enabled_one_works_again(self, browser: Browser, app: Flask) -> None:
        caller = Api(app, self.made(browser), "")
        for on, status in (("no", 403), ("yes", 200)):
            browser.post(f"{KEYS}/{self.id(browser)}/switch", on=on)
            assert caller.get("/users/whoami").status_code == status

    def test_a_rotated_key_is_shown_once_and_the_former_lives_on_for_its_grace(
        self, browser: Browser, app: Flask
    ) -> None:
        former = self.made(browser)
        page = browser.post(f"{KEYS}/{self.id(browser)}/rotate", grace="3600")
        rotated = page.soup.find(id="key").get_text()
        assert rotated != former
        assert [Api(app, key, "").get("/users/whoami").status_code for key in (former, rotated)] == [200, 200]

    def test_several_are_deleted_after_one_confirmation_that_names_them(self, browser: Browser, app: Flask) -> None:
        keys = [browser.post(KEYS, name=name).soup.find(id="key").get_text() for name in ("one", "two")]
        rows = [browser.get(KEYS).soup.find("a", string=name).find_parent("tr") for name in ("one", "two")]
        chosen = [str(row["id"]).removeprefix("key-") for row in rows]
        page = browser.get(f"{KEYS}/delete?id={chosen[0]}&id={chosen[1]}")
        assert [item.find("strong").get_text() for item in page.soup.find_all("li")] == ["one", "two"]
        browser.post(f"{KEYS}/delete", id=chosen)
        assert [Api(app, key, "").get("/users/whoami").status_code for key in keys] == [403, 403]

    def test_to_delete_none_is_refused_in_words(self, browser: Browser) -> None:
        self.made(browser)
        for page in (browser.get(f"{KEYS}/delete"), browser.post(f"{KEYS}/delete")):
            assert (page.status, page.soup.find(role="alert").get_text()) == (400, "Select a key first.")
            assert page.soup.find("a", string="for the shop")

    def test_somebody_elses_key_does_not_exist(self, app: Flask, api: Api, browser: Browser) -> None:
        self.made(browser)
        key_id = self.id(browser)
        api.new_user("somebody")
        other = Browser.signed_in(app, "somebody", "pw12345678")
        assert [other.get(f"{KEYS}/{key_id}{end}").status for end in ("", "/rotate")] == [404, 404]
        assert other.status("POST", f"{KEYS}/{key_id}/switch", data={"on": "no"}, headers=FROM_HERE) == 404
        assert other.status("POST", f"{KEYS}/delete", data={"id": key_id}, headers=FROM_HERE) == 400


class TestVariables:
    def made(self, browser: Browser, **fields: str) -> str:
        form = {"name": "TOKEN", "value": "canary-value", "type": "Credential", "fields": ""} | fields
        page = browser.post(VARIABLES, **form)
        assert page.path == VARIABLES, page.text
        return str(page.soup.find("a", string=form["name"]).find_parent("tr")["id"]).removeprefix("variable-")

    def test_a_credential_is_in_no_page(self, browser: Browser) -> None:
        row_id = self.made(browser)
        for path in (VARIABLES, f"{VARIABLES}/{row_id}", f"{VARIABLES}/{row_id}/delete"):
            assert "canary-value" not in browser.get(path).html

    def test_a_generic_value_is_shown(self, browser: Browser) -> None:
        self.made(browser, type="Generic", value="Berlin")
        assert "Berlin" in browser.get(VARIABLES).text

    def test_an_empty_value_leaves_the_stored_one(self, browser: Browser, api: Api) -> None:
        row_id = self.made(browser, type="Generic", value="Berlin")
        browser.post(f"{VARIABLES}/{row_id}", name="CITY", type="Generic", fields="a, b", value="")
        changed = next(one for one in api.get("/variables/").json if one["id"] == row_id)
        assert (changed["name"], changed["value"], changed["default_fields"]) == ("CITY", "Berlin", ["a", "b"])

    def test_a_taken_name_is_said_and_the_secret_is_not_sent_back(self, browser: Browser) -> None:
        self.made(browser)
        page = browser.post(VARIABLES, name="TOKEN", value="canary-two", type="Credential", fields="")
        assert page.status == 400
        assert "already exists" in page.text
        assert "canary-two" not in page.html

    def test_a_variable_is_deleted_after_its_confirmation(self, browser: Browser) -> None:
        row_id = self.made(browser)
        assert browser.get(f"{VARIABLES}/{row_id}/delete").status == 200
        assert "TOKEN" not in browser.post(f"{VARIABLES}/{row_id}/delete").text

    def test_a_flow_whose_empty_field_it_fills_uses_it(self, browser: Browser, api: Api) -> None:
        data = flows.chat_with_model(flows.openai_model(key=flows.secret() | {"display_name": "Token"}))
        api.post("/flows/", json={"name": "Keyless", "data": data})
        row_id = self.made(browser, fields="Token")
        assert "Keyless" in browser.get(f"{VARIABLES}/{row_id}/delete").text
        browser.post(f"{VARIABLES}/{row_id}", name="TOKEN", type="Credential", fields="", value="")
        assert "No flow uses it" in browser.get(f"{VARIABLES}/{row_id}/delete").text

    def test_where_a_value_comes_from_is_said(self, make_app: Callable[..., Flask], sqlite_url: URL) -> None:
        browser = Browser.signed_in(make_app(sqlite_url, environment={"A_KEY": "one", "B_KEY": "two"}))
        row_id = browser.get(VARIABLES).soup.find("a", string="B_KEY").find_parent("tr")["id"].partition("-")[2]
        browser.post(f"{VARIABLES}/{row_id}", name="B_KEY", type="Credential", fields="", value="my own")
        rows = {row.find("a").get_text(): row.get_text(" ") for row in browser.get(VARIABLES).soup.select("tbody tr")}
        assert "environment" in rows["A_KEY"]
        assert "overrides the environment" in rows["B_KEY"]


class TestFlows:
    def upload(self, browser: Browser, content: bytes) -> Any:
        return browser.post("/flows", file=(io.BytesIO(content), "flow.json"))

    def test_an_exported_flow_is_uploaded_and_runs(self, browser: Browser, api: Api) -> None:
        body = json.loads((DEMO / "echo.json").read_text()) | {"name": "Uploaded", "endpoint_name": "uploaded"}
        assert "Uploaded" in self.upload(browser, json.dumps(body).encode()).text
        assert api.post("/run/uploaded", json={"input_value": "hi"}).status_code == 200

    def test_a_file_that_is_no_flow_is_refused_in_words(self, browser: Browser) -> None:
        for content, words in (
            (b"not json", "flow.json is not JSON"),
            (b'{"nodes": []}', "flow.json is not an exported flow: it has no name and data"),
            (b'{"name": "A flow", "data": 5}', "data: Input should be a valid dictionary"),
            (b'{"flows": []}', "The files hold no flows"),
        ):
            page = self.upload(browser, content)
            assert (page.status >= 400, page.soup.find(id="file-wrong").get_text()) == (True, words)

    def test_a_flows_page_draws_and_lists_its_graph(self, browser: Browser, echo: dict[str, Any]) -> None:
        page = browser.get(f"/flow/{echo['id']}")
        assert len(page.soup.select("svg .node")) == len(echo["data"]["nodes"])
        assert len(page.soup.select("svg .edge")) == len(echo["data"]["edges"])
        assert "Chat Input → Prompt Template" in page.text

    def test_a_component_that_is_missing_is_named(self, browser: Browser, api: Api, echo: dict[str, Any]) -> None:
        data = json.loads(json.dumps(echo["data"]).replace('"type": "ChatInput"', '"type": "NoSuchThing"'))
        flow = api.post("/flows/", json={"name": "Broken", "data": data}).json
        page = browser.get(f"/flow/{flow['id']}")
        assert "Missing components: NoSuchThing" in page.text

    def test_names_that_look_like_markup_stay_names(self, browser: Browser, api: Api) -> None:
        name = "<script>alert(1)</script>"
        data = {"nodes": [{"id": "a", "data": {"type": name, "node": {"display_name": name}}}], "edges": []}
        flow = api.post("/flows/", json={"name": name, "description": name, "data": data}).json
        page = browser.get(f"/flow/{flow['id']}")
        assert page.soup.h1.get_text() == name
        assert len(page.soup.find_all("script")) == 2

    @pytest.mark.parametrize(
        "data",
        [
            {"nodes": [{}], "edges": [{}]},
            {"nodes": [{"id": "a"}], "edges": [{"source": []}]},
            {"nodes": [], "edges": []},
        ],
    )
    def test_a_draft_that_cannot_be_read_has_a_page_too(self, browser: Browser, api: Api, data: Any) -> None:
        flow = api.post("/flows/", json={"name": "Draft", "data": data}).json
        assert browser.get(f"/flow/{flow['id']}").status == 200

    def test_names_and_switches_are_saved(self, browser: Browser, api: Api, echo: dict[str, Any]) -> None:
        browser.post(f"/flow/{echo['id']}", name="New name", description="", endpoint_name="new", mcp_enabled="yes",
                     public="yes")  # fmt: skip
        flow = api.get(f"/flows/{echo['id']}").json
        assert [flow[name] for name in ("name", "endpoint_name", "mcp_enabled", "access_type")] == [
            "New name", "new", True, "PUBLIC",
        ]  # fmt: skip

    def test_a_download_is_what_an_upload_takes(self, browser: Browser, echo: dict[str, Any]) -> None:
        answer = browser.client.get(f"/flow/{echo['id']}/download")
        assert "attachment" in answer.headers["Content-Disposition"]
        assert "Echo (1)" in self.upload(browser, answer.data).text

    def test_a_flow_is_deleted_after_its_confirmation(self, browser: Browser, echo: dict[str, Any]) -> None:
        assert browser.get(f"/flow/{echo['id']}/delete").status == 200
        assert "Echo" not in browser.post(f"/flow/{echo['id']}/delete").text

    def test_the_snippets_name_the_flow(self, browser: Browser, echo: dict[str, Any]) -> None:
        page = browser.get(f"/flow/{echo['id']}/api")
        assert all(
            "/api/v1/run/echo" in page.soup.find(id=one).get_text() for one in ("curl", "python", "javascript")
        )


class TestPlayground:
    def test_answers_without_a_script_and_says_what_ran(self, browser: Browser, echo: dict[str, Any]) -> None:
        page = browser.post(f"/flow/{echo['id']}/playground", session="one", text="Hello there")
        assert [one.get_text() for one in page.soup.select(".chat .said")] == ["Hello there", "You said: Hello there"]
        assert [row.th.get_text() for row in page.soup.select("#ran tbody tr")] == ECHO_RUNS

    def test_streams_its_events_and_what_ran(self, browser: Browser, echo: dict[str, Any]) -> None:
        form = {"session": "one", "text": "Hello"}
        answer = browser.client.post(f"/flow/{echo['id']}/playground/stream", data=form, headers=FROM_HERE)
        events = [json.loads(line) for line in answer.text.splitlines() if line]
        assert [event["event"] for event in events][-2:] == ["ran", "end"]
        assert [one["name"] for one in events[-2]["data"]] == ECHO_RUNS

    def test_lists_its_sessions(self, browser: Browser, echo: dict[str, Any]) -> None:
        for name in ("one", "two"):
            browser.post(f"/flow/{echo['id']}/playground", session=name, text="Hello")
        page = browser.get(f"/flow/{echo['id']}/playground?session=one")
        assert {option.get_text() for option in page.soup.select("#picker option")} == {"one", "two"}

    def test_a_failed_run_is_said_and_the_text_stays(self, browser: Browser, api: Api) -> None:
        flow = api.post("/flows/", json={"name": "Empty"}).json
        page = browser.post(f"/flow/{flow['id']}/playground", session="one", text="Hello")
        assert (page.status, page.soup.find(id="text").get_text()) == (422, "Hello")
        assert "no graph yet" in page.text

    def test_a_missing_variable_is_said_for_people_before_and_after_a_message(
        self, browser: Browser, api: Api
    ) -> None:
        flow = api.post("/flows/", json=json.loads((DEMO / "chat.json").read_text()) | {"name": "Chat"}).json
        path = f"/flow/{flow['id']}/playground"
        page = browser.get(path)
        warning = page.soup.find(id="missing")
        assert "OPENAI_API_KEY" in warning.get_text()
        assert warning.a["href"] == VARIABLES
        page = browser.post(path, session="one", text="Hello")
        alert = page.soup.find(role="alert")
        assert (page.status, alert.a["href"]) == (400, VARIABLES)
        assert "OPENAI_API_KEY" in alert.get_text()
        assert "/api/v1" not in page.text
        answer = browser.client.post(f"{path}/stream", data={"text": "Hello"}, headers=FROM_HERE)
        said = json.loads(answer.text)["data"]
        assert said["variables"] == VARIABLES
        assert "OPENAI_API_KEY" in said["text"]
        assert "POST" not in said["text"]

    def test_somebody_elses_flow_does_not_run(self, app: Flask, api: Api, echo: dict[str, Any]) -> None:
        api.new_user("somebody")
        other = Browser.signed_in(app, "somebody", "pw12345678")
        for end in ("", "/playground", "/api", "/download", "/delete"):
            assert other.status("GET", f"/flow/{echo['id']}{end}") == 404
        for end in ("/playground", "/playground/stream"):
            assert other.status("POST", f"/flow/{echo['id']}{end}", data={"text": "x"}, headers=FROM_HERE) == 404


class TestUsage:
    def test_counts_requests_runs_and_failures_by_key_and_flow(
        self, browser: Browser, api: Api, echo: dict[str, Any]
    ) -> None:
        api.post("/run/echo", json={"input_value": "hi"})
        api.get("/flows/00000000-0000-4000-8000-000000000000")
        browser.post(f"/flow/{echo['id']}/playground", text="hi")
        tables = {table.caption.get_text(): table for table in browser.get("/settings/usage").soup.find_all("table")}
        cells = {
            row.th.get_text(): {cell["data-label"]: cell.get_text() for cell in row.find_all("td")}
            for name in ("By key", "By flow") for row in tables[name].select("tbody tr")
        }  # fmt: skip
        counted = {
            name: [of.get(one) for one in ("Requests", "Errors", "Runs", "Failed")] for name, of in cells.items()
        }
        assert counted == {
            "test": ["3", "1", "1", "0"],
            "playground": ["0", "0", "1", "0"],
            "Echo": [None, None, "2", "0"],
        }

    def test_names_of_keys_and_flows_lead_to_their_pages(
        self, browser: Browser, api: Api, echo: dict[str, Any]
    ) -> None:
        api.post("/run/echo", json={"input_value": "hi"})
        page = browser.get("/settings/usage")
        titles = [browser.get(page.soup.find("main").find("a", string=name)["href"]).soup.h1.get_text()
                  for name in ("test", "Echo")]  # fmt: skip
        assert titles == ["Edit API Key", "Echo"]

    def test_shows_nothing_of_others(self, app: Flask, api: Api, echo: dict[str, Any]) -> None:
        api.post("/run/echo", json={"input_value": "hi"})
        api.new_user("somebody")
        page = Browser.signed_in(app, "somebody", "pw12345678").get("/settings/usage")
        assert "Echo" not in page.text


class TestUsers:
    def test_a_user_is_added_approved_deactivated_and_deleted(self, browser: Browser, app: Flask) -> None:
        page = browser.post("/admin/users", username="ada", password="pw12345678")
        path = page.soup.find("a", string="ada")["href"]
        assert Browser.signed_in(app, "ada", "pw12345678")
        browser.post(path, act="deactivate")
        assert Browser(app).post("/login", username="ada", password="pw12345678").status == 401
        browser.post(path, act="activate")
        browser.post(path, act="password", password="another-password")
        assert Browser.signed_in(app, "ada", "another-password")
        assert "ada" in browser.get(f"{path}/delete").text
        assert not browser.post(f"{path}/delete").soup.find("a", string="ada")

    def test_a_short_password_is_refused(self, browser: Browser, api: Api) -> None:
        api.new_user("somebody")
        path = browser.get("/admin/users").soup.find("a", string="somebody")["href"]
        for page in (
            browser.post("/admin/users", username="ada", password="1234567"),
            browser.post(path, act="password", password="1234567"),
        ):
            assert (page.status, page.soup.find(id="password-wrong").get_text()) == (422, "Use at least 8 characters")
        assert not browser.get("/admin/users").soup.find("a", string="ada")

    def test_a_taken_name_is_said(self, browser: Browser) -> None:
        page = browser.post("/admin/users", username=SUPERUSER, password="pw12345678")
        assert (page.status, "unavailable" in page.text) == (400, True)


class TestAccount:
    PATH = "/settings/account"

    def test_ones_own_password_is_changed_and_only_this_sign_in_goes_on(self, browser: Browser, app: Flask) -> None:
        elsewhere = Browser.signed_in(app)
        page = browser.post(self.PATH, current=PASSWORD, password="another-password", again="another-password")
        assert (page.status, page.path) == (200, self.PATH)
        assert browser.get(self.PATH).path == self.PATH
        assert elsewhere.get(self.PATH).path == "/login"
        assert Browser.signed_in(app, SUPERUSER, "another-password")

    @pytest.mark.parametrize(
        ("current", "again", "words"),
        [("wrong", "another-password", "Current password is incorrect"), (PASSWORD, "other", "not the same")],
    )
    def test_a_password_is_not_changed_by_mistake(
        self, browser: Browser, app: Flask, current: str, again: str, words: str
    ) -> None:
        page = browser.post(self.PATH, current=current, password="another-password", again=again)
        assert (page.status >= 400, words in page.text) == (True, True)
        assert Browser.signed_in(app)

    def test_a_short_password_is_refused(self, browser: Browser) -> None:
        page = browser.post(self.PATH, current=PASSWORD, password="1234567", again="1234567")
        assert (page.status, page.soup.find(id="password-wrong").get_text()) == (422, "Use at least 8 characters")


class TestAudit:
    def test_what_was_done_in_the_pages_stands_in_the_trail(self, browser: Browser) -> None:
        browser.post(KEYS, name="for the shop")
        page = browser.get("/admin/audit?action=key.created")
        assert "for the shop" in page.text
        assert "login" not in [code.get_text() for code in page.soup.select("tbody code")]

    def test_the_server_and_the_console_act_under_their_names(self, browser: Browser) -> None:
        rows = browser.get("/admin/audit?action=server.started").soup.select("tbody tr")
        assert {row.find("td", attrs={"data-label": "Who"}).get_text() for row in rows} == {"server"}

    def test_a_day_until_which_is_asked_is_meant_with_all_its_hours(self, browser: Browser) -> None:
        days = (f"{datetime.now(UTC):%Y-%m-%d}", "9999-12-31", "2020-01-01")
        shown = [browser.get(f"/admin/audit?action=login&until={day}").text for day in days]
        assert ["No event matches." in text for text in shown] == [False, False, True]

    def test_a_filter_that_cannot_be_read_is_said(self, browser: Browser) -> None:
        assert browser.get("/admin/audit?since=yesterday").status == 422

    def test_older_events_are_a_page_further(self, browser: Browser) -> None:
        for number in range(60):
            browser.client.post(KEYS, data={"name": str(number)}, headers=FROM_HERE)
        link = browser.get("/admin/audit?action=key.created").soup.find("a", string="Older events")
        assert len(browser.get(link["href"]).soup.select("tbody tr")) == 10


def filled_in(form: Any) -> dict[str, Any]:
    """What a browser would send for a form that nobody has touched."""
    fields: dict[str, Any] = {}
    for control in form.find_all(["input", "textarea", "select"]):
        if control.get("type") in {"radio", "checkbox"} and not control.has_attr("checked"):
            continue
        value = control.get_text() if control.name == "textarea" else control.get("value", "on")
        fields.setdefault(control["name"], []).append(value)
    return fields
