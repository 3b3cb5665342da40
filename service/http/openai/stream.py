"""A run as the server-sent events that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Protocol

from flask import Response

from service.domain.errors import DomainError
from service.domain.ports import Event
from service.domain.runs import Running
from service.http.openai.errors import message_of
from service.http.openai.said import Json
from service.http.streaming import Relay, answered, failure_of
from service.json_text import spaced

_PULSE = b": still running\n\n"
#: The only code of OpenAI's that says: not your fault.
_FAILED = "server_error"


class Story(Protocol):
    """Tells a run in one of OpenAI's shapes."""

    def begin(self) -> Iterator[Json]:
        """What comes before the run's first event."""

    def follow(self, event: Event) -> Iterator[Json]:
        """What one event of the run comes to."""

    def fail(self, message: str, code: str) -> Iterator[Json]:
        """What is told of a failure."""


def streamed(running: Running, story: Story, heartbeat: float, *, end: bytes = b"") -> Response:
    """The answer that shows a run while it runs.

    Args:
        running: the run.
        story: tells it.
        heartbeat: seconds of silence after which a comment is sent.
        end: bytes that come after everything.
    """
    return answered(Relay(_told(running, story, end), running.cancel, heartbeat, _PULSE), "text/event-stream")


def _told(running: Running, story: Story, end: bytes) -> Generator[bytes, None, None]:
    try:
        yield from _encoded(story.begin())
        for event in running:
            yield from _encoded(story.follow(event))
    except DomainError as error:
        yield from _encoded(story.fail(message_of(error), _FAILED))
    except Exception as error:
        yield from _encoded(story.fail(failure_of(error)[1], _FAILED))
    finally:
        running.close()
    if end:
        yield end


def _encoded(told: Iterable[Json]) -> Iterator[bytes]:
    for one in told:
        name = f"event: {one['type']}\n" if "type" in one else ""
        yield f"{name}data: {spaced(one)}\n\n".encode("utf-8", "replace")
