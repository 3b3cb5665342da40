"""What another process says about a run, looked at before it is used: any of it may have been made up.

A component of the flow may have written it, so nothing is taken for a message, a result or a name of this server's
unless it has the shape of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from service.chance import new_id
from service.domain.errors import ComponentFailed, EngineFailed, RunFailed
from service.domain.ports import StoredMessage, TokenUsage
from service.engine.graph import Graph
from service.instants import in_utc

Json = dict[str, Any]
_WORD = re.compile(r"[A-Za-z_][\w.]{0,79}")
_PLACE = re.compile(r"[\w<>]{1,80}:\d{1,9}")


def failure(said: object, graph: Graph) -> tuple[RunFailed, str]:
    """The error that a ``failed`` line tells of, and a line about it for the log."""
    told = _mapping(said)
    if told.get("kind") == "memory":
        return EngineFailed(EngineFailed.MEMORY), "a run of lfx had too little memory"
    kind = _matching(_WORD, told.get("type"), "Exception")
    missing = _matching(_WORD, told.get("missing"), "")
    kind = f"{kind}: {missing}" if missing else kind
    where = _matching(_PLACE, told.get("where"), "unknown")
    names = {node.id: (node.display_name, node.type) for node in graph.nodes}
    name, component = names.get(str(told.get("node")), ("", ""))
    if not name:
        return RunFailed(f"The flow could not be run ({kind})."), f"a flow failed in lfx with {kind} in {where}"
    error = ComponentFailed(f"The component failed ({kind}).", component=name)
    return error, f"component {component} failed in lfx with {kind} in {where}"


def outputs(said: object) -> list[Json]:
    """The results of a run, each with the keys that answers are made of.

    Raises:
        EngineFailed: they are no results.
    """
    runs = _mapping(said).get("outputs")
    if not isinstance(runs, list):
        raise EngineFailed(EngineFailed.NONSENSE)
    return [{"inputs": _mapping(_mapping(run).get("inputs")), "outputs": _results(run)} for run in runs]


def _results(run: object) -> list[Json]:
    found = _mapping(run).get("outputs")
    if not isinstance(found, list):
        raise EngineFailed(EngineFailed.NONSENSE)
    return [_result(one) for one in found if one is not None]


def _result(said: object) -> Json:
    told = _mapping(said)
    shown = {name: _mapping(value) for name, value in _mapping(told.get("outputs")).items()}
    messages = told.get("messages")
    return {
        "results": {name: _value(value) for name, value in _mapping(told.get("results")).items()},
        "artifacts": _mapping(told.get("artifacts")),
        "outputs": {n: {**v, "message": v.get("message"), "type": _text(v.get("type"))} for n, v in shown.items()},
        "logs": _mapping(told.get("logs")),
        "messages": [{**_mapping(one), "message": _mapping(one).get("message")} for one in _list(messages)],
        "timedelta": None,
        "duration": None,
        "component_display_name": _text(told.get("component_display_name")),
        "component_id": _text(told.get("component_id")),
        "used_frozen_result": False,
        "token_usage": told.get("token_usage") if isinstance(told.get("token_usage"), dict) else None,
    }


def usage(said: object) -> TokenUsage | None:
    """The tokens of a whole run, or None."""
    found = _mapping(said).get("tokens")
    if not isinstance(found, list) or len(found) != 2 or not all(type(one) is int and one >= 0 for one in found):
        return None
    return TokenUsage(found[0], found[1], found[0] + found[1])


def message(said: object, session_id: str, run_id: str) -> StoredMessage:
    """A message that a run wants to be kept."""
    told = _mapping(said)
    metadata = told.get("session_metadata")
    return StoredMessage(
        id=_id(told.get("id")),
        session_id=_text(told.get("session_id")) or session_id,
        text=_text(told.get("text")),
        sender=_text(told.get("sender")),
        sender_name=_text(told.get("sender_name")),
        time=_time(told.get("timestamp")),
        context_id=_text(told.get("context_id")),
        files=tuple(map(_text, _list(told.get("files")))),
        properties=_mapping(told.get("properties")),
        content_blocks=_blocks(told),
        session_metadata=metadata if isinstance(metadata, dict) else {"graph_run_id": run_id},
        run_id=run_id,
    )


def event_data(name: str, said: object) -> Json:
    """The data of a ``token`` or an ``add_message``, which are shown while a run goes on."""
    told = _mapping(said)
    told |= {"id": _text(told.get("id"))}
    if name == "token":
        return told | {"chunk": _text(told.get("chunk"))}
    looks = _mapping(told.get("properties"))
    return told | {
        "text": _text(told.get("text")),
        "properties": looks | {"state": _text(looks.get("state")) or "complete"},
        "content_blocks": _blocks(told),
    }


def seconds(said: object) -> tuple[str, float] | None:
    """The id of a node that ran, and for how long."""
    if isinstance(said, list) and len(said) == 2 and isinstance(said[0], str) and isinstance(said[1], float):
        return said[0], said[1]
    return None


def _value(value: object) -> object:
    """One result; what has a text is taken for a message everywhere, so it has to have the rest of one, too."""
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        return value
    return {**value, "data": _mapping(value.get("data")), "content_blocks": _blocks(value)}


def _blocks(message: Mapping[str, object]) -> list[Json]:
    return [one for one in _list(message.get("content_blocks")) if isinstance(one, dict)]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Json:
    return dict(value) if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _matching(pattern: re.Pattern[str], value: object, otherwise: str) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else otherwise


def _id(value: object) -> str:
    try:
        return str(UUID(_text(value)))
    except ValueError:
        return new_id()


def _time(value: object) -> datetime:
    try:
        return in_utc(datetime.fromisoformat(_text(value).removesuffix(" UTC")))
    except ValueError:
        return datetime.now(UTC)
