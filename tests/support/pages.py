"""A browser without a script: fetches pages, checks each of them, and sends their forms."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from bs4 import BeautifulSoup, Tag
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.client import PASSWORD, SUPERUSER

FROM_HERE = {"Sec-Fetch-Site": "same-origin"}


class Page:
    """An answer, checked."""

    def __init__(self, app: Flask, answer: TestResponse) -> None:
        self.status, self.path, self.headers = answer.status_code, answer.request.path, answer.headers
        self.html = answer.get_data(as_text=True)
        self.soup = BeautifulSoup(self.html, "html.parser")
        self._check(app)

    @property
    def text(self) -> str:
        return " ".join(self.soup.get_text(" ").split())

    def form(self, action: str) -> Tag:
        """The one form that leads there."""
        found = [form for form in self.soup.find_all("form") if form["action"] == action]
        assert len(found) == 1, f"{len(found)} forms lead to {action} on {self.path}"
        return found[0]

    def _check(self, app: Flask) -> None:
        headings = self.soup.find_all("h1")
        assert len(headings) == 1, f"{self.path} has {len(headings)} h1"
        assert self.soup.title.string == f"{headings[0].get_text()} · Keyturn"
        ids = [one["id"] for one in self.soup.find_all(id=True)]
        assert len(ids) == len(set(ids)), f"{self.path} uses an id twice: {ids}"
        for control in self.soup.find_all(["input", "select", "textarea"]):
            assert control.get("type") == "hidden" or self._label(control), f"no label on {self.path}: {control}"
            assert control.get("type") != "password" or not control.get("value"), "a secret stands in a form"
        for described in self.soup.find_all(attrs={"aria-describedby": True}):
            assert set(described["aria-describedby"].split()) <= set(ids)
        for script in self.soup.find_all("script"):
            assert script.get("src", "").startswith("/static/"), f"an inline script on {self.path}"
            assert not script.get_text().strip()
        for one in self.soup.find_all(True):
            assert "style" not in one.attrs, f"an inline style on {self.path}"
            assert not [name for name in one.attrs if name.startswith("on")], f"an inline handler on {self.path}"
        assert not self.soup.find_all("style")
        routes = app.url_map.bind("localhost")
        for link in self.soup.find_all(href=True):
            if link["href"].startswith("/"):
                routes.match(urlsplit(link["href"]).path, method="GET")
        for form in self.soup.find_all("form"):
            routes.match(form["action"], method=form["method"].upper())
        policy = self.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert self.headers["Cache-Control"] == "no-store"

    def _label(self, control: Tag) -> bool:
        return bool(
            control.get("aria-label")
            or control.find_parent("label")
            or (control.get("id") and self.soup.find("label", attrs={"for": control["id"]}))
        )


class Browser:
    """Keeps cookies, follows the way after an act, and checks every page on it."""

    def __init__(self, app: Flask) -> None:
        self.app, self.client = app, app.test_client()

    @classmethod
    def signed_in(cls, app: Flask, username: str = SUPERUSER, password: str = PASSWORD) -> Browser:
        browser = cls(app)
        page = browser.post("/login", username=username, password=password)
        assert (page.status, page.path) == (200, "/flows"), page.text
        return browser

    def get(self, path: str) -> Page:
        return Page(self.app, self.client.get(path, follow_redirects=True, headers=FROM_HERE))

    def post(self, path: str, **fields: Any) -> Page:
        answer = self.client.post(path, data=fields, follow_redirects=True, headers=FROM_HERE)
        return Page(self.app, answer)

    def status(self, method: str, path: str, **kwargs: Any) -> int:
        """What the server answers, without following or checking."""
        return self.client.open(path, method=method, **kwargs).status_code
