"""The documents' steps "with the UI", by clicks, by keyboard alone, without a script, and against real requests."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Locator, Page, expect

from tests.e2e.pages.conftest import OpenPage
from tests.e2e.pages.screenshots import KEYS, PHONE, VARIABLES, sign_in
from tests.support.server import free_port, running
from tests.support.showcase import PASSWORD, USERNAME, Caller, House, demo
from tests.support.waiting import wait_until_it_answers


def whoami(house: House, key: str) -> int:
    return requests.get(f"{house.url}/api/v1/users/whoami", headers={"x-api-key": key}, timeout=30).status_code


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def make_key(page: Page, name: str) -> str:
    """Make a key by clicks, and leave the page that shows it."""
    page.get_by_role("navigation").get_by_role("link", name="Langflow API Keys").click()
    page.get_by_role("link", name="Add New").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Create API Key").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your new API key")
    key = page.locator("#key").inner_text()
    page.get_by_role("link", name="I have copied it").click()
    expect(row(page, name)).to_be_visible()
    return key


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the target has the focus, as somebody without a mouse does."""
    for _ in range(80):
        if target.evaluate("one => one === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} cannot be reached with the Tab key")


def press(page: Page, target: Locator, key: str = "Enter") -> None:
    tab_to(page, target)
    page.keyboard.press(key)


def test_a_key_is_made_used_and_deleted_by_clicks(house: House, page: Page) -> None:
    key = make_key(page, "By clicks")
    assert whoami(house, key) == 200
    row(page, "By clicks").get_by_role("checkbox").check()
    page.get_by_role("button", name="Delete selected").click()
    expect(page.get_by_role("listitem")).to_contain_text("By clicks")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Deleted")
    expect(row(page, "By clicks")).to_have_count(0)
    assert whoami(house, key) == 403


def test_a_key_is_made_used_and_deleted_by_keyboard_alone(house: House, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{house.url}/login")
    tab_to(page, page.get_by_label("Username"))
    page.keyboard.type(USERNAME)
    tab_to(page, page.get_by_label("Password"))
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Flows")
    press(page, page.get_by_role("link", name="Langflow API Keys"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Langflow API Keys")
    press(page, page.get_by_role("link", name="Add New"))
    tab_to(page, page.get_by_label("Name", exact=True))
    page.keyboard.type("By keyboard")
    press(page, page.get_by_role("button", name="Create API Key"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Your new API key")
    key = page.locator("#key").inner_text()
    assert whoami(house, key) == 200
    press(page, page.get_by_role("link", name="I have copied it"))
    press(page, row(page, "By keyboard").get_by_role("checkbox"), "Space")
    press(page, page.get_by_role("button", name="Delete selected"))
    expect(page.get_by_role("listitem")).to_contain_text("By keyboard")
    press(page, page.get_by_role("button", name="Delete", exact=True))
    expect(page.get_by_role("status")).to_contain_text("Deleted")
    expect(row(page, "By keyboard")).to_have_count(0)
    assert whoami(house, key) == 403


def test_a_key_is_made_and_deleted_without_a_script(house: House, open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    sign_in(page, house.url)
    key = make_key(page, "Without a script")
    assert whoami(house, key) == 200
    row(page, "Without a script").get_by_role("button", name="Disable").click()
    expect(row(page, "Without a script")).to_contain_text("disabled")
    assert whoami(house, key) == 403


def test_the_curl_of_a_new_key_can_be_pasted(house: House, page: Page, tmp_path: Path) -> None:
    page.goto(f"{house.url}{KEYS}/new")
    page.get_by_role("button", name="Create API Key").click()
    curl = page.locator("#curl").inner_text()
    words = re.search(r"curl -X POST (\S+) ", curl)
    key = re.search(r"x-api-key: (\S+?)'", curl)
    body = re.search(r"-d '(.*)'", curl)
    assert words
    assert key
    assert body
    answer = requests.post(words[1], headers={"x-api-key": key[1]}, json=json.loads(body[1]), timeout=30)
    assert answer.status_code == 200


def test_copying_puts_the_key_on_the_clipboard(house: House, open_page: OpenPage) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    sign_in(page, house.url)
    page.goto(f"{house.url}{KEYS}/new")
    page.get_by_role("button", name="Create API Key").click()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#key").inner_text()


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without a script"])
def test_going_back_does_not_show_the_key_again(house: House, open_page: OpenPage, script: bool) -> None:
    page = open_page(java_script_enabled=script)
    sign_in(page, house.url)
    key = make_key(page, f"Shown once {script}")
    page.go_back()
    page.wait_for_load_state()
    assert key not in page.content()
    assert key not in page.url


def test_an_act_does_not_reload_the_page_where_there_is_a_script(house: House, page: Page) -> None:
    page.goto(house.url + KEYS)
    page.evaluate("window.mark = 'still here'")
    make_key(page, "No reload")
    row(page, "No reload").get_by_role("button", name="Disable").click()
    expect(row(page, "No reload")).to_contain_text("disabled")
    assert page.evaluate("window.mark") == "still here"


def test_a_long_list_keeps_its_place_and_the_focus_after_an_act(house: House, open_page: OpenPage) -> None:
    call = Caller(house.url, house.key)
    for number in range(30):
        call("POST", "/api_key/", json={"name": f"Many {number:02}"})
    page = open_page(viewport={"width": 1280, "height": 600})
    sign_in(page, house.url)
    page.goto(house.url + KEYS)
    button = row(page, "Many 05").get_by_role("button")
    button.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    button.click()
    expect(row(page, "Many 05")).to_contain_text("disabled")
    assert before > 300
    assert abs(page.evaluate("scrollY") - before) < 80
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Enable Many 05"


def test_a_rotated_key_lives_on_for_its_grace(house: House, page: Page) -> None:
    former = make_key(page, "To be rotated")
    row(page, "To be rotated").get_by_role("link", name="Rotate To be rotated").click()
    page.get_by_label("The former secret lives on for").select_option("1 hour")
    page.get_by_role("button", name="Rotate").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your rotated API key")
    rotated = page.locator("#key").inner_text()
    assert (former != rotated, whoami(house, former), whoami(house, rotated)) == (True, 200, 200)


def test_a_limited_key_is_made_in_the_folded_part_of_the_form(house: House, page: Page) -> None:
    page.goto(f"{house.url}{KEYS}/new")
    page.get_by_label("Name", exact=True).fill("Greeter only")
    page.get_by_text("Limits: expiry").click()
    page.get_by_role("group", name="Which flows it may run").get_by_label("Only these:").check()
    page.get_by_label("Greeter", exact=True).check()
    page.get_by_role("button", name="Create API Key").click()
    key = page.locator("#key").inner_text()
    statuses = [
        requests.post(f"{house.url}/api/v1/run/{house.flows[name]}", headers={"x-api-key": key}, json={},
                      timeout=30).status_code
        for name in ("greeter", "support")
    ]  # fmt: skip
    assert statuses == [200, 404]


def test_a_credential_is_added_changed_and_deleted_and_never_shown(house: House, page: Page) -> None:
    page.get_by_role("link", name="Global Variables").click()
    page.get_by_role("link", name="Add New").click()
    page.get_by_label("Name").fill("NEW_TOKEN")
    page.get_by_label("Value").fill("canary-of-the-browser")
    page.get_by_role("button", name="Save").click()
    expect(row(page, "NEW_TOKEN")).to_contain_text("hidden")
    assert "canary-of-the-browser" not in page.content()
    page.get_by_role("link", name="NEW_TOKEN", exact=True).click()
    assert "canary-of-the-browser" not in page.content()
    page.get_by_label("Apply to fields").fill("API Token")
    page.get_by_role("button", name="Save").click()
    expect(row(page, "NEW_TOKEN")).to_contain_text("API Token")
    row(page, "NEW_TOKEN").get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_have_text("The variable was deleted.")


def test_a_flow_is_uploaded_by_choice_and_downloaded_again(house: House, page: Page, tmp_path: Path) -> None:
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(demo("echo") | {"name": "Chosen"}))
    page.get_by_label("Upload flows").set_input_files(file)
    page.get_by_role("button", name="Upload", exact=True).click()
    with page.expect_download() as started:
        row(page, "Chosen").get_by_role("link", name="Download Chosen").click()
    assert json.loads(started.value.path().read_text())["data"] == demo("echo")["data"]


def test_a_flow_is_uploaded_by_dropping_it(house: House, page: Page) -> None:
    dropped = page.evaluate_handle(
        """(text) => {
            const data = new DataTransfer();
            data.items.add(new File([text], "flow.json", { type: "application/json" }));
            return data;
        }""",
        json.dumps(demo("echo") | {"name": "Dropped"}),
    )
    page.get_by_text("Upload flows that").dispatch_event("drop", {"dataTransfer": dropped})
    expect(row(page, "Dropped")).to_be_visible()


def test_a_flows_page_draws_its_graph_without_a_script(house: House, open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    sign_in(page, house.url)
    page.goto(f"{house.url}/flow/{house.flows['support']}")
    picture = page.get_by_role("img", name="4 components and 3 connections")
    expect(picture).to_be_visible()
    texts = page.locator("svg .node text").all_text_contents()
    assert "Language Model" in texts


def test_a_flow_says_what_it_lacks(house: House, page: Page) -> None:
    page.goto(f"{house.url}/flow/{house.flows['voice']}")
    expect(page.get_by_text("Missing components: VoiceCloner")).to_be_visible()


def test_the_playground_shows_an_answer_while_it_comes_and_then_what_ran(house: House, page: Page) -> None:
    page.goto(f"{house.url}/flow/{house.flows['support']}/playground")
    house.provider.pieces = ("It is ", "sunny ", "today.")
    house.provider.go_on.clear()
    try:
        page.get_by_label("Message").fill("How is the weather?")
        page.keyboard.press("Enter")
        expect(page.locator(".chat .machine .said")).to_have_text("It is ")
        expect(page.get_by_role("button", name="Send")).to_be_disabled()
    finally:
        house.provider.go_on.set()
    expect(page.locator(".chat .machine .said")).to_have_text("It is sunny today.")
    house.provider.pieces = ()
    expect(page.locator("#ran tbody th")).to_contain_text(["Chat Input", "Language Model", "Chat Output"])
    expect(page.locator("#ran thead .number")).to_have_text("Seconds")
    expect(page.get_by_label("Message")).to_be_focused()


def test_the_playground_says_what_went_wrong_in_words(house: House, page: Page) -> None:
    page.goto(f"{house.url}/flow/{house.flows['support']}/playground")
    page.get_by_label("Message").fill("!401")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".chat .fault")).to_contain_text("The provider says no.")
    assert "Traceback" not in page.content()


def test_an_earlier_session_of_the_playground_can_be_picked(house: House, page: Page) -> None:
    page.goto(f"{house.url}/flow/{house.flows['greeter']}/playground")
    page.get_by_label("Session").select_option("a first look")
    expect(page.locator(".chat .machine .said").first).to_have_text("You said: Good morning!")


def test_a_chat_works_without_a_script(house: House, open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    sign_in(page, house.url)
    page.goto(f"{house.url}/flow/{house.flows['greeter']}/playground")
    page.get_by_label("Message").fill("Plain as day")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".chat .machine .said")).to_have_text("You said: Plain as day")


def test_what_a_model_says_is_never_markup(house: House, page: Page) -> None:
    house.provider.pieces = ("<img src=x onerror=alert(1)>", "<script>alert(2)</script>")
    page.goto(f"{house.url}/flow/{house.flows['support']}/playground")
    page.get_by_label("Message").fill("Say something wild")
    page.keyboard.press("Enter")
    expect(page.locator(".chat .machine .said")).to_have_text("<img src=x onerror=alert(1)><script>alert(2)</script>")
    house.provider.pieces = ()
    page.reload()
    assert page.locator(".chat img, .chat script").count() == 0


def test_a_user_waits_for_approval_and_signs_in_after_it(house: House, page: Page, open_page: OpenPage) -> None:
    page.goto(f"{house.url}/admin/users")
    row(page, "newcomer").get_by_role("button", name="Approve").click()
    expect(page.get_by_role("status")).to_be_visible()
    theirs = open_page()
    theirs.goto(f"{house.url}/login")
    theirs.get_by_label("Username").fill("newcomer")
    theirs.get_by_label("Password").fill("newcomer-long-password")
    theirs.get_by_role("button", name="Sign in").click()
    expect(theirs.get_by_role("heading", level=1)).to_have_text("Flows")
    expect(theirs.get_by_role("link", name="Audit")).to_have_count(0)


def test_the_page_that_was_wanted_comes_after_the_sign_in(house: House, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{house.url}/settings/usage?days=7")
    sign_in_form = page.get_by_role("button", name="Sign in")
    page.get_by_label("Username").fill(USERNAME)
    page.get_by_label("Password").fill(PASSWORD)
    sign_in_form.click()
    expect(page).to_have_url(f"{house.url}/settings/usage?days=7")


def test_a_session_that_has_ended_leads_to_the_sign_in_also_in_the_middle_of_an_act(house: House, page: Page) -> None:
    page.goto(f"{house.url}{KEYS}/new")
    page.context.clear_cookies()
    page.get_by_role("button", name="Create API Key").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_the_first_run_leads_to_a_password_of_ones_own(open_page: OpenPage, tmp_path: Path) -> None:
    port = free_port()
    with running(["keyturn", "run", "--port", str(port)], tmp_path, LANGFLOW_CONFIG_DIR=str(tmp_path)) as server:
        printed = server.wait_for("Stored")
        url = f"http://127.0.0.1:{port}"
        wait_until_it_answers(url)
        shown = re.search(r"Password +(\S+)", server.output)
        assert shown, printed
        page = open_page()
        page.goto(url)
        expect(page.get_by_role("heading", level=1)).to_have_text("Welcome to Keyturn")
        page.get_by_label("The password that the server printed").fill(shown[1])
        page.get_by_label("Your own password").fill("a password of my own")
        page.get_by_label("Repeat password").fill("a password of my own")
        page.get_by_role("button", name="Set the password").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Flows")


def test_everything_is_within_reach_on_a_phone(house: House, open_page: OpenPage) -> None:
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    sign_in(page, house.url)
    key = make_key(page, "On a phone")
    assert whoami(house, key) == 200


def test_no_page_asks_anybody_but_its_own_server(house: House, open_page: OpenPage) -> None:
    page, asked = open_page(), []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(page, house.url)
    for path in ("/flows", KEYS, VARIABLES, "/settings/usage", "/admin/users", "/admin/audit"):
        page.goto(house.url + path)
    assert [url for url in asked if not url.startswith(house.url)] == []
