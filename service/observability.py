"""Logs: one line an event, on standard error or in a file, and no secret in any of them."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from time import monotonic

_KEY = re.compile(r"\b(sk|kta|ktr)([-_])[A-Za-z0-9_-]{8,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

#: Seconds between two lines about what goes on failing.
OUTAGE_LINE_SECONDS = 60.0

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


class Outage:
    """Something that fails for a while, in few lines: the first failure, a count once a minute, and the end.

    Args:
        log: where to write.
        level: of the lines.
        clock: seconds that only grow.
    """

    def __init__(
        self, log: logging.Logger, level: int = logging.WARNING, clock: Callable[[], float] = monotonic
    ) -> None:
        self._log, self._level, self._clock = log, level, clock
        self._lock = Lock()
        self._failures, self._is_told, self._quiet_until = 0, False, float("-inf")

    @property
    def is_on(self) -> bool:
        """True from a failure until it goes well again."""
        return self._failures > 0

    def failed(self, text: str, *arguments: object) -> None:
        """Note one failure; the arguments are put into the text as ``logging`` does it."""
        with self._lock:
            self._failures += 1
            count, now = self._failures, self._clock()
            # Also between two outages: what fails each second time must not fill the log either.
            if now < self._quiet_until:
                return
            self._quiet_until, self._is_told = now + OUTAGE_LINE_SECONDS, True
        self._log.log(self._level, text + (f", {count} times so far" if count > 1 else ""), *arguments)

    def over(self, text: str) -> None:
        """Note that it goes well; says so when it was told that it did not."""
        if not self._failures:
            return
        with self._lock:
            count, is_told = self._failures, self._is_told
            self._failures, self._is_told = 0, False
        if count and is_told:
            self._log.log(self._level, "%s, after %d failures", text, count)


class _Steady(logging.StreamHandler):  # type: ignore[type-arg]
    """Lets nobody's request fail for a line that cannot be written, and does not tell of each of them."""

    _quiet_until = float("-inf")

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        now, reason = monotonic(), sys.exc_info()[1]
        if now < self._quiet_until:
            return
        self._quiet_until = now + OUTAGE_LINE_SECONDS
        with suppress(OSError, ValueError):
            print(f"keyturn: the log cannot be written ({reason})", file=sys.stderr, flush=True)


class _SteadyFile(_Steady, logging.FileHandler):
    """The same in a file."""


def formatter(*, as_json: bool) -> logging.Formatter:
    """What makes lines of records, without keys and tokens."""
    return _Json() if as_json else _Plain()


def install(level: str, log_file: Path | None = None, *, as_json: bool = False) -> None:
    """Send the logs of this process to standard error, or to a file.

    Raises:
        OSError: the file cannot be opened.
    """
    handler: logging.Handler = _SteadyFile(log_file) if log_file else _Steady()
    handler.addFilter(_Redact())
    handler.setFormatter(formatter(as_json=as_json))
    root = logging.getLogger("service")
    for former in root.handlers:
        with suppress(OSError):  # what it could not write goes with it
            former.close()
    root.handlers, root.propagate = [handler], False
    root.setLevel(level.upper())
