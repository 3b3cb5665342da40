"""Bootstrap files: whatever stands in one is applied, or refused with one line that names the entry."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from service import declaration
from service.declaration import DeclarationError
from tests.fuzz.strategies import SOUND_TEXT

ENVIRONMENT = {"PASSWORD": "canary-password-1", "KEY": "canary-value-2", "EMPTY": ""}
REFERENCES = st.sampled_from(["env:PASSWORD", "env:KEY", "env:EMPTY", "env:", "file:/", "file:", "plain-canary"])
NAMES = st.sampled_from(["administrator", "somebody", "", " ", "a\nb"]) | SOUND_TEXT
FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "users": {"username": NAMES, "password": REFERENCES, "is_active": st.booleans(), "is_superuser": st.booleans()},
    "flows": {"user": NAMES, "folder": st.sampled_from(["flows", "nothing", "..", "/"])},
    "variables": {"user": NAMES, "name": NAMES, "value": REFERENCES, "type": SOUND_TEXT,
                  "default_fields": st.lists(SOUND_TEXT, max_size=2)},
    "keys": {
        "user": NAMES, "name": NAMES, "digest": st.sampled_from(["sha256:" + "0" * 64, "sha256:x", ""]),
        "key": REFERENCES, "scopes": st.lists(st.sampled_from(["run", "read", "x"]), max_size=2),
        "flows": st.lists(NAMES, max_size=2), "networks": st.lists(st.sampled_from(["10.0.0.0/8", "x"]), max_size=2),
        "rate": st.sampled_from(["100/60", "0/0", "9999999999/1", "x", "1/99999999"]),
        "parallel": st.integers(-1, 10**30),
        "expires_at": st.dates(), "nonsense": st.none(),
    },
}  # fmt: skip
WRONG = st.integers() | st.booleans() | st.lists(st.integers(), max_size=2) | SOUND_TEXT
OTHER_FLOWS: list[Any] = [{"name": "a"}, {"name": "b", "data": 5}, {"name": "c", "data": {"nodes": 1}}]
_WITH_FLOWS = {"flows": [{"user": "administrator", "folder": "flows"}]}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    """Sections with entries whose fields are the known ones, now and then of the wrong type."""
    found: dict[str, list[dict[str, Any]]] = {}
    for section in draw(st.lists(st.sampled_from(sorted(FIELDS)), unique=True, min_size=1)):
        fields = {name: strategy | WRONG for name, strategy in FIELDS[section].items()}
        entries = st.lists(st.fixed_dictionaries({}, optional=fields), min_size=1, max_size=2)
        found[section] = [{k: v for k, v in entry.items() if v is not None} for entry in draw(entries)]
    return found


def written(document: dict[str, list[dict[str, Any]]]) -> str:
    """The document as TOML; JSON's texts, lists and numbers are TOML's too."""
    lines = []
    for section, entries in document.items():
        for entry in entries:
            lines.append(f"[[{section}]]")
            for name, value in entry.items():
                text = str(value) if hasattr(value, "isoformat") else json.dumps(value).replace("\x7f", "\\u007f")
                lines.append(f"{name} = {text}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def applied(make_lasting: Callable[..., Flask], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], None]:
    own = make_lasting().extensions["keyturn"]
    folder: Path = tmp_path_factory.mktemp("declared")
    (folder / "flows").mkdir()
    for number, body in enumerate(OTHER_FLOWS):
        (folder / "flows" / f"{number}.json").write_text(json.dumps(body))

    def apply(text: str) -> None:
        file = folder / "keyturn.toml"
        file.write_text(text, "utf-8")
        declared = declaration.read(file, ENVIRONMENT)
        with Session(own.engine) as session:
            declaration.apply(session, declared, own.vault, own.hasher, own.key_rules, datetime.now(UTC))
            session.flush()
            session.rollback()

    return apply


@given(documents())
@example(document=_WITH_FLOWS)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_declaration_is_applied_or_refused_in_one_line(applied: Callable[[str], None], document: Any) -> None:
    text = written(document)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    try:
        applied(text)
    except DeclarationError as error:
        assert "canary" not in str(error)


@given(SOUND_TEXT | st.sampled_from(["[users]", "users = 1", "[[users]]\nusername = 1", "a = [" * 500, "\x00"]))
def test_any_text_is_a_declaration_or_refused(applied: Callable[[str], None], text: str) -> None:
    try:
        applied(text)
    except DeclarationError as error:
        assert str(error)
