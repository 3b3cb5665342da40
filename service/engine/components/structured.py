"""Models that answer in a structure, and models that answer many questions."""

from __future__ import annotations

import json
from collections.abc import Generator

from service.domain.ports import ChatMessage, Event, ToolSpec
from service.engine.asking import ask, ask_for_json, record_schema, request_for
from service.engine.component import Output
from service.engine.components.models import LanguageModel
from service.engine.fields import Field
from service.engine.values import Data, Message, Table, text_of

Record = dict[str, object]

_CHOICE = tuple(
    item for item in LanguageModel.fields if item.name in ("model", "provider", "model_name", "api_key", "max_tokens")
)


class StructuredOutput(LanguageModel):
    """Records of a given schema, found by a model in a text."""

    names = ("StructuredOutput", "StructuredOutputComponent")
    display_name = "Structured Output"
    description = "Finds records of a schema in a text."
    fields = (
        *_CHOICE,
        Field("llm", "handle"),
        Field("input_value", default="", tool="The text to take records from."),
        Field("system_prompt", default=""),
        Field("schema_name", default="OutputModel"),
        Field("output_schema", "any"),
        Field("multiple", "bool", default=False),
    )
    outputs = (
        Output("structured_output", "build_structured_output"),
        Output("dataframe_output", "build_structured_dataframe"),
        Output("structured_output_dataframe", "build_structured_dataframe"),
    )
    shows_record = False
    __slots__ = ("_found",)

    def build_structured_output(self) -> Generator[Event, None, Data]:
        """One record as it is; several under ``results``."""
        records = yield from self._records()
        return Data(records[0] if len(records) == 1 else {"results": list(records)})

    def build_structured_dataframe(self) -> Generator[Event, None, Table]:
        """One row for each record."""
        return Table((yield from self._records()))

    def _records(self) -> Generator[Event, None, list[Record]]:
        """Asked for once, although two outputs may want it."""
        found: list[Record] | None = getattr(self, "_found", None)
        if found is None:
            found = self._found = yield from self._ask()
        return found

    def _ask(self) -> Generator[Event, None, list[Record]]:
        text = yield from ask_for_json(self, self._chosen(), self._turns(), self._spec())
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            raise self.fail("The model's answer is not valid JSON.") from None
        records = answer.get("objects") if isinstance(answer, dict) else None
        if not isinstance(records, list) or not records or not all(isinstance(item, dict) for item in records):
            raise self.fail("No structured output returned")
        return records

    def _spec(self) -> ToolSpec:
        try:
            record = record_schema(self.values.get("output_schema") or [])
        except ValueError as error:
            raise self.fail(f"The output schema cannot be used: {error}.") from None
        if not record["properties"]:
            raise self.fail("Output schema cannot be empty")
        name = "".join(c if c.isascii() and c.isalnum() else "_" for c in self.text("schema_name")) or "OutputModel"
        listed = {"objects": {"type": "array", "items": record, "minItems": 1, "description": f"A list of {name}."}}
        parameters = {"type": "object", "properties": listed, "required": ["objects"]}
        return ToolSpec(name[:64], f"A list of {name}.", parameters)

    def _turns(self) -> list[ChatMessage]:
        text, system = self.text("input_value"), self.text("system_prompt")
        if not text.strip():
            raise self.fail("The message you want to send to the model is empty.")
        asked = [ChatMessage("user", text)]
        return [ChatMessage("system", system), *asked] if system else asked


class BatchRun(LanguageModel):
    """One question to a model for each row of a table."""

    names = ("BatchRunComponent", "BatchRun")
    display_name = "Batch Run"
    description = "Asks a model once for each row of a table."
    fields = (
        *_CHOICE,
        Field("df", "handle"),
        Field("system_message", default=""),
        Field("column_name", default=""),
        Field("output_column_name", default="model_response"),
        Field("enable_metadata", "bool", default=False),
    )
    outputs = (Output("batch_results", "run_batch"),)
    shows_record = False
    __slots__ = ()

    def run_batch(self) -> Generator[Event, None, Table]:
        """The table with the answers in one more column."""
        table, column = self.values["df"], self.text("column_name")
        if not isinstance(table, Table):
            raise self.fail("A table is needed.")
        if column and column not in table.columns():
            raise self.fail(f"Column '{column}' not found. Available columns: {', '.join(table.columns())}")
        rows = []
        for index, row in enumerate(table.rows):
            self.run.tick()
            answer = yield from self._answer(text_of(row.get(column)) if column else _as_toml(row))
            rows.append(self._row(row, answer, index))
        return Table(rows)

    def _answer(self, text: str) -> Generator[Event, None, str]:
        system, message = self.text("system_message"), Message("")
        turns = [ChatMessage("system", system)] if system else []
        request = request_for(self, self._chosen(), [*turns, ChatMessage("user", text)])
        return (yield from ask(self, self._chosen(), request, message)).text

    def _row(self, row: Record, answer: str, index: int) -> Record:
        made = {**row, self.text("output_column_name") or "model_response": answer, "batch_index": index}
        if self.flag("enable_metadata"):
            made["metadata"] = {
                "has_system_message": bool(self.text("system_message")),
                "input_length": len(text_of(row.get("text_input"))),
                "response_length": len(answer),
                "processing_status": "success",
            }
        return made


def _as_toml(row: Record) -> str:
    """A row as TOML tables, one for each column: the form in which Langflow shows a whole row to a model."""
    return "\n".join(f"[{_key(name)}]\nvalue = {json.dumps(str(value))}\n" for name, value in row.items())


def _key(name: str) -> str:
    bare = bool(name) and all(c.isascii() and (c.isalnum() or c in "_-") for c in name)
    return name if bare else json.dumps(name)
