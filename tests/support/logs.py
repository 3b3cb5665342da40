"""What was logged, for tests that look for secrets in it."""

from __future__ import annotations

import logging


class Collector(logging.Handler):
    """Keeps records as they were given, before any filter cuts them."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
