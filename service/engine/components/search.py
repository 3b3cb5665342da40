"""Searching the web and arXiv."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, quote_plus, urlencode, urlsplit
from xml.etree.ElementTree import Element  # for its type; defusedxml reads # nosec B405

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from service.domain.errors import ComponentFailed
from service.domain.ports import WebResponse
from service.engine.component import Component, Output
from service.engine.fields import Field
from service.engine.html import bare
from service.engine.values import Data, Message, Table
from service.engine.web import fetch, html_of, json_of, with_scheme

if TYPE_CHECKING:
    from bs4 import Tag

Record = dict[str, object]

_ATOM = {"atom": "http://www.w3.org/2005/Atom", "arxiv": "http://arxiv.org/schemas/atom"}
_TITLE = "a.result__a"
_CUT = "... [truncated]"
_BROWSER = {"User-Agent": "Mozilla/5.0 (compatible; Keyturn)"}


class WebSearch(Component):
    """Searches the web or the news, or reads a feed."""

    names = ("UnifiedWebSearch", "WebSearchNoAPI", "NewsSearch", "RSSReaderSimple")
    display_name = "Web Search"
    description = "Searches the web or the news, or reads an RSS feed."
    fields = (
        Field("query", default="", tool="Words to search for; in the mode RSS, the address of the feed."),
        Field("search_mode", default="Web", tool="Web, News or RSS."),
        Field("rss_url", "url", default=""),
        Field("hl", default="en-US"),
        Field("gl", default="US"),
        Field("topic", default=""),
        Field("location", default=""),
        Field("max_results", "int", default=5),
        Field("max_content_length", "int", default=2000),
        Field("timeout", "int", default=5),
    )
    outputs = (
        Output("results", "perform_search"),
        Output("articles", "perform_search"),
        Output("dataframe", "perform_search"),
    )
    __slots__ = ()

    @classmethod
    def tool_methods(cls) -> tuple[str, ...]:
        """All outputs are one."""
        return ("perform_search",)

    def perform_search(self) -> Table:
        """Rows of title, link, snippet and content (web), or of title, link, published and summary."""
        kind = self.step.kind
        mode = {"NewsSearch": "News", "RSSReaderSimple": "RSS"}.get(kind) or self.text("search_mode")
        if mode == "News":
            return Table(self._news())
        return Table(self._rss(self.text("rss_url") or self.text("query"))) if mode == "RSS" else Table(self._web())

    def _limit(self, name: str, default: int) -> int | None:
        """A limit, or None: 0 means no limit, and the older nodes have none."""
        limit = self.integer(name)
        if limit == 0 or self.step.kind != "UnifiedWebSearch":
            return None
        return default if limit is None or limit < 0 else limit

    def _most(self) -> int | None:
        return self._limit("max_results", 5)

    def _cut(self, text: str) -> str:
        most = self._limit("max_content_length", 2000)
        if most is None or len(text) <= most:
            return text
        end = _CUT if most >= len(_CUT) else "…"
        return text[: most - len(end)] + end

    def _web(self) -> list[Record]:
        query = re.sub(r"[<>\"']", "", self.text("query").strip())
        if not query:
            raise self.fail("Empty search query")
        address = f"{self.run.outside.services.duckduckgo}?{urlencode({'q': query, 'kl': 'us-en'})}"
        try:
            answer = self._had(address, "The search")
        except ComponentFailed as error:
            return [{"title": "Error", "link": "", "snippet": error.reason, "content": ""}]
        if not answer.content or "text/html" not in answer.headers.get("content-type", "").lower():
            return [{"title": "Error", "link": "", "snippet": "No results found", "content": ""}]
        found = [result for result in html_of(self, answer.text()).select("div.result") if result.select_one(_TITLE)]
        return [self._found(result) for result in found[: self._most()]]

    def _found(self, result: Tag) -> Record:
        title, snippet = result.select_one(_TITLE), result.select_one("a.result__snippet")
        link = with_scheme(_real_link(str(title.get("href", "")))) if title else ""
        return {
            "title": title.get_text(strip=True) if title else "",
            "link": link,
            "snippet": snippet.get_text(strip=True) if snippet else "",
            "content": self._cut(self._content(link)),
        }

    def _had(self, address: str, what: str) -> WebResponse:
        """An answer that is no refusal.

        Raises:
            ComponentFailed: it did not come, or it is one.
        """
        answer = fetch(self, address, headers=_BROWSER, timeout=self._patience())
        if answer.status >= 400:
            raise self.fail(f"{what} answered {answer.status}.")
        return answer

    def _patience(self) -> float:
        return float(max(1, self.integer("timeout") or 5))

    def _content(self, link: str) -> str:
        """The text of a found page; a page that cannot be had does not spoil the search."""
        try:
            return html_of(self, self._had(link, "The page").text()).get_text(separator=" ", strip=True)
        except ComponentFailed as error:
            return f"(Failed to fetch: {error.reason})"

    def _news(self) -> list[Record]:
        hl, gl = self.text("hl") or "en-US", self.text("gl") or "US"
        place = urlencode({"hl": hl, "gl": gl, "ceid": f"{gl}:{hl.split('-')[0]}"})
        base = self.run.outside.services.google_news
        if self.text("topic"):
            return self._articles(f"{base}/headlines/section/topic/{quote_plus(self.text('topic').upper())}?{place}")
        if self.text("location"):
            return self._articles(f"{base}/headlines/section/geo/{quote_plus(self.text('location'))}?{place}")
        if not self.text("query"):
            return [{"title": "Error", "link": "", "published": "", "summary": "No search parameters provided"}]
        return self._articles(f"{base}/search?q={quote_plus(self.text('query'))}&{place}")

    def _articles(self, address: str) -> list[Record]:
        """The news of a feed; their titles and summaries are HTML."""
        try:
            items = self._items(address)
        except ComponentFailed as error:
            return [_note("Error", error.reason)]
        rows = [self._row(item, bare) for item in items[: self._most()]]
        return rows or [_note("No articles found")]

    def _rss(self, address: str) -> list[Record]:
        """The entries of a feed, as they are."""
        if not address.strip():
            return [_note("Error", "No RSS URL provided")]
        try:
            items = self._items(with_scheme(address))
        except ComponentFailed as error:
            return [_note("Error", error.reason)]
        return [self._row(item, str) for item in items[: self._most()]]

    def _items(self, address: str) -> list[Element]:
        content = self._had(address, "The feed").content
        if not content.strip():
            raise self.fail("Empty response received")
        return list(_xml(self, content).iter("item"))

    def _row(self, item: Element, text: Callable[[str], str]) -> Record:
        return {
            "title": self._cut(text(_inner(item, "title"))),
            "link": self._cut(_inner(item, "link")),
            "published": self._cut(_inner(item, "pubDate")),
            "summary": self._cut(text(_inner(item, "description"))),
        }


def _note(title: str, summary: str = "") -> Record:
    return {"title": title, "link": "", "published": "", "summary": summary}


def _inner(item: Element, name: str) -> str:
    found = item.find(name)
    return "" if found is None else "".join(found.itertext())


def _real_link(link: str) -> str:
    """What a result's link leads to: the search engine wraps it."""
    wrapped = parse_qs(urlsplit(link).query).get("uddg")
    return wrapped[0] if wrapped else link


def _xml(component: Component, content: bytes) -> Element:
    """XML without entities of its own, which could read files or grow without end."""
    try:
        root: Element = fromstring(content)
    except (ParseError, DefusedXmlException, ValueError):
        raise component.fail("The answer is not XML that can be read.") from None
    return root


class TavilySearch(Component):
    """Searches with Tavily."""

    names = ("TavilySearchComponent",)
    display_name = "Tavily Search API"
    description = "Searches the web with Tavily, a search engine for language models."
    fields = (
        Field("api_key", "secret", default=""),
        Field("query", default="", tool="The search query."),
        Field("search_depth", default="advanced"),
        Field("chunks_per_source", "int", default=3),
        Field("topic", default="general"),
        Field("days", "int", default=7),
        Field("max_results", "int", default=5),
        Field("include_answer", "bool", default=True),
        Field("time_range", default=""),
        Field("include_images", "bool", default=True),
        Field("include_domains", default=""),
        Field("exclude_domains", default=""),
        Field("include_raw_content", "bool", default=False),
    )
    outputs = (
        Output("dataframe", "fetch_content_dataframe"),
        Output("data", "fetch_content"),
        Output("text", "fetch_content_text"),
    )
    __slots__ = ()

    @classmethod
    def tool_methods(cls) -> tuple[str, ...]:
        """One of the outputs is enough for an agent."""
        return ("fetch_content_dataframe",)

    def fetch_content_dataframe(self) -> Table:
        """One row for the answer, each result and the images."""
        return Table([item.data for item in self.fetch_content()])

    def fetch_content_text(self) -> Message:
        """The texts of all records."""
        return Message("\n".join(str(item.data.get("text", "")) for item in self.fetch_content()))

    def fetch_content(self) -> list[Data]:
        """One record for the answer, each result and the images; one with ``error`` when there was no answer."""
        body = json.dumps(self._payload()).encode()
        try:
            answer = fetch(self, self.run.outside.services.tavily, method="POST", body=body, timeout=90.0,
                           headers={"Content-Type": "application/json", "Accept": "application/json"})  # fmt: skip
            found = json_of(self, answer)
        except ComponentFailed as error:
            return [Data({"error": error.reason, "text": error.reason})]
        if not isinstance(found, dict):
            raise self.fail("The service's answer has an unknown shape.")
        records: list[Data] = []
        if self.flag("include_answer") and found.get("answer"):
            records.append(Data({"text": found["answer"]}))
        records.extend(Data(self._record(result)) for result in found.get("results") or [])
        if self.flag("include_images") and found.get("images"):
            records.append(Data({"images": found["images"], "text": "Images found"}))
        return records

    def _record(self, result: Record) -> Record:
        names = ["title", "url", "content", "score", *(["raw_content"] if self.flag("include_raw_content") else [])]
        content = result.get("content", "")
        return {name: result.get(name) for name in names} | {"content": content, "text": content}

    def _payload(self) -> Record:
        payload: Record = {
            name: self.values[name]
            for name in ("api_key", "query", "search_depth", "topic", "max_results", "include_images",
                         "include_answer", "include_raw_content", "days")
        }  # fmt: skip
        for name in ("include_domains", "exclude_domains"):
            domains = [part.strip() for part in self.text(name).split(",") if part.strip()]
            if domains:
                payload[name] = domains
        if self.text("search_depth") == "advanced" and self.integer("chunks_per_source"):
            payload["chunks_per_source"] = self.integer("chunks_per_source")
        if self.text("time_range"):
            payload["time_range"] = self.text("time_range")
        return payload


class SearchApi(Component):
    """Searches with SearchApi.io."""

    names = ("SearchComponent", "SearchAPI")
    display_name = "Search API"
    description = "Searches the web with SearchApi."
    fields = (
        Field("engine", default="google"),
        Field("api_key", "secret", default=""),
        Field("input_value", default="", tool="The search query."),
        Field("search_params", "dict"),
        Field("max_results", "int", default=5),
        Field("max_snippet_length", "int", default=100),
    )
    outputs = (Output("dataframe", "fetch_content_dataframe"), Output("data", "fetch_content"))
    __slots__ = ()

    @classmethod
    def tool_methods(cls) -> tuple[str, ...]:
        """One of the outputs is enough for an agent."""
        return ("fetch_content_dataframe",)

    def fetch_content_dataframe(self) -> Table:
        """One row for each result."""
        return Table([item.data for item in self.fetch_content()])

    def fetch_content(self) -> list[Data]:
        """One record for each result: text, title, link, snippet."""
        asked = {"engine": self.text("engine"), "q": self.text("input_value")}
        extra = self.values["search_params"]
        asked |= {str(key): str(value) for key, value in extra.items()} if isinstance(extra, dict) else {}
        # The key goes in a header: an address is written into logs on its way.
        headers = {"Authorization": f"Bearer {self.text('api_key')}"}
        answer = fetch(self, f"{self.run.outside.services.searchapi}?{urlencode(asked)}", headers=headers)
        found = json_of(self, answer)
        results = found.get("organic_results") or [] if isinstance(found, dict) else []
        most, longest = max(1, self.integer("max_results") or 5), max(1, self.integer("max_snippet_length") or 100)
        return [
            Data({
                "title": str(result.get("title", ""))[:longest],
                "link": result.get("link", ""),
                "snippet": str(result.get("snippet", ""))[:longest],
                "text": result.get("snippet", ""),
            })
            for result in results[:most]
        ]  # fmt: skip


class ArXiv(Component):
    """Papers on arXiv."""

    names = ("ArXivComponent",)
    display_name = "arXiv"
    description = "Searches papers on arXiv."
    fields = (
        Field("search_query", default="", tool="What to search for, for example quantum computing."),
        Field("search_type", default="all"),
        Field("max_results", "int", default=10),
    )
    outputs = (Output("dataframe", "search_papers_dataframe"), Output("data", "search_papers"))
    __slots__ = ()

    @classmethod
    def tool_methods(cls) -> tuple[str, ...]:
        """One of the outputs is enough for an agent."""
        return ("search_papers_dataframe",)

    def search_papers_dataframe(self) -> Table:
        """One row for each paper."""
        return Table([item.data for item in self.search_papers()])

    def search_papers(self) -> list[Data]:
        """One record for each paper; one with ``error`` when there was no answer."""
        query = quote(f"{self.text('search_type')}:{self.text('search_query')}")
        most = max(1, min(self.integer("max_results") or 10, 100))
        address = f"{self.run.outside.services.arxiv}?search_query={query}&max_results={most}"
        try:
            answer = fetch(self, address)
            if answer.status >= 400:
                raise self.fail(f"arXiv answered {answer.status}.")
        except ComponentFailed as error:
            return [Data({"error": f"Request error: {error.reason}"})]
        return [Data(_paper(entry)) for entry in _xml(self, answer.content).findall("atom:entry", _ATOM)]


def _paper(entry: Element) -> Record:
    def text(path: str) -> str | None:
        found = (entry.findtext(path, None, _ATOM) or "").strip()
        return found or None

    links = {link.get("rel"): link.get("href") for link in entry.findall("atom:link", _ATOM)}
    primary = entry.find("arxiv:primary_category", _ATOM)
    return {
        "id": text("atom:id"),
        "title": text("atom:title"),
        "summary": text("atom:summary"),
        "published": text("atom:published"),
        "updated": text("atom:updated"),
        "authors": [author.findtext("atom:name", None, _ATOM) for author in entry.findall("atom:author", _ATOM)],
        "arxiv_url": links.get("alternate"),
        "pdf_url": links.get("related"),
        "comment": text("arxiv:comment"),
        "journal_ref": text("arxiv:journal_ref"),
        "primary_category": None if primary is None else primary.get("term"),
        "categories": [item.get("term") for item in entry.findall("atom:category", _ATOM)],
    }
