"""What clients read at start (contract 1.2)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL, text

from tests.support.client import Api


@pytest.mark.parametrize("known", [False, True])
def test_the_config_tells_what_is_set_on_this_server(make_app: Callable[..., Flask], sqlite_url: URL,
                                                     known: bool) -> None:  # fmt: skip
    app = make_app(sqlite_url, max_file_size_upload_mb=7, mcp_base_url="https://keyturn.example")
    told = (Api.of_superuser(app) if known else Api(app, None, "")).get("/config").json
    assert (told["max_file_size_upload"], told["mcp_base_url"]) == (7, "https://keyturn.example")


def test_editors_are_told_how_often_to_save(make_app: Callable[..., Flask], sqlite_url: URL) -> None:
    app = make_app(sqlite_url, auto_saving=False, auto_saving_interval=1200)
    told = Api.of_superuser(app).get("/config").json
    assert (told["auto_saving"], told["auto_saving_interval"]) == (False, 1200)


def test_a_stranger_is_told_less(api: Api) -> None:
    stranger: dict[str, Any] = Api(api.app, None, "").get("/config").json
    known = api.get("/config").json
    assert (stranger.pop("type"), known.pop("type")) == ("public", "full")
    assert stranger.items() < known.items()


def test_the_default_project_is_the_one_that_the_config_names(api: Api) -> None:
    assert api.get("/config").json["default_folder_name"] == api.get("/projects/").json[0]["name"]


class TestReady:
    def test_a_server_that_can_serve_says_so(self, shared: Flask) -> None:
        answer = shared.test_client().get("/ready")
        found = {"status": "ready", "database": "ok", "migrations": "ok", "secret": "ok"}
        assert (answer.status_code, answer.json) == (200, found)

    def test_a_database_at_another_version_is_named(self, app: Flask) -> None:
        with app.extensions["keyturn"].engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        answer = app.test_client().get("/ready")
        assert (answer.status_code, answer.json["detail"]["migrations"]) == (503, "other")

    def test_a_secret_that_does_not_fit_is_named(self, app: Flask) -> None:
        with app.extensions["keyturn"].engine.begin() as connection:
            connection.execute(text("UPDATE secret_check SET ciphertext = 'kt1:other:text'"))
        answer = app.test_client().get("/ready")
        assert (answer.status_code, answer.json["detail"]["secret"]) == (503, "other")

    def test_a_database_that_is_away_is_named_and_nothing_else_is_told(
        self, make_app: Callable[..., Flask], sqlite_url: URL
    ) -> None:
        app = make_app(sqlite_url)
        app.extensions["keyturn"].engine.dispose()
        Path(str(sqlite_url.database)).unlink()
        Path(str(sqlite_url.database)).mkdir()
        answer = app.test_client().get("/ready")
        assert (answer.status_code, answer.json["detail"]["database"]) == (503, "away")
        assert "sqlite" not in answer.get_data(as_text=True)
