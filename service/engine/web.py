"""Going out: what components share that fetch something."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.domain.errors import AddressRefused, FetchFailed, RunTimedOut
from service.domain.ports import WebRequest, WebResponse
from service.engine import html
from service.engine.component import Component

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

USER_AGENT = "Keyturn"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


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
        AddressRefused: see ``domain.ports.WebClient``.
        FetchFailed: no answer, none within ``timeout``, or one that is too large.
        RunTimedOut, RunCancelled: the run is over.
        ComponentFailed: this server lets no flow out.
    """
    web = component.run.outside.web
    if web is None:
        raise component.fail("This server does not let flows reach other addresses.")
    request = WebRequest(
        url,
        method,
        _with_agent(headers or {}),
        body,
        min(timeout, component.run.seconds_left()),
        follow_redirects,
        component.run.context.cancellation,
    )
    where = component.step.display_name
    try:
        return web.send(request)
    except AddressRefused as error:
        raise AddressRefused(error.reason, component=where) from None
    except (FetchFailed, RunTimedOut) as error:
        component.run.seconds_left()  # a page that is slow ends nothing while the run itself has time
        raise FetchFailed(error.reason, component=where) from None


def _with_agent(headers: Mapping[str, str]) -> dict[str, str]:
    named = any(name.lower() == "user-agent" for name in headers)
    return dict(headers) if named else {"User-Agent": USER_AGENT, **headers}


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


def html_of(component: Component, text: str) -> BeautifulSoup:
    """The tree of a page.

    Raises:
        ComponentFailed: it would take too long to read.
    """
    try:
        return html.parsed(text)
    except html.TooManyTags:
        raise component.fail(f"The page has more than {html.MAX_TAGS} tags.") from None


def with_scheme(url: str) -> str:
    """An address as people write it, with ``https://`` where they leave it out."""
    bare = url.strip()
    return bare if not bare or _SCHEME.match(bare) else f"https://{bare}"


def pairs(value: object) -> dict[str, str]:
    """A table of ``{"key", "value"}`` rows, or an object, as a dict of texts."""
    if isinstance(value, Mapping):
        return {str(name): str(item) for name, item in value.items() if item is not None}
    rows = value if isinstance(value, list) else []
    named = [(row.get("key"), row.get("value")) for row in rows if isinstance(row, Mapping)]
    return {str(key): str(item) for key, item in named if key and item is not None}
