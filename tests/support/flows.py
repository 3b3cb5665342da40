"""Builders of exported flows, in the shapes of Langflow 1.13 and of 1.5.

Our own making: small graphs with the keys that exports have and that a server may read.
"""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

#: A ``code`` field that would be noticed if anything ever ran it.
CODE = "raise SystemExit('stored code was executed')"


def field(name: str, value: object = "", *, kind: str = "str", **more: object) -> Json:
    """One template field."""
    return {
        "_input_type": "MessageTextInput",
        "advanced": False,
        "display_name": name.replace("_", " ").title(),
        "dynamic": False,
        "info": "",
        "list": False,
        "load_from_db": False,
        "name": name,
        "placeholder": "",
        "required": False,
        "show": True,
        "title_case": False,
        "type": kind,
        "value": value,
        **more,
    }


def code_field(code: str = CODE) -> Json:
    """The ``code`` field that every exported node carries."""
    return field("code", code, kind="code", multiline=True, password=False, required=True)


def node(
    node_id: str, kind: str, display_name: str, fields: list[Json], outputs: dict[str, str], **more: Any
) -> Json:
    """One ``genericNode``; ``outputs`` maps an output's name to its method."""
    template: Json = {"_type": "Component", "code": code_field()}
    template.update({item["name"]: item for item in fields})
    types = ["Message"]
    body = {
        "base_classes": types,
        "beta": False,
        "conditional_paths": [],
        "custom_fields": {},
        "description": "",
        "display_name": display_name,
        "documentation": "",
        "edited": False,
        "field_order": [item["name"] for item in fields],
        "frozen": False,
        "icon": "box",
        "legacy": False,
        "metadata": {},
        "output_types": [],
        "outputs": [
            {
                "allows_loop": False,
                "cache": True,
                "display_name": name.title(),
                "method": method,
                "name": name,
                "selected": "Message",
                "tool_mode": True,
                "types": types,
                "value": "__UNDEFINED__",
            }
            for name, method in outputs.items()
        ],
        "pinned": False,
        "template": template,
        "tool_mode": False,
        **more,
    }
    return {
        "data": {"id": node_id, "node": body, "type": kind},
        "dragging": False,
        "id": node_id,
        "measured": {"height": 234, "width": 320},
        "position": {"x": 0, "y": 0},
        "selected": False,
        "type": "genericNode",
    }


def edge(source: Json, output: str, target: Json, name: str, *, encoded: bool = False) -> Json:
    """One edge; ``encoded`` leaves out ``data``, so that only the handle texts say what it connects."""
    start = {
        "dataType": source["data"]["type"],
        "id": source["id"],
        "name": output,
        "output_types": ["Message"],
    }
    end = {"fieldName": name, "id": target["id"], "inputTypes": ["Message"], "type": "str"}
    made: Json = {
        "animated": False,
        "className": "",
        "id": f"reactflow__edge-{source['id']}-{target['id']}-{name}",
        "selected": False,
        "source": source["id"],
        "sourceHandle": handle(start),
        "target": target["id"],
        "targetHandle": handle(end),
    }
    if not encoded:
        made["data"] = {"sourceHandle": start, "targetHandle": end}
    return made


def handle(end: Json) -> str:
    """An end of an edge as exports write it: JSON with ``œ`` for quotation marks."""
    return json.dumps(end).replace('"', "œ")


def flow(nodes: list[Json], edges: list[Json]) -> Json:
    """The ``data`` of a flow."""
    return {"nodes": nodes, "edges": edges, "viewport": {"x": 0, "y": 0, "zoom": 1}}


def note(node_id: str = "note-1") -> Json:
    """A note on the canvas; it is no component."""
    body = {"description": "# Read me", "display_name": "", "documentation": "", "template": {}}
    return {"data": {"id": node_id, "node": body, "type": "note"}, "id": node_id, "type": "noteNode"}


def _chat_fields(sender: str, sender_name: str) -> list[Json]:
    return [
        field("should_store_message", True, kind="bool", _input_type="BoolInput"),
        field("sender", sender, _input_type="DropdownInput", options=["Machine", "User"]),
        field("sender_name", sender_name),
        field("session_id"),
        field("context_id"),
    ]


def chat_input(node_id: str = "ChatInput-probe", value: str = "Hello", *, name: str = "Chat Input") -> Json:
    """A Chat Input with a stored text."""
    stored = field("input_value", value, _input_type="MultilineInput", multiline=True, input_types=[])
    files = field("files", "", kind="file", _input_type="FileInput", file_path="", list=True)
    return node(
        node_id, "ChatInput", name, [stored, *_chat_fields("User", "User"), files], {"message": "message_response"}
    )


def chat_output(node_id: str = "ChatOutput-probe", *, name: str = "Chat Output", age: str = "1.13") -> Json:
    """A Chat Output; since 1.6 its input is a handle and has no stored value."""
    if age == "1.13":
        stored = field("input_value", "", kind="other", _input_type="HandleInput", required=True)
    else:
        stored = field("input_value", "", _input_type="MessageInput", required=True)
    more = [field("data_template", "{text}"), field("clean_data", True, kind="bool", _input_type="BoolInput")]
    return node(
        node_id, "ChatOutput", name, [stored, *_chat_fields("Machine", "AI"), *more], {"message": "message_response"}
    )


def text_input(node_id: str = "TextInput-a", value: str = "", **more: Any) -> Json:
    """A Text Input with a stored text."""
    return node(node_id, "TextInput", "Text Input", [field("input_value", value, **more)], {"text": "text_response"})


def text_output(node_id: str = "TextOutput-a") -> Json:
    """A Text Output."""
    return node(node_id, "TextOutput", "Text Output", [field("input_value")], {"text": "text_response"})


def prompt(
    node_id: str = "Prompt-a", template: str = "", variables: dict[str, str] | None = None, *, age: str = "1.13"
) -> Json:
    """A prompt; each variable is a field of its own."""
    names = variables or {}
    fields = [
        field("template", template, kind="prompt", _input_type="PromptInput"),
        field("tool_placeholder", ""),
        *(field(name, value, field_type="str", input_types=["Message"]) for name, value in names.items()),
    ]
    if age == "1.13":
        fields.append(field("use_double_brackets", False, kind="bool", _input_type="BoolInput"))
    kind = "Prompt Template" if age == "1.13" else "Prompt"
    display_name = "Prompt Template" if age == "1.13" else "Prompt"
    more = {"custom_fields": {"template": list(names)}}
    return node(node_id, kind, display_name, fields, {"prompt": "build_prompt"}, **more)


def secret(name: str = "api_key", value: str = "", *, variable: bool = False) -> Json:
    """A password field, with a value or the name of a variable."""
    return field(name, value, _input_type="SecretStrInput", password=True, load_from_db=variable, input_types=[])


MODEL_OUTPUTS = {"text_output": "text_response", "model_output": "build_model"}


def language_model(
    node_id: str = "LanguageModelComponent-a",
    *,
    age: str = "1.13",
    provider: str = "OpenAI",
    model: str = "gpt-4o-mini",
    key: Json | None = None,
    system: str = "",
) -> Json:
    """A language model: one ``model`` selection in 1.13, ``provider`` and ``model_name`` in 1.5."""
    if age == "1.13":
        selected = [{"name": model, "provider": provider, "category": provider, "icon": provider, "metadata": {}}]
        which = [
            field("model", selected, kind="model", _input_type="ModelInput", model_type="language"),
            field("model_name", "", _input_type="StrInput"),
            field("provider", "", _input_type="StrInput"),
            field("ollama_base_url", "", _input_type="StrInput", show=False),
            field("max_tokens", 0, kind="int", _input_type="IntInput"),
        ]
    else:
        which = [
            field("provider", provider, _input_type="DropdownInput", options=["OpenAI", "Anthropic", "Google"]),
            field("model_name", model, _input_type="DropdownInput"),
        ]
    rest = [
        key or secret(value="OPENAI_API_KEY", variable=True),
        field("input_value", "", _input_type="MessageInput"),
        field("system_message", system, _input_type="MultilineInput"),
        field("stream", False, kind="bool", _input_type="BoolInput"),
        field("temperature", 0.1, kind="slider", _input_type="SliderInput"),
    ]
    return node(node_id, "LanguageModelComponent", "Language Model", [*which, *rest], MODEL_OUTPUTS)


def openai_model(node_id: str = "OpenAIModel-a", *, base_url: str = "", key: Json | None = None) -> Json:
    """The OpenAI node of older exports."""
    fields = [
        field("model_name", "gpt-4o-mini", _input_type="DropdownInput"),
        field("openai_api_base", base_url, _input_type="StrInput"),
        key or secret(value="OPENAI_API_KEY", variable=True),
        field("input_value", "", _input_type="MessageInput"),
        field("system_message", "", _input_type="MessageTextInput"),
        field("temperature", 0.1, kind="slider", _input_type="SliderInput"),
        field("max_tokens", "", kind="int", _input_type="IntInput"),
        field("seed", 1, kind="int", _input_type="IntInput"),
        field("json_mode", False, kind="bool", _input_type="BoolInput"),
        field("max_retries", 0, kind="int", _input_type="IntInput"),
        field("timeout", 20, kind="int", _input_type="IntInput"),
        field("model_kwargs", {}, kind="dict", _input_type="DictInput"),
        field("stream", False, kind="bool", _input_type="BoolInput"),
    ]
    return node(node_id, "OpenAIModel", "OpenAI", fields, MODEL_OUTPUTS)


def echo(*, age: str = "1.13", encoded: bool = False) -> Json:
    """Chat Input to Chat Output: what the recorded exchanges were made with."""
    start, end = chat_input(), chat_output(age=age)
    return flow([start, end], [edge(start, "message", end, "input_value", encoded=encoded)])


def prompt_chain(length: int, *, age: str = "1.13") -> Json:
    """Chat Input, ``length`` prompts that each add a mark, Chat Output."""
    nodes = [chat_input()]
    nodes += [prompt(f"Prompt-{at}", "{text}.", {"text": ""}, age=age) for at in range(length)]
    edges = [edge(nodes[at], "message" if at == 0 else "prompt", nodes[at + 1], "text") for at in range(length)]
    end = chat_output(age=age)
    edges.append(edge(nodes[-1], "prompt" if length else "message", end, "input_value"))
    return flow([*nodes, end], edges)


def chat_with_model(model: Json | None = None, *, age: str = "1.13") -> Json:
    """Chat Input to a model to Chat Output."""
    start, end = chat_input(), chat_output(age=age)
    model = model or language_model(age=age)
    edges = [edge(start, "message", model, "input_value"), edge(model, "text_output", end, "input_value")]
    return flow([start, model, end], edges)


def running_another(name: str, node_id: str = "RunFlow-r") -> Json:
    """A flow that runs another one and answers with its text."""
    start, end = chat_input(), chat_output()
    other = node(node_id, "RunFlow", "Run Flow",
                       [field("flow_name_selected", name), field("session_id"),
                        field("ChatInput-probe~input_value")],
                       {"flow_outputs_message": "message_output"})  # fmt: skip
    edges = [edge(start, "message", other, "ChatInput-probe~input_value"),
             edge(other, "flow_outputs_message", end, "input_value")]  # fmt: skip
    return flow([start, other, end], edges)


def agent_with_calculator(**settings: object) -> Json:
    """Chat Input to an agent, which may calculate and remembers its session, to Chat Output."""
    start, end = chat_input(), chat_output()
    fields = [
        field("model", [{"name": "gpt-4o-mini", "provider": "OpenAI"}], kind="model", _input_type="ModelInput"),
        secret(value="OPENAI_API_KEY", variable=True),
        field("system_prompt", "Be brief."),
        field("add_current_date_tool", False, kind="bool"),
        field("add_calculator_tool", True, kind="bool"),
        field("n_messages", 100, kind="int"),
        field("tools", "", kind="other", list=True),
        field("input_value"),
        *(field(name, value) for name, value in settings.items()),
    ]
    agent = node("Agent-a", "Agent", "Agent", fields, {"response": "message_response"})
    return flow([start, agent, end], [edge(start, "message", agent, "input_value"),
                                      edge(agent, "response", end, "input_value")])  # fmt: skip
