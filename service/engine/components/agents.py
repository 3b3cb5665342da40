"""Agents: a model that may call tools, again and again, until it has an answer."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from datetime import UTC, datetime
from functools import cache

from service.domain.errors import DomainError
from service.domain.ports import ChatMessage, Event, ToolCall, ToolSpec
from service.engine.asking import announce, ask, ask_for_json, is_watched, record_schema, request_for
from service.engine.component import Component, Output
from service.engine.components.models import LanguageModel
from service.engine.components.utilities import Calculator, CurrentDate
from service.engine.components.vendors import options_of
from service.engine.fields import Field
from service.engine.results import message_event
from service.engine.tools import (
    Tool,
    ToolPlan,
    arguments_of,
    as_text,
    distinct,
    failure_of,
    plain,
    planned_for,
)
from service.engine.uploads import images_of
from service.engine.values import NAME_AI, SENDER_AI, SENDER_USER, Data, Message, ModelChoice, text_of

_CONTINUE = "Continue the conversation."
_MOST_CALLS = 100


class Agent(LanguageModel):
    """Answers with the help of tools; its text, and what it did, in one message."""

    names = ("Agent", "AgentComponent")
    display_name = "Agent"
    description = "Gives a task to an agent that has tools of its own."
    fields = (
        *(item for item in LanguageModel.fields if item.name not in ("input_value", "system_message", "temperature")),
        Field("input_value", default="", tool="The task, in words."),
        Field("agent_llm", "provider", default=""),
        Field("temperature", "float"),
        Field("seed", "int"),
        Field("json_mode", "bool", default=False),
        Field("timeout", "int"),
        Field("max_retries", "int", default=2),
        Field("openai_api_base", "url", default=""),
        Field("model_kwargs", "dict"),
        Field("system_prompt", default=""),
        Field("tools", "handle", many=True),
        Field("context_id", default=""),
        Field("n_messages", "int", default=100),
        Field("max_iterations", "int", default=15),
        Field("add_current_date_tool", "bool", default=True),
        Field("add_calculator_tool", "bool", default=False),
        Field("output_schema", "any"),
        Field("format_instructions", default=""),
    )
    outputs = (Output("response", "message_response"), Output("structured_response", "json_response"))
    __slots__ = ()

    def message_response(self) -> Generator[Event, None, Message]:
        """The agent's answer; yields the events of a watched run."""
        return (yield from self._answered(self._instructions(), watched=is_watched(self)))

    def json_response(self) -> Generator[Event, None, Data]:
        """The answer as a record of the author's schema; without one, the task itself as ``content``."""
        try:
            schema = record_schema(self.values.get("output_schema") or [])
        except ValueError as error:
            raise self.fail(f"The output schema cannot be used: {error}.") from None
        if not schema["properties"]:
            return Data({"content": self.text("input_value")})
        if self._tools():
            found = yield from self._answered(self._with_schema(schema), watched=False)
            return _wrapped(_records_in(found.text))
        asked = (*self._system(self._instructions()), ChatMessage("user", self.text("input_value")))
        spec = ToolSpec("OutputModel", "Every record that fits the schema.", _list_of(schema))
        return _wrapped(_records_in((yield from ask_for_json(self, self._chosen(), asked, spec))))

    def choose(self) -> ModelChoice:
        """The chosen model, with 1.5's settings where the node has them."""
        choice = super().choose()
        if isinstance(self.values.get("model"), ModelChoice) or not self.text("agent_llm"):
            return choice
        return ModelChoice(
            choice.provider,
            choice.model,
            choice.api_key,
            base_url=self.text("openai_api_base").strip() or None,
            temperature=self.number("temperature"),
            max_tokens=self.integer("max_tokens"),
            seed=self.integer("seed"),
            json_mode=self.flag("json_mode"),
            timeout=self.number("timeout") or None,
            max_retries=self.integer("max_retries") or 0,
            options=options_of(self, "model_kwargs"),
        )

    def _answered(self, instructions: str, *, watched: bool) -> Generator[Event, None, Message]:
        message = Message("", SENDER_AI, NAME_AI, self.run.session_id, source=self.source(), icon="Bot")
        if watched:
            announce(message, self.run, "Bot")
        yield from self._work(message, [*self._system(instructions), *self._history(), self._task()])
        message.state = "complete"
        return message

    def _work(self, message: Message, turns: list[ChatMessage]) -> Generator[Event, None, None]:
        """Ask, call what the model wants called, and ask again, at most ``max_iterations`` times."""
        tools, choice = distinct(self._tools()), self._chosen()
        specs = [
            ToolSpec(name, tool.plan.spec.description, tool.plan.spec.parameters) for name, tool in tools.items()
        ]
        most = max(1, self.integer("max_iterations") or 15)
        for _ in range(most):
            self.run.tick()
            request = request_for(self, choice, turns, stream=message.id is not None, tools=specs)
            answer = yield from ask(self, choice, request, message)
            _add_text(message, answer.text)
            if not answer.tool_calls:
                return
            if len(answer.tool_calls) > _MOST_CALLS:
                raise self.fail(
                    f"The model wants {len(answer.tool_calls)} tool calls at once; {_MOST_CALLS} is most."
                )
            turns.append(ChatMessage("assistant", answer.text, tool_calls=answer.tool_calls))
            for call in answer.tool_calls:
                turns.append(self._used(tools, call, message))
                if message.id is not None:
                    message.begun = True
                    yield message_event(message, self.run)  # shows what the agent does before it says anything
        over = f"Model call limits exceeded: run limit ({most}/{most})"
        message.text += over
        _add_text(message, over)

    def _used(self, tools: dict[str, Tool], call: ToolCall, message: Message) -> ChatMessage:
        """Run one tool; what goes wrong with it is for the model to read."""
        self.run.tick()  # also for a tool that does not exist: each call costs an event
        block: dict[str, object] = {
            "type": "tool_use", "name": call.name, "tool_input": {}, "output": None, "error": None,
            "header": {"title": f"Executed **{call.name}**", "icon": "Hammer"}, "duration": None,
        }  # fmt: skip
        message.blocks.append(block)
        try:
            arguments = block["tool_input"] = arguments_of(call.arguments)
            if call.name not in tools:
                raise self.fail(f"There is no tool {call.name[:80]}. Known: {', '.join(tools)}.")
            value = tools[call.name].call(arguments)
            text = as_text(value)
            self.run.produce(len(text))
            block["output"] = plain(value)
        except DomainError as error:
            block["error"] = text = failure_of(error)
            block["header"] = {"title": f"Error using **{call.name}**", "icon": "Hammer"}
        return ChatMessage("tool", text, tool_call_id=call.id)

    def _tools(self) -> list[Tool]:
        value = self.values.get("tools")
        found = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, Tool)]
        for wanted, extra in (("add_current_date_tool", CurrentDate), ("add_calculator_tool", Calculator)):
            if self.flag(wanted):
                known = {tool.name for tool in found}
                defaults = {item.name: item.default for item in extra.fields}
                component = extra(self.step, self.run, defaults)  # a name of ours, not Django's # nosec B610
                found.extend(Tool(plan, component) for plan in _own(extra) if plan.spec.name not in known)
        return found

    def _instructions(self) -> str:
        """The system prompt with the placeholders that Langflow knows; other braces are left alone."""
        text = self.text("system_prompt")
        for name, value in (
            ("{current_date}", f"{datetime.now(UTC):%Y-%m-%d}"),
            ("{model_name}", self._chosen().model),
            ("{optional_user_context}", ""),
        ):
            text = text.replace(name, value)
        return text

    def _with_schema(self, schema: dict[str, object]) -> str:
        parts = [self._instructions()]
        if self.text("format_instructions"):
            parts.append(f"Format instructions: {self.text('format_instructions')}")
        wanted = json.dumps(_list_of(schema), indent=2)
        parts.append(f"Answer with one JSON object that fits this schema, and with nothing around it.\n{wanted}")
        return "\n\n".join(part for part in parts if part)

    @staticmethod
    def _system(instructions: str) -> list[ChatMessage]:
        return [ChatMessage("system", instructions)] if instructions else []

    def _task(self) -> ChatMessage:
        """The input is always the user's turn, also when another agent wrote it: some providers insist on that."""
        value = self.values.get("input_value")
        text, images = text_of(value), images_of(self, [value])
        return ChatMessage("user", text if text.strip() or images else _CONTINUE, images)

    def _history(self) -> Iterable[ChatMessage]:
        """Earlier turns of this session, without the message that is being answered."""
        history, most = self.run.context.history, self.integer("n_messages")
        if history is None or not most or not self.run.session_id:
            return []
        value = self.values.get("input_value")
        current = value.id if isinstance(value, Message) else None
        found = history.load(self.run.session_id, context_id=self.text("context_id"), limit=most)
        return [
            ChatMessage("user" if item.sender == SENDER_USER else "assistant", item.text)
            for item in found
            if item.id != current and item.text.strip()
        ]


@cache
def _own(component: type[Component]) -> tuple[ToolPlan, ...]:
    """The tools of a helper that every agent may have."""
    return planned_for(component)


def _add_text(message: Message, text: str) -> None:
    if text:
        message.blocks.append({"type": "text", "text": text, "duration": None})


def _list_of(schema: dict[str, object]) -> dict[str, object]:
    """One record's schema as that of an object with all of them, so that a model can give several."""
    objects = {"type": "array", "items": schema, "minItems": 1}
    return {"type": "object", "properties": {"objects": objects}, "required": ["objects"]}


def _records_in(text: str) -> object:
    """The JSON in a model's answer, which may stand in a code block or between words."""
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if start < 0:
        return {"content": text, "error": "The answer holds no JSON."}
    try:
        found, _ = json.JSONDecoder().raw_decode(text[start:])
    except (ValueError, RecursionError):
        return {"content": text, "error": "The answer holds no JSON that can be read."}
    return found["objects"] if isinstance(found, dict) and isinstance(found.get("objects"), list) else found


def _wrapped(found: object) -> Data:
    if isinstance(found, dict):
        return Data(found)
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict):
        return Data(found[0])
    return Data({"results": found})
