"""Chromium for tests: the machine's own, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

#: Nothing that calls home: tests have no network.
_QUIET = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
          "--disable-sync")  # fmt: skip


def chromium_path() -> str | None:
    """Where the browser is: what ``KEYTURN_TEST_CHROMIUM`` says, or the first of the usual names; None: nowhere."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("KEYTURN_TEST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """Start the browser, and end it."""
    # Its sandbox wants a user of its own; tests in containers run as root, and open nothing but their own server.
    more = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_QUIET, *more])
        yield browser
        browser.close()
