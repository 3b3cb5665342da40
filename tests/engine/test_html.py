from __future__ import annotations

import time

import pytest

from service.engine import html

BLANKS = {
    "within": "<a>" + " " * 40_000 + "x",
    "before": " " * 40_000 + "<a>x",
    "preformatted": "<pre>a" + "\n" * 40_000 + "x",
    "written out": "<p>" + "&#32;" * 40_000 + "x",
    "in parts": "<pre>a" + (" " * 50 + "<!-- -->") * 800 + "x",
}


@pytest.mark.parametrize("page", BLANKS.values(), ids=BLANKS.keys())
def test_the_blanks_of_a_page_cost_no_more_than_reading_it(page: str) -> None:
    start = time.process_time()
    html.parsed(page)
    html.to_markdown(page)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("broken", ["<!--", "<a ", "<a x='", "<![", "</", "<?"])
def test_broken_html_costs_no_more_as_markdown_than_as_text(broken: str) -> None:
    start = time.process_time()
    html.to_markdown(broken * 10_000)
    html.bare(broken * 10_000)
    assert time.process_time() - start < 4


def test_a_declaration_is_no_part_of_a_page() -> None:
    assert html.parsed("\n<?xml version='1.0'?><p>One</p>").get_text() == "One"
