"""Pages and APIs: fetched through the guarded client."""

from __future__ import annotations

import json
import shlex
from collections import deque
from urllib.parse import parse_qsl, urldefrag, urlencode, urljoin, urlsplit, urlunsplit

from bs4 import BeautifulSoup

from service.domain.errors import RunFailed, RunTimedOut
from service.domain.ports import WebResponse
from service.engine.component import Component, Output
from service.engine.fields import Field
from service.engine.values import Data, Message, Table, clean, text_of
from service.engine.web import fetch, html_of, pairs, with_scheme

Record = dict[str, object]

_MOST_PAGES = 200
_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})


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
        """The texts of all pages."""
        return Message("\n\n".join(str(page["text"]) for page in self._pages()))

    def fetch_content_as_list(self) -> list[Data]:
        """One record for each page."""
        return [Data(page) for page in self._pages()]

    def _pages(self) -> list[Record]:
        value = self.values["urls"]
        urls = [with_scheme(text_of(item)) for item in (value if isinstance(value, list) else [value]) if item]
        starts = list(dict.fromkeys(url for url in urls if url != "https://"))
        if not starts:
            raise self.fail("No valid URLs provided.")
        pages: list[Record] = []
        for start in starts:
            pages.extend(self._crawl(start))
        if not pages:
            raise self.fail("No documents were successfully loaded from any URL")
        return pages

    def _crawl(self, start: str) -> list[Record]:
        """The page and what it links to, breadth first, ``max_depth`` levels in all."""
        depth = max(1, self.integer("max_depth") or 1)
        waiting, seen, pages = deque([(start, 1)]), {start}, list[Record]()
        while waiting and len(seen) <= _MOST_PAGES:
            url, level = waiting.popleft()
            self.run.tick()
            try:
                page, links = self._page(url)
            except RunTimedOut:
                raise
            except RunFailed:
                if level == 1 or not self.flag("continue_on_failure"):
                    raise
                continue
            if page is not None:
                pages.append(page)
            for link in links if level < depth else ():
                if link not in seen and (not self.flag("prevent_outside") or _within(start, link)):
                    seen.add(link)
                    waiting.append((link, level + 1))
        return pages

    def _page(self, url: str) -> tuple[Record | None, list[str]]:
        answer = fetch(
            self, url, headers=pairs(self.values["headers"]), timeout=float(self.integer("timeout") or 30),
            follow_redirects=self.flag("follow_redirects"),
        )  # fmt: skip
        if self.flag("check_response_status") and answer.status >= 400:
            raise self.fail(f"The page answered {answer.status}.")
        soup = html_of(answer)
        text = answer.text() if self.text("format") == "HTML" else soup.get_text()
        self.run.produce(len(text))
        links = [urldefrag(urljoin(answer.url, str(a["href"])))[0] for a in soup.find_all("a", href=True)]
        return _described(url, answer, soup, clean(text)), [link for link in links if link.startswith("http")]


def _within(start: str, link: str) -> bool:
    """By host, not by how the text begins: ``a.example.evil.example`` begins like ``a.example``."""
    return urlsplit(link).netloc == urlsplit(start).netloc


def _described(url: str, answer: WebResponse, soup: BeautifulSoup, text: str) -> Record:
    title, html = soup.find("title"), soup.find("html")
    about = soup.find("meta", attrs={"name": "description"})
    return {
        "text": text,
        "url": url,
        "title": title.get_text() if title else "",
        "description": str(about.get("content", "")) if about else "",
        "content_type": answer.headers.get("content-type", ""),
        "language": str(html.get("lang", "")) if html else "",
    }


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
        Field("method", default="GET", tool="GET, POST, PATCH, PUT or DELETE."),
        Field("headers", "headers", tool="Headers, as a JSON object."),
        Field("query_params", "any"),
        Field("body", "any", tool="Body, as a JSON object."),
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
        url = _with_query(with_scheme(url), pairs(_record(self.values["query_params"])))
        payload = None
        if body and method != "GET":
            payload, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        timeout = float(self.integer("timeout") or 30)
        answer = fetch(self, url, method=method, headers=headers, body=payload, timeout=timeout,
                       follow_redirects=self.flag("follow_redirects"))  # fmt: skip
        found: Record = {"source": url, "status_code": answer.status, "response_headers": dict(answer.headers)}
        if answer.redirects:
            found["redirection_history"] = [{"url": to, "status_code": status} for to, status in answer.redirects]
        found["result"] = _result(answer)
        if self.flag("include_httpx_metadata"):
            found["headers"] = headers
        return Data(found)

    def as_dataframe(self) -> Table:
        """The answer as one row (an output of older exports)."""
        return Table([self.make_api_request().data])

    def _asked(self) -> tuple[str, str, dict[str, str], object]:
        """Address, method, headers and body, from the fields or from a curl command."""
        headers, body = pairs(_record(self.values["headers"])), _body(self.values["body"])
        curl = self.text("curl_input") or self.text("curl")
        if self.text("mode").lower() == "curl" or (curl and not self.text("url_input")):
            try:
                return _from_curl(curl)
            except ValueError as error:
                raise self.fail(f"The curl command cannot be read: {error}.") from None
        url = self.text("url_input")
        if not url:
            value = self.values["urls"]
            url = text_of(value[0]) if isinstance(value, list) and value else text_of(value)
        return url, (self.text("method") or "GET").upper(), headers, body


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


def _body(value: object) -> object:
    """A body: an object as it is, a table's rows as an object, text as JSON when it is some."""
    plain = value.data if isinstance(value, Data) else text_of(value) if isinstance(value, Message) else value
    if isinstance(plain, str):
        try:
            return json.loads(plain) if plain.strip() else None
        except (ValueError, RecursionError):
            return {"data": plain}
    if isinstance(plain, list) and plain and all(isinstance(row, dict) and "key" in row for row in plain):
        return {str(row["key"]): _json_or_text(row.get("value")) for row in plain}
    return plain


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
                "-A": "agent", "--user-agent": "agent"}  # fmt: skip
_CURL_FLAGS = frozenset({"-L", "--location", "-s", "--silent", "-S", "-i", "--include", "--compressed", "-k", "-G"})


def _from_curl(command: str) -> tuple[str, str, dict[str, str], object]:
    """Address, method, headers and body of a curl command; nothing of it is ever given to a shell.

    Raises:
        ValueError: an option that is not known here, or no address.
    """
    words = deque(shlex.split(command.replace("\\\n", " ")))
    if not words or words.popleft() != "curl":
        raise ValueError("it does not begin with curl")
    found: dict[str, str] = {}
    headers: dict[str, str] = {}
    while words:
        word = words.popleft()
        kind = _CURL_VALUES.get(word)
        if kind is None and word.startswith("-"):
            if word not in _CURL_FLAGS:
                raise ValueError(f"the option {word[:30]} is not known here")
            continue
        value = words.popleft() if kind and words else word
        if kind == "header":
            name, _, text = value.partition(":")
            headers[name.strip()] = text.strip()
        elif kind == "agent":
            headers["User-Agent"] = value
        else:
            found[kind or "url"] = value
    if "url" not in found:
        raise ValueError("it names no address")
    body = _body(found["data"]) if found.get("data", "").strip() and not found["data"].startswith("@") else None
    return found["url"], found.get("method", "POST" if body is not None else "GET").upper(), headers, body
