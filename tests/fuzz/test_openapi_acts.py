"""The OpenAPI document is true of everything else, for a superuser, on SQLite."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.document import described
from tests.fuzz.test_openapi import THINGS


def test_whatever_can_be_done_is_as_the_document_says(tmp_path: Path) -> None:
    tags = [option for tag in THINGS for option in ("--exclude-tag", tag)]
    with described(tmp_path) as server:
        server.check(server.key(), "--phases", "examples,coverage,fuzzing", *tags, examples=3)
