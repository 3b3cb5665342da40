"""A furnished server, and visitors to it whose browser may not complain about anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from tests.conftest import NOTHING_MAY_BE_SKIPPED
from tests.e2e.pages.screenshots import sign_in
from tests.support.chromium import chromium, chromium_path
from tests.support.showcase import House, furnished_house

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium_path()
    if path is None:
        reason = "no Chromium: install it, or name one in KEYTURN_TEST_CHROMIUM"
        pytest.fail(reason) if NOTHING_MAY_BE_SKIPPED else pytest.skip(reason)
    with chromium(path) as started:
        yield started


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    with furnished_house() as made:
        yield made


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Open a window of its own; in the end, nothing may have gone wrong in any of them."""
    contexts, complaints = [], []

    def note(message: ConsoleMessage) -> None:
        # Chromium writes a line of its own for each refusal; the page says it in words.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    def make(**options: Any) -> Page:
        context = browser.new_context(**options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        # A breach of the Content-Security-Policy is an error on the console as well.
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 500 else None)
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page: OpenPage, house: House) -> Page:
    """The superuser's window, signed in."""
    made = open_page()
    sign_in(made, house.url)
    return made
