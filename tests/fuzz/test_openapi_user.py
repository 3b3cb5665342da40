"""The OpenAPI document is true for an ordinary user too."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.document import described


def test_an_ordinary_user_is_answered_as_the_document_says(tmp_path: Path) -> None:
    with described(tmp_path) as server:
        server.check(server.key(superuser=False), "--phases", "fuzzing", examples=3)
