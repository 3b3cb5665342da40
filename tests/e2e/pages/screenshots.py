"""Pictures of every page, for looking at them: ``make screenshots`` writes them to ``screenshots/``.

The best one stands in the README; ``--readme`` makes that one alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.support.chromium import chromium, chromium_path
from tests.support.server import ROOT
from tests.support.showcase import PASSWORD, USERNAME, furnished_house

KEYS, VARIABLES = "/settings/api-keys", "/settings/global-variables"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 375, "height": 812}
#: Shown at the top of the README.
COVER = ROOT / "docs" / "keys.png"


def sign_in(page: Page, url: str) -> None:
    """Sign in as the superuser."""
    page.goto(f"{url}/login")
    page.get_by_label("Username").fill(USERNAME)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Flows").wait_for()


def shots(url: str, flows: dict[str, str]) -> dict[str, str]:
    """The pages by the names of their pictures."""
    flow = f"/flow/{flows['support']}"
    return {
        "flows": "/flows",
        "flow": flow,
        "flow-missing": f"/flow/{flows['voice']}",
        "flow-api": f"{flow}/api",
        "flow-delete": f"{flow}/delete",
        "playground": f"/flow/{flows['greeter']}/playground?session=a+first+look",
        "keys": KEYS,
        "key-new": f"{KEYS}/new",
        "variables": VARIABLES,
        "variable-new": f"{VARIABLES}/new",
        "usage": "/settings/usage",
        "users": "/admin/users",
        "user-new": "/admin/users/new",
        "audit": "/admin/audit",
    }


def take(browser: Browser, url: str, flows: dict[str, str], folder: Path) -> None:
    """Take every page at a desk by day and by night, and on a phone."""
    for kind, size, scheme in (("light", DESK, "light"), ("dark", DESK, "dark"), ("phone", PHONE, "light")):
        context = browser.new_context(viewport=size, color_scheme=scheme)
        page = context.new_page()
        page.goto(f"{url}/login")
        page.screenshot(path=folder / f"login-{kind}.png")
        sign_in(page, url)
        for name, path in shots(url, flows).items():
            page.goto(url + path)
            page.screenshot(path=folder / f"{name}-{kind}.png", full_page=True)
        page.goto(f"{url}{KEYS}/new")
        page.get_by_label("Name", exact=True).fill(f"Made for {kind}")
        page.get_by_text("Limits: ").click()
        page.screenshot(path=folder / f"key-limits-{kind}.png", full_page=True)
        page.get_by_role("button", name="Create API Key").click()
        page.get_by_role("heading", name="Your new API key").wait_for()
        page.screenshot(path=folder / f"key-shown-{kind}.png", full_page=True)
        context.close()


def main() -> None:
    """Take the pictures."""
    path = chromium_path()
    if path is None:
        sys.exit("no Chromium: install it, or name one in KEYTURN_TEST_CHROMIUM")
    with furnished_house() as house, chromium(path) as browser:
        url, flows = house.url, house.flows
        if "--readme" in sys.argv:
            page = browser.new_page(viewport={"width": 1280, "height": 640}, color_scheme="light")
            sign_in(page, url)
            page.goto(url + KEYS)
            page.screenshot(path=COVER)
            return
        folder = ROOT / "screenshots"
        folder.mkdir(exist_ok=True)
        take(browser, url, flows, folder)


if __name__ == "__main__":
    main()
