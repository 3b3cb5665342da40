from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from service.adapters.web import GuardedClient
from service.domain.errors import AddressRefused, ComponentFailed
from service.engine import EmbeddedEngine, Outside
from service.engine.component import Services
from tests.engine.conftest import Model, Runs
from tests.support import flows
from tests.support.flows import Json, edge, field, node
from tests.support.site import Page, Site, redirect, site


@pytest.fixture
def pages() -> Iterator[Site]:
    with site() as running:
        yield running


@pytest.fixture
def web(pages: Site, model: Model) -> Runs:
    """Runs that may reach the site, where all services are as well."""
    services = Services(
        f"{pages.url}/html/", f"{pages.url}/news", f"{pages.url}/tavily", f"{pages.url}/search", f"{pages.url}/arxiv"
    )
    return Runs(model, web=GuardedClient([f"127.0.0.1:{pages.port}"]), services=services)


def alone(kind: str, fields: list[Json], output: str) -> Json:
    """A flow of one component and what shows its output."""
    one, end = node(f"{kind}-x", kind, kind, fields, {output: output}), flows.chat_output()
    return flows.flow([one, end], [edge(one, output, end, "input_value")])


def made(runs: Runs, kind: str, fields: list[Json], output: str) -> Any:
    """The value of an output, as a debug run shows it."""
    answer: Any = runs.answer(alone(kind, fields, output), None, output_type="debug", values={"KEY": "tvly-secret"})
    return next(r for r in answer["outputs"] if r["component_id"] == f"{kind}-x")["results"][output]


def url(*addresses: str, **more: Any) -> list[Json]:
    kinds = {bool: "bool", int: "int"}
    extra = [field(name, value, kind=kinds.get(type(value), "str")) for name, value in more.items()]
    return [field("urls", list(addresses), list=True), *extra]


HTML = b'<html lang="en"><head><title>T</title><meta name="description" content="D"></head><body><p>One</p>'


def test_a_page_becomes_a_row(web: Runs, pages: Site) -> None:
    pages.pages["/a"] = Page(HTML + b"<p>Two</p></body></html>")
    row = made(web, "URLComponent", url(f"{pages.url}/a"), "page_results")[0]
    assert (row["url"], row["title"], row["description"]) == (f"{pages.url}/a", "T", "D")
    assert (row["language"], row["content_type"]) == ("en", "text/html")
    assert row["text"].split() == ["TOneTwo"]


def test_a_page_may_be_wanted_as_it_is(web: Runs, pages: Site) -> None:
    pages.pages["/a"] = Page(b"<p>One</p>")
    assert made(web, "URL", url(f"{pages.url}/a", format="HTML"), "raw_results")["text"] == "<p>One</p>"


def test_links_are_followed_to_the_depth_and_not_outside(web: Runs, pages: Site) -> None:
    links = b'<a href="/b">b</a><a href="/a">a</a><a href="http://elsewhere.example/">no</a>'
    pages.pages |= {"/a": Page(links), "/b": Page(b'<a href="/c">c</a>'), "/c": Page(b"deep")}
    rows = made(web, "URLComponent", url(f"{pages.url}/a", max_depth=2), "page_results")
    assert [row["url"].rpartition("/")[2] for row in rows] == ["a", "b"]


def test_a_page_may_be_wanted_as_markdown(web: Runs, pages: Site) -> None:
    pages.pages["/a"] = Page(
        b"<head><title>no</title></head><body><script>no</script><h2>Head <img src='data:image/png;base64,AAAA'></h2>"
        b"<p>One <b>two</b> <a href='/x y'>three</a> <a href='javascript:no()'>four</a></p>"
        b"<input type=checkbox checked>five</body>"
    )
    row = made(web, "URLComponent", url(f"{pages.url}/a", format="Markdown"), "page_results")[0]
    assert row["text"] == ("## Head ![](data:image/png;base64...)\n\nOne **two** [three](/x%20y) four\n\n[x] five")


def test_a_page_too_deep_for_markdown_is_given_as_text(web: Runs, pages: Site) -> None:
    pages.pages["/a"] = Page(b"<div>" * 3000 + b"deep")
    row = made(web, "URLComponent", url(f"{pages.url}/a", format="Markdown"), "page_results")[0]
    assert row["text"] == "deep"


def test_a_page_with_too_many_tags_is_not_read(web: Runs, pages: Site) -> None:
    pages.pages["/a"] = Page(b"<p>" * 200_001)
    with pytest.raises(ComponentFailed, match="more than 200000 tags"):
        made(web, "URLComponent", url(f"{pages.url}/a"), "page_results")


@pytest.mark.parametrize("text", ["plain.txt", "http://a.example/", "<?xml version='1.0'?><feed>plain</feed>"])
def test_what_is_no_html_is_a_page_as_well(web: Runs, pages: Site, text: str) -> None:
    pages.pages["/a"] = Page(text.encode(), kind="text/plain")
    row = made(web, "URLComponent", url(f"{pages.url}/a"), "page_results")[0]
    assert row["text"] == text.removeprefix("<?xml version='1.0'?><feed>").removesuffix("</feed>")


def test_a_page_goes_by_the_address_that_it_was_found_at(web: Runs, pages: Site) -> None:
    pages.pages |= {"/old": redirect("/new"), "/new": Page(b'<a href="/new">again</a>')}
    rows = made(web, "URLComponent", url(f"{pages.url}/old", max_depth=2), "page_results")
    assert [row["url"] for row in rows] == [f"{pages.url}/new"]


@pytest.fixture
def elsewhere(web: Runs, pages: Site) -> Iterator[Site]:
    """Another site that the runs may reach too."""
    with site() as other:
        client = GuardedClient([f"127.0.0.1:{pages.port}", f"127.0.0.1:{other.port}"])
        web.engine = EmbeddedEngine(Outside(web.providers, web=client))
        yield other


def test_links_stay_on_the_site_of_the_first_address(web: Runs, pages: Site, elsewhere: Site) -> None:
    pages.pages["/a"] = redirect(f"{elsewhere.url}/a")
    elsewhere.pages |= {"/a": Page(b'<a href="/b">b</a>'), "/b": Page(b"there")}
    rows = made(web, "URLComponent", url(f"{pages.url}/a", max_depth=2), "page_results")
    assert [row["text"] for row in rows] == ["b"]


ROWS = [{"key": "Authorization", "value": "Bearer author"}, {"key": "Accept", "value": "text/x"}]
STORED_HEADERS = field("headers", ROWS, kind="table")


def test_stored_headers_go_to_the_stored_site_and_to_no_other(web: Runs, pages: Site, elsewhere: Site) -> None:
    pages.pages |= {"/a": Page(f'<a href="{elsewhere.url}/c">c</a><a href="/b">b</a>'.encode()), "/b": Page(b"b")}
    elsewhere.pages["/c"] = Page(b"c")
    fields = [*url(f"{pages.url}/a", max_depth=2, prevent_outside=False), STORED_HEADERS]
    rows = made(web, "URLComponent", fields, "page_results")
    assert [row["text"] for row in rows] == ["cb", "c", "b"]
    assert [asked.headers["authorization"] for asked in pages.asked] == ["Bearer author"] * 2
    assert [(asked.headers.get("authorization"), asked.headers["accept"]) for asked in elsewhere.asked] == [
        (None, "text/x")
    ]


def test_stored_headers_do_not_follow_addresses_that_an_edge_brings(web: Runs, pages: Site) -> None:
    pages.pages["/a"] = Page(b"a")
    start, end = flows.chat_input(), flows.chat_output()
    one = node("URL-x", "URLComponent", "URL", [*url(pages.url), STORED_HEADERS], {"page_results": "fetch_content"})
    edges = [edge(start, "message", one, "urls"), edge(one, "page_results", end, "input_value")]
    web.text(flows.flow([start, one, end], edges), f"{pages.url}/a")
    assert "authorization" not in pages.asked[0].headers


def test_stored_headers_go_where_the_owners_variable_leads(web: Runs, pages: Site) -> None:
    pages.pages["/a"] = Page(b"a")
    fields = [field("urls", "SITE", load_from_db=True), STORED_HEADERS]
    web.events(alone("URLComponent", fields, "page_results"), values={"SITE": f"{pages.url}/a"})
    assert pages.asked[0].headers["authorization"] == "Bearer author"


@pytest.mark.parametrize(("stored", "sent"), [("", None), ("/other", "Bearer author")])
def test_stored_headers_go_where_a_model_wants_only_if_that_is_the_stored_site(
    web: Runs, model: Model, pages: Site, stored: str, sent: str | None
) -> None:
    from tests.engine.components.test_agents import agent, call, chat

    pages.pages["/a"] = Page(b"a")
    addresses = url(f"{pages.url}{stored}" if stored else "http://a.example/")
    fields = [*addresses, STORED_HEADERS]
    tool = node("URLComponent-u", "URLComponent", "URL", fields, {"component_as_tool": "to_toolkit"})
    model.script.extend([(call("fetch_content", json.dumps({"urls": [f"{pages.url}/a"]})),), "done"])
    web.text(chat(agent(), tool))
    assert pages.asked[0].headers.get("authorization") == sent


def test_the_links_of_a_page_come_before_its_neighbours(web: Runs, pages: Site) -> None:
    pages.pages |= {"/a": Page(b'<a href="/b">b</a><a href="/c">c</a>'), "/b": Page(b'<a href="/d">d</a>'),
                    "/c": Page(b"end"), "/d": Page(b"deep")}  # fmt: skip
    rows = made(web, "URLComponent", url(f"{pages.url}/a", max_depth=3), "page_results")
    assert [row["url"].rpartition("/")[2] for row in rows] == ["a", "b", "d", "c"]


def test_a_stylesheet_is_no_page(web: Runs, pages: Site) -> None:
    pages.pages |= {"/css": Page(b"p{}", kind="text/css"), "/a": Page(b"text")}
    rows = made(web, "URLComponent", url(f"{pages.url}/css", f"{pages.url}/a"), "page_results")
    assert [row["text"] for row in rows] == ["text"]


def test_one_address_that_fails_does_not_spoil_the_others(web: Runs, pages: Site) -> None:
    pages.pages["/a"] = Page(b"text")
    addresses = url("http://10.0.0.1/", f"{pages.url}/a")
    assert [row["text"] for row in made(web, "URLComponent", addresses, "page_results")] == ["text"]


def test_one_address_that_fails_is_enough_where_the_author_wants_it_so(web: Runs, pages: Site) -> None:
    pages.pages["/a"] = Page(b"text")
    addresses = url(f"{pages.url}/a", "http://10.0.0.1/", continue_on_failure=False)
    with pytest.raises(AddressRefused):
        made(web, "URLComponent", addresses, "page_results")


def test_an_address_that_flows_may_not_reach_fails_the_component(web: Runs) -> None:
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
        made(web, "URLComponent", url("http://10.0.0.1/"), "page_results")


def test_a_page_that_leads_to_a_private_address_fails_the_component(web: Runs, pages: Site) -> None:
    pages.pages["/a"] = redirect("http://169.254.169.254/latest/")
    with pytest.raises(AddressRefused):
        made(web, "URLComponent", url(f"{pages.url}/a"), "page_results")


def test_a_server_without_a_way_out_says_so(runs: Runs) -> None:
    with pytest.raises(ComponentFailed, match="does not let flows reach"):
        made(runs, "URLComponent", url("http://example.com/"), "page_results")


def test_no_address_is_told(web: Runs) -> None:
    with pytest.raises(ComponentFailed, match="No valid URLs"):
        made(web, "URLComponent", url(" "), "page_results")


def test_an_api_is_asked_with_method_headers_query_and_body(web: Runs, pages: Site) -> None:
    pages.pages["/api"] = Page(b'{"ok": true}', 201, "application/json")
    rows = [{"key": "X-Mine", "value": "1"}]
    fields = [field("url_input", f"{pages.url}/api"), field("method", "POST"), field("headers", rows, kind="table"),
              field("query_params", {"a": "b"}, kind="dict"),
              field("body", [{"key": "n", "value": "1"}], kind="table")]  # fmt: skip
    data = made(web, "APIRequest", fields, "data")["data"]
    assert (data["status_code"], data["result"]) == (201, {"ok": True})
    asked = pages.asked[0]
    assert (asked.method, asked.path, asked.headers["x-mine"], json.loads(asked.body)) == (
        "POST", "/api?a=b", "1", {"n": 1},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ([], {}),
        ([{"key": "a", "value": "[1]"}, {"key": "b", "value": "x"}], {"a": [1], "b": "x"}),
        ({"a": "1", "b": {"c": "2"}}, {"a": 1, "b": {"c": "2"}}),
        ("plain", {"data": "plain"}),
    ],
)
def test_a_body_is_an_object_whose_texts_may_be_json(web: Runs, pages: Site, body: object, sent: object) -> None:
    pages.pages["/api"] = Page(b"{}")
    fields = [field("url_input", f"{pages.url}/api"), field("method", "DELETE"), field("body", body, kind="table")]
    made(web, "APIRequest", fields, "data")
    assert (json.loads(pages.asked[0].body), pages.asked[0].headers["content-type"]) == (sent, "application/json")


def test_an_answer_that_does_not_come_is_told_in_the_record(web: Runs, pages: Site) -> None:
    pages.pages["/api"] = Page(act=lambda handler: handler.wfile.write(b"no http\r\n") and None)
    rows = [{"key": "X-A", "value": "1"}, {"key": "Authorization", "value": "Bearer canary"}]
    fields = [field("url_input", f"{pages.url}/api"), field("headers", rows, kind="table")]
    assert made(web, "APIRequest", fields, "data")["data"] == {
        "source": f"{pages.url}/api", "status_code": 500, "headers": {"X-A": "***", "Authorization": "***"},
        "error": "127.0.0.1 gave no usable answer (BadStatusLine).",
    }  # fmt: skip


def test_an_api_that_flows_may_not_reach_fails_the_component(web: Runs) -> None:
    with pytest.raises(AddressRefused, match="API"):
        made(web, "APIRequest", [field("url_input", "http://10.0.0.1/")], "data")


@pytest.mark.parametrize("name", ["x-api-key", "x-session", "x-pass"])
def test_of_the_headers_only_harmless_ones_are_shown(web: Runs, pages: Site, name: str) -> None:
    pages.pages["/api"] = Page(b"{}")
    rows = [{"key": name, "value": "canary"}, {"key": "Accept", "value": "text/html"}]
    fields = [field("url_input", f"{pages.url}/api"), field("headers", rows, kind="table"),
              field("include_httpx_metadata", True, kind="bool")]  # fmt: skip
    headers = made(web, "APIRequest", fields, "data")["data"]["headers"]
    assert headers == {name: "***", "Accept": "text/html"}
    assert pages.asked[0].headers[name] == "canary"


def test_the_credentials_of_a_curl_command_are_sent(web: Runs, pages: Site) -> None:
    pages.pages["/api"] = Page(b"{}")
    command = f"curl -u me:pass -b a=1 -A mine {pages.url}/api"
    made(web, "APIRequest", [field("mode", "cURL"), field("curl_input", command)], "data")
    sent = pages.asked[0].headers
    assert (sent["authorization"], sent["cookie"], sent["user-agent"]) == ("Basic bWU6cGFzcw==", "a=1", "mine")


def test_a_curl_command_is_read_and_not_run(web: Runs, pages: Site) -> None:
    pages.pages["/api"] = Page(b"plain", kind="text/plain")
    command = f"curl -X PUT '{pages.url}/api' -H 'X-A: $(touch x)' --data '{{\"a\": [1]}}'"
    data = made(web, "APIRequest", [field("mode", "cURL"), field("curl_input", command)], "data")["data"]
    assert data["result"] == "plain"
    asked = pages.asked[0]
    assert (asked.method, asked.headers["x-a"], json.loads(asked.body)) == ("PUT", "$(touch x)", {"a": [1]})


@pytest.mark.parametrize(
    "command",
    [
        "wget http://a",
        "curl",
        "curl -o /etc/passwd http://a",
        "curl --config x http://a",
        "curl 'http://a",
        "curl -d @/etc/passwd http://a",
        "curl http://a -X",
        "curl -k http://a",
        "curl -x http://p http://a",
    ],
)
def test_a_curl_command_with_anything_else_in_it_is_refused(web: Runs, command: str) -> None:
    with pytest.raises(ComponentFailed, match="curl command cannot be read"):
        made(web, "APIRequest", [field("mode", "cURL"), field("curl_input", command)], "data")


def test_saving_to_a_file_of_the_server_is_refused(web: Runs, pages: Site) -> None:
    fields = [field("url_input", pages.url), field("save_to_file", True, kind="bool")]
    with pytest.raises(ComponentFailed, match="not possible here"):
        made(web, "APIRequest", fields, "data")


def test_a_redirect_of_an_api_is_told(web: Runs, pages: Site) -> None:
    pages.pages |= {"/a": redirect("/b"), "/b": Page(b"{}")}
    data = made(web, "APIRequest", [field("url_input", f"{pages.url}/a")], "data")["data"]
    assert data["redirection_history"] == [{"url": "/b", "status_code": 302}]


RESULT = (
    '<div class="result"><a class="result__a" href="//duckduckgo.com/l/?uddg={link}">A title</a>'
    '<a class="result__snippet">A snippet</a></div>'
)


def test_a_web_search_reads_the_results_and_their_pages(web: Runs, pages: Site) -> None:
    link = f"{pages.url}/found".replace(":", "%3A").replace("/", "%2F")
    pages.pages |= {"/html/": Page((RESULT.format(link=link) * 3).encode()), "/found": Page(b"<p>The</p><p>page</p>")}
    fields = [field("query", "  <what> is it? "), field("max_results", 2, kind="int")]
    rows = made(web, "UnifiedWebSearch", fields, "results")
    expected = {"title": "A title", "link": f"{pages.url}/found", "snippet": "A snippet", "content": "The page"}
    assert rows == [expected, expected]
    assert pages.asked[0].path == "/html/?q=what+is+it%3F&kl=us-en"


def test_a_found_page_that_cannot_be_had_does_not_spoil_the_search(web: Runs, pages: Site) -> None:
    pages.pages["/html/"] = Page(RESULT.format(link="http%3A%2F%2F10.0.0.1%2F").encode())
    row = made(web, "UnifiedWebSearch", [field("query", "x")], "results")[0]
    assert row["content"].startswith("(Failed to fetch: The host 10.0.0.1 is not one")


FEED = (
    b"<rss><channel><item><title>A &lt;b&gt;title&lt;/b&gt;</title><link>l</link><pubDate>p</pubDate></item>"
    b"</channel></rss>"
)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"query": "ada", "search_mode": "News"}, "/news/search?q=ada&hl=en-US&gl=US&ceid=US%3Aen"),
        (
            {"topic": "World", "search_mode": "News"},
            "/news/headlines/section/topic/WORLD?hl=en-US&gl=US&ceid=US%3Aen",
        ),
        ({"location": "Rome", "search_mode": "News"}, "/news/headlines/section/geo/Rome?hl=en-US&gl=US&ceid=US%3Aen"),
    ],
)
def test_news_come_from_a_feed(web: Runs, pages: Site, fields: dict[str, str], path: str) -> None:
    pages.pages[path.partition("?")[0]] = Page(FEED, kind="application/xml")
    rows = made(web, "UnifiedWebSearch", [field(n, v) for n, v in fields.items()], "results")
    assert rows == [{"title": "A title", "link": "l", "published": "p", "summary": ""}]
    assert pages.asked[0].path == path


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><rss>&b;</rss>'
OUTSIDE = b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><rss>&f;</rss>'


def rss(pages: Site, content: bytes, **more: Any) -> list[Json]:
    """The fields of a search that reads a feed with this content."""
    pages.pages["/feed"] = Page(content, kind="application/xml")
    limits = [field(name, value, kind="int") for name, value in more.items()]
    return [field("query", f"{pages.url}/feed"), field("search_mode", "RSS"), *limits]


@pytest.mark.parametrize("content", [BOMB, OUTSIDE, b"<html>"])
def test_xml_with_entities_of_its_own_is_not_read(web: Runs, pages: Site, content: bytes) -> None:
    rows = made(web, "UnifiedWebSearch", rss(pages, content), "results")
    assert rows == [
        {"title": "Error", "link": "", "published": "", "summary": "The answer is not XML that can be read."}
    ]


def items(*titles: str) -> bytes:
    return f"<rss>{''.join(f'<item><title>{title}</title></item>' for title in titles)}</rss>".encode()


def test_a_feed_gives_its_entries_as_they_are(web: Runs, pages: Site) -> None:
    rows = made(web, "UnifiedWebSearch", rss(pages, FEED), "results")
    assert rows == [{"title": "A <b>title</b>", "link": "l", "published": "p", "summary": ""}]


def test_a_feed_without_entries_gives_no_rows(web: Runs, pages: Site) -> None:
    assert made(web, "UnifiedWebSearch", rss(pages, b"<rss/>"), "results") == []


def test_a_feed_that_is_not_there_is_a_row_that_says_so(web: Runs, pages: Site) -> None:
    fields = [field("query", f"{pages.url}/none"), field("search_mode", "RSS")]
    assert made(web, "UnifiedWebSearch", fields, "results")[0]["summary"] == "The feed answered 404."


@pytest.mark.parametrize(("most", "count"), [(2, 2), (0, 7), (-1, 5)])
def test_a_search_gives_as_many_rows_as_wanted(web: Runs, pages: Site, most: int, count: int) -> None:
    fields = rss(pages, items(*"abcdefg"), max_results=most)
    assert len(made(web, "UnifiedWebSearch", fields, "results")) == count


def test_the_older_nodes_know_no_limits(web: Runs, pages: Site) -> None:
    pages.pages["/feed"] = Page(items("x" * 3000, *"bcdefg"), kind="application/xml")
    rows = made(web, "RSSReaderSimple", [field("rss_url", f"{pages.url}/feed")], "articles")
    assert (len(rows), len(rows[0]["title"])) == (7, 3000)


@pytest.mark.parametrize(("most", "title"), [(20, "01234... [truncated]"), (3, "01…")])
def test_a_text_that_is_cut_says_so(web: Runs, pages: Site, most: int, title: str) -> None:
    fields = rss(pages, items("0123456789012345678901234"), max_content_length=most)
    assert made(web, "UnifiedWebSearch", fields, "results")[0]["title"] == title


def test_tavily_is_asked_with_the_key_in_the_body(web: Runs, pages: Site) -> None:
    found = {"answer": "yes", "results": [{"title": "T", "url": "u", "content": "c", "score": 0.5}], "images": ["i"]}
    pages.pages["/tavily"] = Page(json.dumps(found).encode(), kind="application/json")
    key = field("api_key", "KEY", load_from_db=True, password=True)
    rows = made(web, "TavilySearchComponent", [key, field("query", "q"), field("include_domains", "a.org, b.org")],
                "dataframe")  # fmt: skip
    assert [row["text"] for row in rows] == ["yes", "c", "Images found"]
    sent = json.loads(pages.asked[0].body)
    assert (sent["api_key"], sent["query"], sent["include_domains"]) == ("tvly-secret", "q", ["a.org", "b.org"])


def test_a_service_that_refuses_is_told_without_the_key(web: Runs, pages: Site) -> None:
    pages.pages["/tavily"] = Page(b"the key tvly-secret is bad", 401)
    key = field("api_key", "KEY", load_from_db=True, password=True)
    rows = made(web, "TavilySearchComponent", [key, field("query", "q")], "dataframe")
    assert rows == [{"error": "The service answered 401.", "text": "The service answered 401."}]


def test_searchapi_gets_its_key_in_a_header(web: Runs, pages: Site) -> None:
    found = {"organic_results": [{"title": "T" * 200, "link": "l", "snippet": "s"}]}
    pages.pages["/search"] = Page(json.dumps(found).encode(), kind="application/json")
    key = field("api_key", "KEY", load_from_db=True, password=True)
    rows = made(web, "SearchComponent", [key, field("input_value", "q q"), field("engine", "bing")], "dataframe")
    assert rows == [{"title": "T" * 100, "link": "l", "snippet": "s", "text": "s"}]
    assert (pages.asked[0].path, pages.asked[0].headers["authorization"]) == (
        "/search?engine=bing&q=q+q", "Bearer tvly-secret",
    )  # fmt: skip


ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom" xmlns:arxiv="http://arxiv.org/schemas/atom"><entry>
<id>i</id><title>T</title><summary> S </summary><author><name>Ada</name></author>
<link rel="alternate" href="a"/><link rel="related" href="p"/><arxiv:primary_category term="cs.AI"/>
<category term="cs.AI"/></entry></feed>"""


def test_arxiv_gives_papers(web: Runs, pages: Site) -> None:
    pages.pages["/arxiv"] = Page(ATOM, kind="application/atom+xml")
    fields = [field("search_query", "a b"), field("search_type", "ti"), field("max_results", 3, kind="int")]
    row = made(web, "ArXivComponent", fields, "dataframe")[0]
    assert (row["title"], row["summary"], row["authors"], row["pdf_url"]) == ("T", "S", ["Ada"], "p")
    assert (row["primary_category"], row["comment"]) == ("cs.AI", None)
    assert pages.asked[0].path == "/arxiv?search_query=ti%3Aa%20b&max_results=3"


def test_a_service_that_is_not_there_is_told(model: Model) -> None:
    runs = Runs(model, web=GuardedClient(["127.0.0.1:9"]), services=Services(arxiv="http://127.0.0.1:9/"))
    rows = made(runs, "ArXivComponent", [field("search_query", "x")], "dataframe")
    assert rows == [{"error": "Request error: 127.0.0.1 gave no usable answer (NewConnectionError)."}]


def test_an_agent_reaches_the_web_through_the_same_door(web: Runs, model: Model) -> None:
    from tests.engine.components.test_agents import agent, call, chat

    tool = node("URLComponent-u", "URLComponent", "URL", [field("urls", [], list=True)], {
        "component_as_tool": "to_toolkit",
    })  # fmt: skip
    model.script.extend([(call("fetch_content", '{"urls": ["http://169.254.169.254/latest/"]}'),), "no"])
    assert web.text(chat(agent(), tool)) == "no"
    assert "is not one that flows of this server may reach" in model.asked[1].messages[-1].text


def test_a_page_that_is_slow_is_told_to_the_agent_and_ends_nothing(web: Runs, pages: Site, model: Model) -> None:
    from tests.engine.components.test_agents import agent, call, chat

    pages.go_on.clear()
    pages.pages["/slow"] = Page(act=lambda handler: pages.go_on.wait(30) and None)
    tool = node("URLComponent-u", "URLComponent", "URL", [*url(timeout=1)], {"component_as_tool": "to_toolkit"})
    model.script.extend([(call("fetch_content", json.dumps({"urls": [f"{pages.url}/slow"]})),), "no"])
    assert web.text(chat(agent(), tool)) == "no"
    assert model.asked[1].messages[-1].text == "127.0.0.1 did not answer in time."


def asking(pages: Site, stored: str) -> Json:
    """An agent with an API Request that has stored secrets, and an address or none."""
    from tests.engine.components.test_agents import agent, chat

    rows = [{"key": "Authorization", "value": "Bearer author"}, {"key": "Accept", "value": "text/plain"}]
    fields = [field("url_input", stored), field("method", "POST"), field("headers", rows, kind="table"),
              field("query_params", {"api_key": "author"}, kind="dict"),
              field("body", [{"key": "password", "value": "author"}], kind="table")]  # fmt: skip
    return chat(
        agent(), node("APIRequest-a", "APIRequest", "API Request", fields, {"component_as_tool": "to_toolkit"})
    )


@pytest.mark.parametrize("stored", ["", "https://api.example/v1", "http://127.0.0.1:1/"])
def test_what_the_author_stored_does_not_follow_an_address_that_a_model_chose(
    web: Runs, model: Model, pages: Site, stored: str
) -> None:
    from tests.engine.components.test_agents import call

    pages.pages["/evil"] = Page(b"{}")
    model.script.extend([(call("make_api_request", json.dumps({"url_input": f"{pages.url}/evil"})),), "done"])
    web.text(asking(pages, stored))
    asked = pages.asked[0]
    assert "author" not in f"{asked.path} {asked.headers} {asked.body!r}"
    assert asked.headers["accept"] == "text/plain"


def test_what_the_author_stored_goes_to_the_stored_origin(web: Runs, model: Model, pages: Site) -> None:
    from tests.engine.components.test_agents import call

    pages.pages["/users"] = Page(b"{}")
    model.script.extend([(call("make_api_request", json.dumps({"url_input": f"{pages.url}/users"})),), "done"])
    web.text(asking(pages, f"{pages.url}/anything"))
    asked = pages.asked[0]
    assert (asked.path, asked.headers["authorization"], json.loads(asked.body)) == (
        "/users?api_key=author", "Bearer author", {"password": "author"},
    )  # fmt: skip
