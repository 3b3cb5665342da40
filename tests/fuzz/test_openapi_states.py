"""The OpenAPI document is true of things that are made, read, changed, used and deleted, on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.fuzz.document import described


@pytest.mark.postgresql
def test_one_request_after_the_other_is_answered_as_the_document_says(
    tmp_path: Path, lasting_postgresql_url: URL
) -> None:
    with described(tmp_path, lasting_postgresql_url) as server:
        server.check(server.key(), "--phases", "stateful", examples=15)


@pytest.mark.postgresql
def test_anything_is_answered_on_postgresql_as_the_document_says(tmp_path: Path, lasting_postgresql_url: URL) -> None:
    with described(tmp_path, lasting_postgresql_url) as server:
        server.check(server.key(), "--phases", "fuzzing", examples=2)
