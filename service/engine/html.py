"""HTML as Langflow reads it: parsed by lxml, as text or as Markdown.

The libraries that do it take 8 MiB and 50 ms, so each process loads them with its first page.
"""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from markdownify import MarkdownConverter

#: A page of ten megabytes may hold millions of tags; each costs a kilobyte and ten microseconds.
MAX_TAGS = 200_000
#: Only looked for at the start, and without going back: a page may hold megabytes of blanks.
_DECLARATION = re.compile(r"\s*+<\?xml[^>]*\?>")
#: The expressions of the Markdown converter take time that grows with the square of such a row.
_MANY_BLANKS = re.compile(r"(?<!\s)(\s{100})\s++")
_FOLLOWED = frozenset({"", "http", "https", "file"})


class TooManyTags(ValueError):
    """The page would take too long to read."""


def parsed(html: str) -> BeautifulSoup:
    """The tree of a page. By lxml alone: the time of Python's own parser grows with the square of a broken page.

    Raises:
        TooManyTags: it has more than ``MAX_TAGS``.
    """
    if html.count("<") > MAX_TAGS:
        raise TooManyTags
    from bs4 import BeautifulSoup

    # BeautifulSoup warns of text that could be a file's name, and of XML; both are only pages here.
    if "<" not in html:
        return BeautifulSoup(f"<html>{html}", "lxml")
    declaration = _DECLARATION.match(html)
    return BeautifulSoup(html[declaration.end() :] if declaration else html, "lxml")


def bare(html: str) -> str:
    """The text of a short piece of HTML, with blanks where tags were."""
    if "<" not in html:
        return unescape(html).strip()
    return parsed(html).get_text(separator=" ", strip=True)


def to_markdown(html: str) -> str:
    """A page as Markdown; what is no HTML stays as it is.

    Raises:
        TooManyTags: it has more than ``MAX_TAGS``.
    """
    if "<" not in html:
        return html.strip()
    soup = parsed(html)
    for hidden in soup(["script", "style"]):
        hidden.extract()
    main = soup.find("body") or soup
    _settle(main)
    try:
        markdown: str = _converter().convert_soup(main)
        return markdown.strip()
    except RecursionError:  # the converter calls itself for every level of the page
        return main.get_text("\n", strip=True)


@cache
def _converter() -> MarkdownConverter:
    from markdownify import ATX, MarkdownConverter

    class Markdown(MarkdownConverter):
        """Markdown that keeps pictures everywhere, in headings and tables too."""

        def convert_pre(self, el: Any, text: str, parent_tags: Any) -> str:
            """Text as it is, whose blanks may come from many parts of the page."""
            shown: str = super().convert_pre(el, _MANY_BLANKS.sub(r"\1", text), parent_tags)  # type: ignore[misc]
            return shown

        def convert_img(self, el: Any, text: str, parent_tags: Any) -> str:  # noqa: ARG002 - as the converter calls it
            """A picture by its address."""
            alt, title = (str(el.get(name) or "") for name in ("alt", "title"))
            named = ' "{}"'.format(title.replace('"', r"\"")) if title else ""
            return "![{}]({}{})".format(alt.replace("\n", " "), el.get("src") or "", named)

    return Markdown(heading_style=ATX)


def _settle(main: Tag) -> None:
    """Take out of a page what Markdown cannot say."""
    for part in main.find_all(string=_MANY_BLANKS):
        part.replace_with(type(part)(_MANY_BLANKS.sub(r"\1", part)))
    for link in main.find_all("a", href=True):
        href = _address(str(link["href"]))
        if href:
            link["href"] = href
        else:
            link.unwrap()
    for picture in main.find_all("img"):
        source, later = str(picture.get("src") or ""), str(picture.get("data-src") or "")
        if later and (not source or _is_written_out(source)):
            source = later
        # What is written out in the page would fill a model's context.
        picture["src"] = source.partition(",")[0] + "..." if _is_written_out(source) else source
    for box in main.find_all("input", type="checkbox"):
        box.replace_with("[x] " if box.has_attr("checked") else "[ ] ")


def _is_written_out(source: str) -> bool:
    return source[:5].lower() == "data:"


def _address(href: str) -> str:
    """An address in which no character means something to Markdown; "" where it leads to no page."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return ""
    if parts.scheme.lower() not in _FOLLOWED:
        return ""
    return urlunsplit(parts._replace(path=quote(parts.path, safe="/%")))
