"""``python -m tests.faults.half_way URL FOLDER TEXT``: prepares a database, and stops for ever at a statement."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, make_url

from service import boot
from service.settings import Settings
from tests.conftest import PASSWORD, SECRET, SUPERUSER


def main(url: str, folder: str, text: str) -> None:
    """Say ``here`` on the way to the first statement with the text in it."""

    def stop(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if text in statement:
            print("here", flush=True)
            threading.Event().wait()

    event.listen(Engine, "before_cursor_execute", stop)
    boot.prepare(
        Settings(
            config_dir=Path(folder), database_url=make_url(url), secret_key=SECRET, superuser=SUPERUSER,
            superuser_password=PASSWORD,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
