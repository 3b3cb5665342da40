"""Logs: one line an event, on standard error or in a file, and no secret in any of them."""

from __future__ import annotations

import logging
import re
from pathlib import Path

_KEY = re.compile(r"\b(sk|kta|ktr)([-_])[A-Za-z0-9_-]{8,}")


class _Redact(logging.Filter):
    """The last line of defence: whatever looks like a key is cut before it is written."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if _KEY.search(text):
            record.msg, record.args = redacted(text), None
        return True


def redacted(text: str) -> str:
    """Return the text with everything that looks like a key or token cut short."""
    return _KEY.sub(r"\1\2***", text)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def install(level: str, log_file: Path | None = None) -> None:
    """Send the logs of this process to standard error, or to a file."""
    handler: logging.Handler = logging.FileHandler(log_file) if log_file else logging.StreamHandler()
    handler.addFilter(_Redact())
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger("service")
    for former in root.handlers:
        former.close()
    root.handlers, root.propagate = [handler], False
    root.setLevel(level.upper())
