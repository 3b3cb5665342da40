"""The flows whose answers are recorded: what they are made of, and how they are asked. Plain data.

A node is ``(type, {field: value})``; an edge is ``"node.output > node.field"``. Templates come from Langflow's own
catalogue when the answers are recorded; ``cases/`` holds what came of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Values = dict[str, Any]

OPENAI = [{
    "name": "gpt-4o-mini", "provider": "OpenAI", "icon": "OpenAI",
    "metadata": {"model_class": "ChatOpenAI", "model_name_param": "model", "api_key_param": "api_key"},
}]  # fmt: skip
OLD_OPENAI: Values = {
    "provider": "OpenAI", "model_name": "gpt-4o-mini", "api_key": "OPENAI_API_KEY", "system_message": "",
}  # fmt: skip
PEOPLE = '[{"name": "Ada", "age": 36}, {"name": "Alan", "age": 41}]'
TALK = ["in.message > out.input_value"]
CHAT: dict[str, tuple[str, Values]] = {"in": ("ChatInput", {}), "out": ("ChatOutput", {})}
TABLE: dict[str, tuple[str, Values]] = {
    "in": ("ChatInput", {}),
    "table": ("TypeConverterComponent", {"auto_parse": True, "output_type": "Table"}),
}
RECORD: dict[str, tuple[str, Values]] = {
    "in": ("ChatInput", {}),
    "record": ("TypeConverterComponent", {"auto_parse": True, "output_type": "JSON"}),
}
AGENT: Values = {
    "model": OPENAI, "system_prompt": "Be brief.", "format_instructions": "As JSON.", "add_current_date_tool": False,
    "add_calculator_tool": False,
}  # fmt: skip
SCHEMA = [
    {"name": "name", "description": "who", "type": "str", "multiple": False},
    {"name": "age", "description": "how old", "type": "int", "multiple": False},
]


@dataclass(frozen=True)
class Recipe:
    """One flow and one request.

    Args:
        request: as the body of ``POST /api/v1/run``, without the flow.
        version: whose exports the nodes come from, ``1.13`` or ``1.5``.
        tools: nodes that are connected as tools of an agent.
        uncounted: 1.5's code of a component counts no tokens, Keyturn counts them all the same.
    """

    name: str
    nodes: dict[str, tuple[str, Values]]
    edges: list[str]
    request: Values = field(default_factory=lambda: {"input_value": "hello"})
    version: str = "1.13"
    tools: tuple[str, ...] = ()
    uncounted: bool = False


def _asked(text: str, **more: Any) -> Values:
    return {"input_value": text, **more}


RECIPES: tuple[Recipe, ...] = (
    Recipe("chat", CHAT, TALK),
    Recipe("chat in a session", CHAT, TALK, _asked("hello", session_id="a session")),
    Recipe("chat with an empty input", CHAT, TALK, _asked("")),
    Recipe("chat without storing", {"in": ("ChatInput", {"should_store_message": False}),
                                    "out": ("ChatOutput", {"should_store_message": False})}, TALK),
    Recipe("tweak by id", CHAT, TALK, _asked("hello", tweaks={"ChatOutput-out": {"sender_name": "Robo"}})),
    Recipe("tweak by display name", CHAT, TALK, _asked("hello", tweaks={"Chat Output": {"sender_name": "Robo"}})),
    Recipe("tweak of every node", CHAT, TALK, _asked("hello", tweaks={"sender_name": "Everybody"})),
    Recipe("every result", CHAT, TALK, _asked("hello", output_type="debug")),
    Recipe("one result by id", CHAT, TALK, _asked("hello", output_component="ChatInput-in")),
    Recipe("text in and out", {"in": ("TextInput", {}), "out": ("TextOutput", {})}, ["in.text > out.input_value"],
           _asked("plain", input_type="text", output_type="text")),
    Recipe("prompt", {"in": ("ChatInput", {}), "who": ("TextInput", {"input_value": "Ada"}),
                      "prompt": ("Prompt Template", {"template": "{who} was asked: {question}"}),
                      "out": ("ChatOutput", {})},
           ["in.message > prompt.question", "who.text > prompt.who", "prompt.prompt > out.input_value"]),
    Recipe("model", {**CHAT, "model": ("LanguageModelComponent", {"model": OPENAI})},
           ["in.message > model.input_value", "model.text_output > out.input_value"]),
    Recipe("model with a system message",
           {**CHAT, "prompt": ("Prompt Template", {"template": "Be {{brief}}."}),
            "model": ("LanguageModelComponent", {"model": OPENAI})},
           ["in.message > model.input_value", "prompt.prompt > model.system_message",
            "model.text_output > out.input_value"]),
    Recipe("two models", {**CHAT, "one": ("LanguageModelComponent", {"model": OPENAI}),
                          "two": ("LanguageModelComponent", {"model": OPENAI})},
           ["in.message > one.input_value", "one.text_output > two.input_value", "two.text_output > out.input_value"]),
    Recipe("combined text", {**CHAT, "join": ("CombineText", {"text2": "and more", "delimiter": " / "})},
           ["in.message > join.text1", "join.combined_text > out.input_value"]),
    Recipe("table shown", {**TABLE, "out": ("ChatOutput", {})},
           ["in.message > table.input_data", "table.dataframe_output > out.input_value"], _asked(PEOPLE)),
    Recipe("record shown", {**RECORD, "out": ("ChatOutput", {})},
           ["in.message > record.input_data", "record.data_output > out.input_value"],
           _asked('{"name": "Ada", "tags": ["a", "b"], "inner": {"x": 1}}')),
    Recipe("csv shown", {**TABLE, "out": ("ChatOutput", {})},
           ["in.message > table.input_data", "table.dataframe_output > out.input_value"],
           _asked("name,age,height\nAda,36,1.65\nAlan,41,1.8")),
    Recipe("rows parsed", {**TABLE, "parse": ("ParserComponent", {"pattern": "{name} is {age}", "sep": "; "}),
                           "out": ("ChatOutput", {})},
           ["in.message > table.input_data", "table.dataframe_output > parse.input_data",
            "parse.parsed_text > out.input_value"], _asked(PEOPLE)),
    Recipe("record parsed", {**RECORD, "parse": ("ParserComponent", {"pattern": "Dear {name}, {missing}!"}),
                             "out": ("ChatOutput", {})},
           ["in.message > record.input_data", "record.data_output > parse.input_data",
            "parse.parsed_text > out.input_value"], _asked('{"name": "Ada"}')),
    Recipe("record as text", {**RECORD, "parse": ("ParserComponent", {"mode": "Stringify"}), "out": ("ChatOutput", {})},
           ["in.message > record.input_data", "record.data_output > parse.input_data",
            "parse.parsed_text > out.input_value"], _asked('{"name": "Ada"}')),
    Recipe("branch taken", {"in": ("ChatInput", {}), "if": ("ConditionalRouter", {"operator": "contains",
                            "match_text": "hell"}), "yes": ("ChatOutput", {"sender_name": "Yes"}),
                            "no": ("ChatOutput", {"sender_name": "No"})},
           ["in.message > if.input_text", "if.true_result > yes.input_value", "if.false_result > no.input_value"]),
    Recipe("branch not taken", {"in": ("ChatInput", {}), "if": ("ConditionalRouter", {"operator": "starts with",
                                "match_text": "HELL", "case_sensitive": False, "false_case_message": "no"}),
                                "yes": ("ChatOutput", {}), "no": ("ChatOutput", {})},
           ["in.message > if.input_text", "if.true_result > yes.input_value", "if.false_result > no.input_value"],
           _asked("goodbye")),
    Recipe("numbers compared", {"in": ("ChatInput", {}), "if": ("ConditionalRouter", {"operator": "greater than",
                                "match_text": "9"}), "yes": ("ChatOutput", {}), "no": ("ChatOutput", {})},
           ["in.message > if.input_text", "if.true_result > yes.input_value", "if.false_result > no.input_value"],
           _asked("10")),
    Recipe("text split", {**RECORD, "split": ("SplitText", {"chunk_size": 12, "chunk_overlap": 4, "separator": " "}),
                          "out": ("ChatOutput", {})},
           ["in.message > record.input_data", "record.data_output > split.data_inputs",
            "split.dataframe > out.input_value"],
           _asked('{"text": "one two three four five six seven eight", "source": "a book"}')),
    Recipe("text split at the start", {**CHAT, "split": ("SplitText", {"chunk_size": 5, "chunk_overlap": 2,
                                       "separator": " ", "keep_separator": "Start", "clean_output": True})},
           ["in.message > split.data_inputs", "split.dataframe > out.input_value"], _asked("a b c d e f g h")),
    Recipe("loop", {**TABLE, "loop": ("LoopComponent", {}), "body": ("ParserComponent", {"pattern": "<{name}>"}),
                    "parse": ("ParserComponent", {"pattern": "{text}", "sep": "+"}), "out": ("ChatOutput", {})},
           ["in.message > table.input_data", "table.dataframe_output > loop.data", "loop.item > body.input_data",
            "body.parsed_text > loop.item", "loop.done > parse.input_data", "parse.parsed_text > out.input_value"],
           _asked(PEOPLE)),
    Recipe("loop with a model", {**TABLE, "loop": ("LoopComponent", {}),
                                 "body": ("ParserComponent", {"pattern": "Who is {name}?"}),
                                 "model": ("LanguageModelComponent", {"model": OPENAI}), "out": ("ChatOutput", {})},
           ["in.message > table.input_data", "table.dataframe_output > loop.data", "loop.item > body.input_data",
            "body.parsed_text > model.input_value", "model.text_output > loop.item", "loop.done > out.input_value"],
           _asked(PEOPLE)),
    Recipe("batch", {**TABLE, "batch": ("BatchRunComponent", {"model": OPENAI, "column_name": "name",
                     "system_message": "Be brief.", "output_column_name": "answer"}), "out": ("ChatOutput", {})},
           ["in.message > table.input_data", "table.dataframe_output > batch.df", "batch.batch_results > out.input_value"],
           _asked(PEOPLE)),
    Recipe("structured answer", {**CHAT, "find": ("StructuredOutput", {"model": OPENAI, "output_schema": SCHEMA,
                                 "system_prompt": "Find people.", "schema_name": "People"})},
           ["in.message > find.input_value", "find.structured_output > out.input_value"],
           _asked('{"objects": [{"name": "Ada", "age": 36}]}')),
    Recipe("structured table", {**CHAT, "find": ("StructuredOutput", {"model": OPENAI, "output_schema": SCHEMA,
                                "system_prompt": "Find people.", "schema_name": "People"})},
           ["in.message > find.input_value", "find.dataframe_output > out.input_value"],
           _asked('{"objects": [{"name": "Ada", "age": 36}, {"name": "Alan", "age": 41}]}')),
    Recipe("agent", {**CHAT, "agent": ("Agent", AGENT)},
           ["in.message > agent.input_value", "agent.response > out.input_value"]),
    Recipe("agent with a tool", {**CHAT, "agent": ("Agent", AGENT), "sum": ("CalculatorComponent", {})},
           ["in.message > agent.input_value", "agent.response > out.input_value", "sum.component_as_tool > agent.tools"],
           _asked('!tool evaluate_expression {"expression": "2*3+4"}'), tools=("sum",)),
    Recipe("agent with a tool of its own", {**CHAT, "agent": ("Agent", AGENT | {"add_calculator_tool": True})},
           ["in.message > agent.input_value", "agent.response > out.input_value"],
           _asked('!tool evaluate_expression {"expression": "1/0"}')),
    Recipe("agent that calls twice", {**CHAT, "agent": ("Agent", AGENT | {"add_calculator_tool": True})},
           ["in.message > agent.input_value", "agent.response > out.input_value"],
           _asked('!tool evaluate_expression {"expression": "2**10"}\n'
                  '!tool evaluate_expression {"expression": "abc"}')),
    Recipe("agent that never stops", {**CHAT, "agent": ("Agent", AGENT | {"add_calculator_tool": True,
                                      "max_iterations": 2})},
           ["in.message > agent.input_value", "agent.response > out.input_value"],
           _asked("\n".join(['!tool evaluate_expression {"expression": "1+1"}'] * 4))),
    Recipe("agents in a row", {**CHAT, "one": ("Agent", AGENT), "two": ("Agent", AGENT)},
           ["in.message > one.input_value", "one.response > two.input_value", "two.response > out.input_value"]),
    Recipe("calculator", {**CHAT, "sum": ("CalculatorComponent", {})},
           ["in.message > sum.expression", "sum.result > out.input_value"], _asked("4*4*(33/22)+12-20")),
    Recipe("current date", {"now": ("CurrentDate", {"timezone": "Europe/Paris"}), "out": ("ChatOutput", {})},
           ["now.current_date > out.input_value"]),
    Recipe("filtered record", {**RECORD, "keep": ("FilterData", {"filter_criteria": ["name"]}),
                               "out": ("ChatOutput", {})},
           ["in.message > record.input_data", "record.data_output > keep.data", "keep.filtered_data > out.input_value"],
           _asked('{"name": "Ada", "age": 36}')),
    Recipe("extracted key", {**RECORD, "key": ("ExtractaKey", {"key": "age"}), "out": ("ChatOutput", {})},
           ["in.message > record.input_data", "record.data_output > key.data_input", "key.extracted_data > out.input_value"],
           _asked('{"name": "Ada", "age": 36}')),
    Recipe("merged records", {**RECORD, "other": ("TypeConverterComponent", {"auto_parse": True,
                              "output_type": "JSON"}), "join": ("MergeDataComponent", {"operation": "Join"}),
                              "out": ("ChatOutput", {})},
           ["in.message > record.input_data", "in.message > other.input_data", "record.data_output > join.data_inputs",
            "other.data_output > join.data_inputs", "join.combined_data > out.input_value"],
           _asked('{"name": "Ada", "age": 36}')),
    Recipe("listed texts", {"list": ("CreateList", {"texts": ["one", "two"]}), "out": ("ChatOutput", {})},
           ["list.dataframe > out.input_value"]),
    Recipe("webhook", {"hook": ("Webhook", {}), "parse": ("ParserComponent", {"pattern": "{name}"}),
                       "out": ("ChatOutput", {})},
           ["hook.output_data > parse.input_data", "parse.parsed_text > out.input_value"],
           {"tweaks": {"Webhook-hook": {"data": '{"name": "Ada"}'}}}),
    Recipe("records as rows", {**RECORD, "rows": ("DataToDataFrame", {}), "out": ("ChatOutput", {})},
           ["in.message > record.input_data", "record.data_output > rows.data_list", "rows.dataframe > out.input_value"],
           _asked('{"name": "Ada", "age": 36}')),
    Recipe("record by a template", {**RECORD, "parse": ("ParseData", {"template": "{name}, {data}, {missing}"}),
                                    "out": ("ChatOutput", {})},
           ["in.message > record.input_data", "record.data_output > parse.data", "parse.text > out.input_value"],
           _asked('{"name": "Ada", "data": {"age": 36}}')),
    Recipe("rows by a template", {**TABLE, "parse": ("ParseDataFrame", {"template": "{name}!", "sep": " "}),
                                  "out": ("ChatOutput", {})},
           ["in.message > table.input_data", "table.dataframe_output > parse.df", "parse.text > out.input_value"],
           _asked(PEOPLE)),
    Recipe("message handed on", {**CHAT, "pass": ("Pass", {})},
           ["in.message > pass.input_message", "pass.output_message > out.input_value"]),
    Recipe("matches of a pattern", {**CHAT, "find": ("RegexExtractorComponent", {"pattern": "[0-9]+"})},
           ["in.message > find.input_text", "find.text > out.input_value"], _asked("10 apples and 20 pears")),
    Recipe("chat of 1.5", CHAT, TALK, version="1.5"),
    Recipe("prompt and model of 1.5", {**CHAT, "prompt": ("Prompt", {"template": "Answer {question}"}),
                                       "model": ("LanguageModelComponent", OLD_OPENAI)},
           ["in.message > prompt.question", "prompt.prompt > model.input_value", "model.text_output > out.input_value"],
           version="1.5"),
    Recipe("system message of 1.5", {**CHAT, "prompt": ("Prompt", {"template": "Be brief."}),
                                     "model": ("LanguageModelComponent", OLD_OPENAI)},
           ["in.message > model.input_value", "prompt.prompt > model.system_message",
            "model.text_output > out.input_value"], version="1.5"),
    Recipe("text input of 1.5", {"in": ("TextInput", {}), "out": ("ChatOutput", {})}, ["in.text > out.input_value"],
           _asked("plain", input_type="text"), version="1.5"),
    Recipe("structure of 1.5", {**CHAT, "model": ("LanguageModelComponent", OLD_OPENAI),
                                "find": ("StructuredOutput", {"output_schema": SCHEMA, "system_prompt": "Find people.",
                                                              "schema_name": "People"}),
                                "parse": ("parser", {"pattern": "{name} is {age}"})},
           ["in.message > find.input_value", "model.model_output > find.llm", "find.structured_output > parse.input_data",
            "parse.parsed_text > out.input_value"],
           _asked('!tool People {"objects": [{"name": "Ada", "age": 36}]}'), version="1.5",
           uncounted=True),
)  # fmt: skip
