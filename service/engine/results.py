"""The shapes of Langflow 1.13's answers, key by key in the order of the recorded exchanges.

Plain dict literals: these functions run for every answer, and nothing in them is shared between answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.ports import Event, TokenUsage
from service.engine.component import CHAT_ROLES, OUTPUT_ROLES, Run, Step
from service.engine.values import NAME_AI, SENDER_AI, STOPPED, Data, Message, ModelChoice, Table, as_json, text_of

Json = dict[str, object]


def usage_dict(usage: TokenUsage | None) -> Json | None:
    """``{"input_tokens", "output_tokens", "total_tokens"}`` or None."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def properties_of(message: Message) -> Json:
    """Langflow's properties of a message: how it looks and where it comes from."""
    node_id, display_name, source = message.source
    return {
        "text_color": message.colors[0],
        "background_color": message.colors[1],
        "edited": False,
        "source": {"id": node_id, "display_name": display_name, "source": source},
        "icon": message.icon,
        "allow_markdown": False,
        "positive_feedback": None,
        "state": message.state,
        "targets": [],
        "usage": usage_dict(message.usage),
        "build_duration": None,
    }


def _stored_data(message: Message, run: Run) -> Json:
    return {
        "timestamp": message.stamp(),
        "sender": message.sender,
        "sender_name": message.sender_name,
        "session_id": message.session_id,
        "context_id": message.context_id,
        "text": message.text,
        "files": list(message.files),
        "error": False,
        "edit": False,
        "properties": properties_of(message),
        "category": "message",
        "content_blocks": list(message.blocks),
        "session_metadata": {"graph_run_id": run.run_id},
        "id": message.id,
        "flow_id": run.flow_id,
        "run_id": run.run_id,
        "duration": None,
    }


def _loose_data(message: Message, run: Run) -> Json:
    data: Json = {} if message.extra is None else dict(message.extra)
    data["text"] = message.text
    if message.sender is not None:
        data["sender"], data["sender_name"] = message.sender, message.sender_name
        data["session_id"], data["context_id"] = message.session_id, message.context_id
    data["files"], data["timestamp"], data["flow_id"] = list(message.files), message.stamp(), run.flow_id
    return data


def message_dict(message: Message, run: Run) -> Json:
    """A message as it stands in ``results`` and in events; stored ones carry ids and metadata."""
    stored = message.id is not None
    return {
        "text_key": "text",
        "data": _stored_data(message, run) if stored else _loose_data(message, run),
        "default_value": "",
        "sender": message.sender,
        "sender_name": message.sender_name,
        "files": list(message.files),
        "session_id": message.session_id,
        "context_id": message.context_id,
        "run_id": run.run_id if stored else None,
        "timestamp": message.stamp(),
        "flow_id": run.flow_id,
        "error": False,
        "edit": False,
        "properties": properties_of(message),
        "category": "message",
        "content_blocks": list(message.blocks),
        "duration": None,
        "session_metadata": {"graph_run_id": run.run_id} if stored else None,
        "text": message.text,
    }


def message_event(message: Message, run: Run) -> Event:
    """The ``add_message`` event of a stored message."""
    data = message_dict(message, run)
    data["id"] = message.id
    return Event("add_message", data)


def dump(value: object, run: Run) -> object:
    """Any value as JSON can say it; of what is no data (an agent's tools), its type's name."""
    if isinstance(value, Message):
        return message_dict(value, run)
    if isinstance(value, Data):
        return {"text_key": value.text_key, "data": value.data, "default_value": ""}
    if isinstance(value, Table):
        return value.rows
    if isinstance(value, ModelChoice):
        return {"provider": value.provider, "model": value.model}
    if isinstance(value, list):
        return [dump(item, run) for item in value]
    return value if value is None or isinstance(value, str | int | float | dict) else type(value).__name__


def _raw(value: object, run: Run) -> tuple[object, str]:
    """The bare content of a value and Langflow's word for its type."""
    if isinstance(value, Message | str):
        return text_of(value), "text"
    if isinstance(value, Data):
        return value.data, "object"
    if isinstance(value, Mapping):
        return value, "object"
    if isinstance(value, Table | list):
        return dump(value, run), "array"
    return "", "unknown"


def _for_display(message: Message) -> str:
    """The text with paragraphs for newlines, which Langflow does to what a machine says."""
    if message.sender not in (None, SENDER_AI):
        return message.text
    return message.text.replace("\n\n", "\n").replace("\n", "\n\n")


def _artifacts(step: Step, values: Mapping[str, object], run: Run) -> Json:
    if step.component.role in CHAT_ROLES:
        for value in values.values():
            if isinstance(value, Message):
                return {
                    "message": _for_display(value),
                    "sender": value.sender,
                    "sender_name": value.sender_name,
                    "files": list(value.files),
                    "type": "object",
                }
    return {name: _artifact(step, value, run) for name, value in values.items()}


def _artifact(step: Step, value: object, run: Run) -> Json:
    raw, kind = _raw(value, run)
    if isinstance(value, Message) and step.component.shows_record:
        data = _loose_data(value, run) if value.id is None else _stored_data(value, run)
        return {"repr": as_json(data, indent=4), "raw": raw, "type": kind}
    shown = raw if isinstance(raw, str) else as_json(raw, indent=4)
    return {"repr": shown, "raw": raw, "type": kind}


def _chat_lines(step: Step, values: Mapping[str, object]) -> list[Json]:
    return [
        {
            "message": _for_display(value),
            "sender": value.sender or SENDER_AI,
            "sender_name": value.sender_name or NAME_AI,
            "session_id": value.session_id,
            "stream_url": None,
            "component_id": step.node_id,
            "files": list(value.files),
            "type": "text",
        }
        for value in values.values()
        if isinstance(value, Message) and value.text
    ]


def _log(name: str, values: Mapping[str, object], run: Run) -> Json:
    message, kind = _raw(values.get(name), run)
    return {"message": message, "type": kind}


def step_result(step: Step, made: Mapping[str, object], run: Run) -> Json:
    """What one component adds to ``outputs`` of an answer (Langflow's ResultData)."""
    values = {name: value for name, value in made.items() if value is not STOPPED}
    used = None if step.component.role in OUTPUT_ROLES else run.usage.get(step.index)
    return {
        "results": {name: dump(value, run) for name, value in values.items()},
        "artifacts": _artifacts(step, values, run),
        "outputs": {name: _log(name, values, run) for name in step.shown},
        "logs": {name: [] for name in values},
        "messages": _chat_lines(step, values),
        "timedelta": None,
        "duration": None,
        "component_display_name": step.display_name,
        "component_id": step.node_id,
        "used_frozen_result": False,
        "token_usage": usage_dict(used),
    }
