"""Every page, by day, by night and on a phone: sound by axe-core's judgement, and no wider than its window."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.e2e.pages.conftest import OpenPage
from tests.e2e.pages.screenshots import DESK, KEYS, PHONE, VARIABLES, shots, sign_in
from tests.support.showcase import House

WINDOWS = {
    "light": {"viewport": DESK, "color_scheme": "light"},
    "dark": {"viewport": DESK, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "has_touch": True, "is_mobile": True},
    "phone in the dark": {"viewport": PHONE, "color_scheme": "dark", "has_touch": True, "is_mobile": True},
}


def visited(page: Page, house: House) -> Iterator[str]:
    """Go through every page, those behind an act and those of a refusal too."""
    page.goto(f"{house.url}/login")
    yield "sign-in"
    page.get_by_label("Username").fill("nobody")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()
    yield "refused sign-in"
    sign_in(page, house.url)
    for name, path in shots(house.url, house.flows).items():
        page.goto(house.url + path)
        for summary in page.locator("main details:not([open]) > summary").all()[:3]:
            summary.click()
        yield name
    for path, link in ((KEYS, "CLI"), (VARIABLES, "CITY"), ("/admin/users", "ada")):
        page.goto(house.url + path)
        page.get_by_role("link", name=link, exact=True).click()
        page.get_by_role("heading", level=1).and_(page.get_by_text("Edit").or_(page.get_by_text("ada"))).wait_for()
        yield f"{link} of {path}"
    page.goto(f"{house.url}{VARIABLES}/new")
    page.get_by_label("Name").fill("CITY")
    page.get_by_label("Value").fill("Paris")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("alert").wait_for()
    yield "refused variable"
    page.goto(f"{house.url}{KEYS}/new")
    page.get_by_role("button", name="Create API Key").click()
    page.get_by_role("heading", name="Your new API key").wait_for()
    yield "key shown"
    page.goto(f"{house.url}/flow/00000000-0000-4000-8000-000000000000")
    yield "no such flow"
    page.goto(f"{house.url}/nowhere")
    yield "no such page"


@pytest.mark.parametrize("window", WINDOWS)
def test_no_page_has_an_accessibility_violation(house: House, open_page: OpenPage, window: str) -> None:
    page, axe, found = open_page(**WINDOWS[window]), Axe(), {}
    for name in visited(page, house):
        violations = axe.run(page).response["violations"]
        if violations:
            found[name] = [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in violations]
    assert found == {}


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_no_page_is_wider_than_its_window(house: House, open_page: OpenPage, width: int) -> None:
    page, found = open_page(viewport={"width": width, "height": 800}), {}
    for name in visited(page, house):
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            found[name] = wide
    assert found == {}


def test_every_target_on_a_phone_is_large_enough_for_a_finger(house: House, open_page: OpenPage) -> None:
    """WCAG 2.2, 2.5.8: 24 by 24 pixels; links inside a sentence are exempt."""
    page, found = open_page(**WINDOWS["phone"]), {}
    small = """[...document.querySelectorAll("button, input:not([type=hidden]), select, nav a, td.acts a, .main")]
        .filter((one) => one.offsetParent && !one.closest("label"))
        .filter((one) => Math.min(one.getBoundingClientRect().height, one.getBoundingClientRect().width) < 24)
        .map((one) => one.outerHTML.slice(0, 100))"""
    for name in visited(page, house):
        if targets := page.evaluate(small):
            found[name] = targets[:3]
    assert found == {}


@pytest.mark.parametrize("window", ["light", "phone"])
def test_no_place_of_the_menu_moves_from_page_to_page(house: House, open_page: OpenPage, window: str) -> None:
    page, found = open_page(**WINDOWS[window]), set()
    sign_in(page, house.url)
    places = """[...document.querySelectorAll("nav a")]
        .map((one) => Math.round(one.getBoundingClientRect().left + one.parentElement.scrollLeft))"""
    for path in ("/flows", KEYS, VARIABLES, "/settings/usage", "/admin/users", "/admin/audit"):
        page.goto(house.url + path)
        found.add(tuple(page.evaluate(places)))
    assert len(found) == 1


def test_the_place_in_focus_is_seen_whole_on_a_phone(house: House, open_page: OpenPage) -> None:
    page = open_page(**WINDOWS["phone"])
    sign_in(page, house.url)
    outside = """() => {
        const row = document.querySelector("nav").getBoundingClientRect();
        const place = document.activeElement.getBoundingClientRect();
        return Math.max(row.left - place.left, place.right - row.right, 0);
    }"""
    places = page.get_by_role("navigation").get_by_role("link")
    places.first.focus()
    for _ in range(places.count() - 1):
        page.keyboard.press("Tab")
        assert page.evaluate(outside) < 1


def test_the_night_is_dark_and_the_day_is_light(house: House, open_page: OpenPage) -> None:
    def brightness(scheme: str) -> int:
        page = open_page(color_scheme=scheme)
        page.goto(f"{house.url}/login")
        return int(page.evaluate("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/)[0]"))

    assert brightness("dark") < 60 < 200 < brightness("light")
