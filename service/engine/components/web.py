"""Pages and APIs: fetched through the guarded client."""

from __future__ import annotations

import json
import shlex
from base64 import b64encode
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urldefrag, urlencode, urljoin, urlsplit, urlunsplit

from service.domain.errors import AddressRefused, ComponentFailed, FetchFailed
from service.domain.ports import WebResponse
from service.engine import html
from service.engine.component import Component, Output
from service.engine.fields import Field
from service.engine.values import Data, Message, Table, clean, text_of
from service.engine.web import fetch, html_of, pairs, with_scheme

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

Record = dict[str, object]

_MOST_PAGES = 200
_DEEPEST = 5  # as far as Langflow's slider goes
_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})
_PORTS = {"http": 80, "https": 443}
_HARMLESS_HEADERS = frozenset({"accept", "accept-language", "content-type", "user-agent"})

#: Scheme, host and port.
_Origin = tuple[str, str, int | None]


class _Page(NamedTuple):
    """One page: its record, where it really was, and the addresses that it links to."""

    record: Record
    address: str
    links: tuple[str, ...]


class Url(Component):
    """Web pages as text, followed to a depth."""

    names = ("URLComponent", "URL")
    display_name = "URL"
    description = "Fetches the content of web pages."
    fields = (
        Field("urls", "url", many=True, tool="Addresses of the pages to fetch."),
        Field("max_depth", "int", default=1),
        Field("prevent_outside", "bool", default=True),
        Field("format", default="Text"),
        Field("timeout", "int", default=30),
        Field("headers", "headers"),
        Field("filter_text_html", "bool", default=True),
        Field("continue_on_failure", "bool", default=True),
        Field("check_response_status", "bool", default=False),
        Field("follow_redirects", "bool", default=True),
    )
    outputs = (
        Output("page_results", "fetch_content"),
        Output("raw_results", "fetch_content_as_message"),
        Output("data", "fetch_content_as_list"),
        Output("text", "fetch_content_as_message"),
        Output("dataframe", "fetch_content"),
    )
    __slots__ = ()

    @classmethod
    def tool_methods(cls) -> tuple[str, ...]:
        """An agent needs one way to fetch."""
        return ("fetch_content",)

    def fetch_content(self) -> Table:
        """One row for each page: text, url, title, description, content_type, language."""
        return Table(self._pages())

    def fetch_content_as_message(self) -> Message:
        """The texts of all pages; the records are in its data."""
        pages = self._pages()
        return Message("\n\n".join(str(page["text"]) for page in pages), extra={"data": pages})

    def fetch_content_as_list(self) -> list[Data]:
        """One record for each page."""
        return [Data(page) for page in self._pages()]

    def _pages(self) -> list[Record]:
        starts = _addresses(self.values["urls"])
        if not starts:
            raise self.fail("No valid URLs provided.")
        pages: list[Record] = []
        failure: ComponentFailed | None = None
        for start in starts:
            try:
                self._crawl(start, pages)
            except ComponentFailed as error:
                if not self.flag("continue_on_failure"):
                    raise
                failure = failure or error
        if not pages:
            raise failure or self.fail("No documents were successfully loaded from any URL")
        return pages

    def _crawl(self, start: str, pages: list[Record]) -> None:
        """Add the page and what it links to, each with its own links before the next, ``max_depth`` levels in all."""
        depth, site = min(max(1, self.integer("max_depth") or 1), _DEEPEST), _origin(start)
        waiting, seen = [(start, 1)], set[str]()
        size = sum(len(str(page["text"])) for page in pages)
        while waiting and len(seen) < _MOST_PAGES:
            url, level = waiting.pop()
            if urldefrag(url)[0] in seen:
                continue
            seen.add(urldefrag(url)[0])
            self.run.tick()
            page = self._linked(url) if level > 1 else self._page(url)
            if page is None:
                continue
            seen.add(urldefrag(page.address)[0])
            pages.append(page.record)
            size += len(str(page.record["text"]))
            self.run.room_for(size)
            if level < depth:
                fresh = (link for link in page.links if self._follows(site, link, seen))
                waiting.extend((link, level + 1) for link in reversed(list(islice(fresh, _MOST_PAGES))))

    def _follows(self, site: _Origin, link: str, seen: set[str]) -> bool:
        """By origin, not by how the text begins: ``a.example.evil.example`` begins like ``a.example``."""
        return urldefrag(link)[0] not in seen and (not self.flag("prevent_outside") or _origin(link) == site)

    def _linked(self, url: str) -> _Page | None:
        """A page that another links to; None where it cannot be had and the crawl goes on without it."""
        try:
            return self._page(url)
        except ComponentFailed:
            if not self.flag("continue_on_failure"):
                raise
            return None

    def _page(self, url: str) -> _Page | None:
        headers = pairs(self.values["headers"])
        if _origin(url) not in self._stored_origins():
            # A page, a caller or a model has chosen the address: what the author stored is not for every one.
            headers = _harmless(headers)
        answer = fetch(
            self, url, headers=headers, timeout=float(self.integer("timeout") or 30),
            follow_redirects=self.flag("follow_redirects"),
        )  # fmt: skip
        if self.flag("check_response_status") and not 200 <= answer.status < 300:
            raise self.fail(f"The page answered {answer.status}.")
        kind, markup = answer.headers.get("content-type", "").lower(), answer.text()
        if not markup or ("text/css" in kind and self.flag("filter_text_html")):
            return None
        soup, address = html_of(self, markup), answer.url if answer.redirects else url
        record: Record = {"text": clean(self._shown(markup, soup)), "url": address}
        record |= {**_described(soup), "content_type": kind, "language": _language(soup)}
        return _Page(record, address, _links(soup, address))

    def _stored_origins(self) -> frozenset[_Origin]:
        """Of the addresses that stand in the flow, or in the owner's variable that it names."""
        from_variable = "urls" not in self.chosen and any(use.field == "urls" for use in self.step.uses)
        return frozenset(map(_origin, _addresses((self.values if from_variable else self.step.values)["urls"])))

    def _shown(self, markup: str, soup: BeautifulSoup) -> str:
        match self.text("format"):
            case "HTML":
                return markup
            case "Markdown":
                return html.to_markdown(markup)
        return soup.get_text()


def _addresses(value: object) -> list[str]:
    urls = [with_scheme(text_of(item)) for item in (value if isinstance(value, list) else [value]) if item]
    return list(dict.fromkeys(url for url in urls if url))


def _links(soup: BeautifulSoup, address: str) -> tuple[str, ...]:
    """Where a page leads; what cannot be read as an address leads nowhere."""
    found: dict[str, None] = {}
    for anchor in soup.find_all("a", href=True):
        try:
            link = urljoin(address, str(anchor["href"]))
            usable = urlsplit(link).scheme in ("http", "https")
        except ValueError:
            continue
        if usable:
            found[link] = None
    return tuple(found)


def _described(soup: BeautifulSoup) -> Record:
    about = soup.find("meta", attrs={"name": "description"})
    title = (soup.title.string if soup.title else None) or ""
    return {"title": str(title), "description": str(about.get("content") or "") if about else ""}


def _language(soup: BeautifulSoup) -> str:
    page = soup.find("html")
    return str(page.get("lang") or "") if page else ""


class ApiRequest(Component):
    """One HTTP request."""

    names = ("APIRequest",)
    display_name = "API Request"
    description = "Sends an HTTP request and gives the answer back."
    fields = (
        Field("url_input", "url", default="", tool="Address of the request."),
        Field("urls", "url"),
        Field("curl_input", "url", default=""),
        Field("curl", "url", default=""),
        Field("mode", default="URL"),
        Field("method", default="GET"),
        Field("headers", "headers"),
        Field("query_params", "any"),
        Field("body", "any"),
        Field("timeout", "int", default=30),
        Field("follow_redirects", "bool", default=True),
        Field("save_to_file", "bool", default=False),
        Field("include_httpx_metadata", "bool", default=False),
    )
    outputs = (Output("data", "make_api_request"), Output("dataframe", "as_dataframe"))
    __slots__ = ()

    @classmethod
    def tool_methods(cls) -> tuple[str, ...]:
        """The table says the same as the record."""
        return ("make_api_request",)

    def make_api_request(self) -> Data:
        """``source``, ``status_code``, ``response_headers`` and ``result``; ``error`` when nothing came back."""
        if self.flag("save_to_file"):
            raise self.fail("Saving to a file of the server is not possible here.")
        url, method, headers, body = self._asked()
        if method not in _METHODS:
            raise self.fail(f"Unsupported method: {method[:20]}")
        if not url.strip():
            raise self.fail("URL cannot be empty")
        url = with_scheme(url)
        if self._leads_elsewhere(url):
            # A page that the model has read may ask it to: what the author stored is not for every address.
            headers, body = _harmless(headers), {}
        else:
            url = _with_query(url, pairs(_record(self.values["query_params"])))
        try:
            answer = self._answer(url, method, headers, body)
        except AddressRefused:
            raise
        except FetchFailed as error:  # as in Langflow, an answer that did not come is one that a flow can look at
            return Data({"source": url, "headers": _shown(headers), "status_code": 500, "error": error.reason})
        found: Record = {"source": url, "status_code": answer.status, "response_headers": dict(answer.headers)}
        if answer.redirects:
            found["redirection_history"] = [{"url": to, "status_code": status} for to, status in answer.redirects]
        found["result"] = _result(answer)
        if self.flag("include_httpx_metadata"):
            found["headers"] = _shown(headers)
        return Data(found)

    def _leads_elsewhere(self, url: str) -> bool:
        """Whether a model has chosen another origin than the one that the author stored."""
        return "url_input" in self.chosen and _origin(url) != _origin(
            with_scheme(text_of(self.step.values["url_input"]))
        )

    def _answer(self, url: str, method: str, headers: dict[str, str], body: Record) -> WebResponse:
        payload, timeout = None, float(self.integer("timeout") or 30)
        if method != "GET":  # an empty body is sent as well: {}
            payload = json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=str).encode()
            if not any(name.lower() == "content-type" for name in headers):
                headers = {"Content-Type": "application/json", **headers}
        return fetch(self, url, method=method, headers=headers, body=payload, timeout=timeout,
                     follow_redirects=self.flag("follow_redirects"))  # fmt: skip

    def as_dataframe(self) -> Table:
        """The answer as one row (an output of older exports)."""
        return Table([self.make_api_request().data])

    def _asked(self) -> tuple[str, str, dict[str, str], Record]:
        """Address, method, headers and body, from the fields or from a curl command."""
        headers, body = pairs(_record(self.values["headers"])), _body(self.values["body"])
        curl = self.text("curl_input") or self.text("curl")
        if curl and (self.text("mode").lower() == "curl" or not self.text("url_input")):
            try:
                return _from_curl(curl)
            except ValueError as error:
                raise self.fail(f"The curl command cannot be read: {error}.") from None
        url = self.text("url_input")
        if not url:
            value = self.values["urls"]
            url = text_of(value[0]) if isinstance(value, list) and value else text_of(value)
        return url, (self.text("method") or "GET").upper(), headers, body


def _harmless(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() in _HARMLESS_HEADERS}


def _origin(url: str) -> _Origin:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme.lower(),
            (parts.hostname or "").rstrip("."),
            parts.port or _PORTS.get(parts.scheme.lower()),
        )
    except ValueError:
        return "", url, None


def _record(value: object) -> object:
    if isinstance(value, Data):
        return value.data
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return dict(parse_qsl(value))
        return found
    return value


def _body(value: object) -> Record:
    """A body: an object, rows of key and value, or text that is one of these. Texts that are JSON count as JSON."""
    plain = value.data if isinstance(value, Data) else text_of(value) if isinstance(value, Message) else value
    if isinstance(plain, str):
        if not plain.strip():
            return {}
        found = _json_or_text(plain)
        return {"data": plain} if isinstance(found, str) and found == plain else _body(found)
    if isinstance(plain, dict):
        return {str(key): _json_or_text(item) for key, item in plain.items()}
    return _of_rows(plain if isinstance(plain, list) else plain.rows if isinstance(plain, Table) else [])


def _of_rows(rows: list[object] | list[Record]) -> Record:
    found: Record = {}
    for item in rows:
        row = item.data if isinstance(item, Data) else item
        if isinstance(row, dict) and "key" in row and "value" in row:
            found[str(row["key"])] = _json_or_text(row["value"])
        elif isinstance(item, Data):
            return item.data
    return found


def _shown(headers: dict[str, str]) -> dict[str, str]:
    """The headers that were sent, for whoever reads the answer: what is in them is the author's, not the reader's."""
    return {name: value if name.lower() in _HARMLESS_HEADERS else "***" for name, value in headers.items()}


def _json_or_text(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _result(answer: WebResponse) -> object:
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return answer.text()


def _with_query(url: str, query: dict[str, str]) -> str:
    if not query:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode({**dict(parse_qsl(parts.query)), **query})))


_CURL_VALUES = {"-X": "method", "--request": "method", "-H": "header", "--header": "header", "-d": "data",
                "--data": "data", "--data-raw": "data", "--data-binary": "data", "--json": "data", "--url": "url",
                "-A": "agent", "--user-agent": "agent", "-u": "user", "--user": "user", "-b": "cookie",
                "--cookie": "cookie"}  # fmt: skip
_CURL_FLAGS = frozenset({"-L", "--location", "-s", "--silent", "-S", "--show-error", "-i", "--include", "-f",
                         "--fail", "--compressed"})  # fmt: skip


def _from_curl(command: str) -> tuple[str, str, dict[str, str], Record]:
    """Address, method, headers and body of a curl command; nothing of it is ever given to a shell.

    Raises:
        ValueError: an option that is not known here, one without its value, a file as body, or no address.
    """
    words = deque(word for word in shlex.split(command.replace("\\\n", " ")) if word)
    if not words or words.popleft() != "curl":
        raise ValueError("it does not begin with curl")
    found: dict[str, str] = {}
    headers: dict[str, str] = {}
    while words:
        kind, value = _option(words)
        if kind == "header":
            name, _, text = value.partition(":")
            headers[name.strip()] = text.strip()
        elif kind in ("agent", "cookie"):
            headers["User-Agent" if kind == "agent" else "Cookie"] = value
        elif kind == "user":
            headers["Authorization"] = f"Basic {b64encode(value.encode()).decode()}"
        elif kind:
            found[kind] = value
    if "url" not in found:
        raise ValueError("it names no address")
    data = found.get("data", "")
    if data.startswith("@"):
        raise ValueError("a file of the server cannot be sent")
    return found["url"], found.get("method", "POST" if data else "GET").upper(), headers, _of_json(data)


def _option(words: deque[str]) -> tuple[str, str]:
    """The next option and its value, ("", "") for one that changes nothing here."""
    word = words.popleft()
    if not word.startswith("-"):
        return "url", word
    if word in _CURL_FLAGS:
        return "", ""
    if word not in _CURL_VALUES:
        raise ValueError(f"the option {word[:30]} is not known here")
    if not words:
        raise ValueError(f"the option {word} has no value")
    return _CURL_VALUES[word], words.popleft()


def _of_json(data: str) -> Record:
    """A curl command's data: an object as it is, everything else under ``data``."""
    found = _json_or_text(data) if data.strip() else {}
    return _body(found) if isinstance(found, dict) else {"data": found}
