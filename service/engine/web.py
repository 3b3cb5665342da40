"""Going out: what components share that fetch something."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bs4 import BeautifulSoup

from service.domain.ports import WebRequest, WebResponse
from service.engine.component import Component

USER_AGENT = "Keyturn"


def fetch(
    component: Component,
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 30.0,
    follow_redirects: bool = True,
) -> WebResponse:
    """Send a request within the run's time.

    Raises:
        AddressRefused, FetchFailed, RunTimedOut: see ``domain.ports.WebClient``.
        ComponentFailed: this server lets no flow out.
    """
    web = component.run.outside.web
    if web is None:
        raise component.fail("This server does not let flows reach other addresses.")
    return web.send(
        WebRequest(
            url,
            method,
            {"User-Agent": USER_AGENT, **(headers or {})},
            body,
            min(timeout, component.run.seconds_left()),
            follow_redirects,
            component.run.context.cancellation,
        )
    )


def json_of(component: Component, response: WebResponse) -> Any:
    """The JSON of an answer.

    Raises:
        ComponentFailed: the service refused, or answered something else.
    """
    if response.status >= 400:
        raise component.fail(f"The service answered {response.status}.")
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        raise component.fail("The service's answer is not JSON.") from None


def html_of(response: WebResponse) -> BeautifulSoup:
    """The parsed HTML of an answer."""
    return BeautifulSoup(response.text(), "html.parser")


def with_scheme(url: str) -> str:
    """An address as people write it, with ``https://`` where they leave it out."""
    bare = url.strip()
    return bare if "://" in bare else f"https://{bare}"


def pairs(value: object) -> dict[str, str]:
    """A table of ``{"key", "value"}`` rows, or an object, as a dict of texts."""
    if isinstance(value, Mapping):
        return {str(name): str(item) for name, item in value.items() if item is not None}
    rows = value if isinstance(value, list) else []
    named = [(row.get("key"), row.get("value")) for row in rows if isinstance(row, Mapping)]
    return {str(key): str(item) for key, item in named if key and item is not None}
