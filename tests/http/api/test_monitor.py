"""What clients read at start (contract 1.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL

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
