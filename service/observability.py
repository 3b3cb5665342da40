"""Logs: one line an event, on standard error or in a file, and no secret in any of them."""

from __future__ import annotations

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

_KEY = re.compile(r"\b(sk|kta|ktr)([-_])[A-Za-z0-9_-]{8,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

#: The id of the request that this thread works on; empty outside of requests.
request_id: ContextVar[str] = ContextVar("request_id", default="")


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


class _Plain(logging.Formatter):
    """A line for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        # What a caller sends must not look like a line of its own, or steer the operator's terminal.
        record.message = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        current = request_id.get()
        return redacted(super().format(record)) + (f" [{current}]" if current else "")


class _Json(logging.Formatter):
    """A line for programs: an object with the fields that a record brings in ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id.get():
            line["request_id"] = current
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redacted(json.dumps(line, ensure_ascii=False))


def formatter(*, as_json: bool) -> logging.Formatter:
    """What makes lines of records, without keys and tokens."""
    return _Json() if as_json else _Plain()


def install(level: str, log_file: Path | None = None, *, as_json: bool = False) -> None:
    """Send the logs of this process to standard error, or to a file."""
    handler: logging.Handler = logging.FileHandler(log_file) if log_file else logging.StreamHandler()
    handler.addFilter(_Redact())
    handler.setFormatter(formatter(as_json=as_json))
    root = logging.getLogger("service")
    for former in root.handlers:
        former.close()
    root.handlers, root.propagate = [handler], False
    root.setLevel(level.upper())
