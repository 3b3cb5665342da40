"""The documents say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from service.domain.permissions import ROUTES
from service.domain.policy import TABLE, Kind, Outcome
from service.engine.catalogue import CATALOGUE
from service.http.rules import RULES
from service.settings import KNOWN_NAMES
from tests.support.server import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAME = re.compile(r"`((?:LANGFLOW|KEYTURN)_[A-Z_]+)")


def test_the_settings_page_lists_every_setting_and_no_other() -> None:
    rows = [line for line in (ROOT / "docs" / "settings.md").read_text().splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in NAME.findall(row.split("|")[1])}
    assert listed == KNOWN_NAMES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    named = {name for name in NAME.findall(page.read_text()) if not name.endswith("_")}
    assert named - KNOWN_NAMES == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_test_that_the_page_of_faults_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "reliability.md").read_text())
    code = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert [name for name in named if f"def {name}(" not in code] == []


def test_the_components_page_lists_the_registry() -> None:
    rows = [line.split("|") for line in (ROOT / "docs" / "components.md").read_text().splitlines()]
    rows = [row for row in rows if len(row) == 6 and row[1].startswith(" `")]
    listed = {name: (row[3], row[4]) for row in rows for name in re.findall(r"`([^`]+)`", row[1])}
    assert listed.keys() == CATALOGUE.keys()
    for name, (outputs, tool) in listed.items():
        component = CATALOGUE[name]
        assert re.findall(r"`([^`]+)`", outputs) == [output.name for output in component.outputs], name
        assert re.findall(r"`([^`]+)`", tool) == [item.name for item in component.fields if item.tool is not None], (
            name
        )


def test_the_page_of_keys_lists_the_scope_of_every_route() -> None:
    rows = [line.split("|") for line in (ROOT / "docs" / "keys.md").read_text().splitlines()]
    listed = {
        endpoint: row[1].strip().strip("`")
        for row in rows
        if len(row) == 4
        for endpoint in re.findall(r"`([a-z0-9_]+\.[a-z_]+)`", row[2])
    }
    assert listed == {endpoint: scope.value if scope else "none" for endpoint, scope in ROUTES.items()
                      if RULES[endpoint] is not Kind.PUBLIC}  # fmt: skip


def test_the_policy_page_has_the_table_of_the_code() -> None:
    words = {
        Outcome.SUPERUSER: "as the superuser",
        Outcome.SUPERUSER_DEPRECATED: "as the superuser, with a `Warning` header",
        Outcome.REFUSE: "403",
        Outcome.REFUSE_KEY_NEEDED: "403, a key is needed since 1.5",
        Outcome.ANONYMOUS: "public flows",
    }
    flag = {True: "true", False: "false", None: "any"}
    rows = [
        f"| {row.era.value} | {flag[row.auto_login]} | {flag[row.skip_auth_auto_login]} | {words[row.api]} "
        f"| {words[row.mcp]} |"
        for row in TABLE
    ]
    page = (ROOT / "docs" / "policy.md").read_text().splitlines()
    assert [line for line in page if line.startswith(("| <", "| >"))] == rows


def test_the_page_of_clients_has_each_client_in_the_version_that_is_tested() -> None:
    places = ROOT / "tests" / "clients"
    pins = [line for file in places.glob("*/requirements.txt") for line in file.read_text().split() if "==" in line]
    tested = {tuple(pin.split("==")) for pin in pins}
    for file in places.glob("*/package.json"):
        tested |= set(json.loads(file.read_text())["dependencies"].items())
    rows = [line.split("|") for line in (ROOT / "docs" / "clients.md").read_text().splitlines()]
    listed = {(name, row[2].strip()) for row in rows if len(row) == 6 for name in re.findall(r"`([^`]+)`", row[1])}
    assert tested == listed
