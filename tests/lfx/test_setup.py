"""Whether lfx can be used is asked at the start; each answer is one line that says what to do."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import URL

from service.adapters import lfx_setup
from service.boot import BootError
from tests.support import lfx


@pytest.fixture
def interpreter() -> Iterator[Callable[[str], Path]]:
    """A program that stands for an interpreter and prints a text, where every user can run it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)

        def make(text: str) -> Path:
            path = Path(folder) / "python"
            path.write_text(f"#!/bin/sh\necho '{text}'\n")
            path.chmod(0o755)
            return path

        yield make


def user() -> str:
    return lfx.place()[1]


def test_an_environment_with_lfx_is_accepted() -> None:
    assert lfx_setup.problem(*lfx.place(), ()) is None


def test_a_path_that_leads_nowhere_stops_the_start(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    with pytest.raises(BootError, match=r"KEYTURN_LFX_PYTHON is /nowhere/python, which .+ cannot run: check"):
        make_app(sqlite_url, lfx_python=Path("/nowhere/python"), lfx_user=user())


def test_an_interpreter_without_lfx_stops_the_start(interpreter: Callable[[str], Path]) -> None:
    found = lfx_setup.problem(interpreter("No module named lfx"), user(), ())
    assert found is not None
    assert "finds no lfx" in found
    assert "-m pip install lfx==" in found


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ('[[3, 9], "1.13.0"]', "Python 3.9"),
        ('[[3, 12], "0.3.0"]', "lfx 0.3.0"),
        ('[[3, 12], "1.130.0"]', "lfx 1.130.0"),
    ],
)
def test_versions_that_do_not_work_stop_the_start(interpreter: Callable[[str], Path], told: str, wanted: str) -> None:
    found = lfx_setup.problem(interpreter(told), user(), ())
    assert found is not None
    assert wanted in found


@pytest.mark.skipif(os.getuid() != 0, reason="only root changes to another user")
def test_a_user_that_does_not_exist_stops_the_start(interpreter: Callable[[str], Path]) -> None:
    found = lfx_setup.problem(interpreter("x"), "nobody-has-this-name", ())
    assert (
        found
        == "KEYTURN_LFX_USER is 'nobody-has-this-name', which is no user of this machine: make one, or name another"
    )


def test_a_machine_without_the_fence_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lfx_setup.fence, "landlock_version", lambda: 0)
    assert "Landlock" in str(lfx_setup.problem(Path("python"), "nobody", ()))
    monkeypatch.setattr(lfx_setup.fence, "landlock_version", lambda: 3)
    assert "KEYTURN_LFX_PORTS needs Linux 6.7" in str(lfx_setup.problem(Path("python"), "nobody", (443,)))


def test_the_engine_can_be_switched_off_where_lfx_is_broken(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    app = make_app(sqlite_url, lfx_python=Path("/nowhere/python"), flow_engine="embedded")
    assert app.extensions["keyturn"].lfx is None
