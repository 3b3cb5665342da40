"""From one form to another: records and tables to text, text to pieces, type to type."""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from collections.abc import Iterable, Iterator

from service.domain.errors import FlowInvalid, RunTooLarge
from service.engine.component import Component, Draft, Output
from service.engine.fields import Field
from service.engine.patterns import find_all
from service.engine.templates import Parts, fill, names, parse
from service.engine.values import Data, Message, Table, display, text_of, weight

Record = dict[str, object]

#: Cells of a table that is read of a text.
_MOST_CELLS = 1_000_000


class Parser(Component):
    """Records or rows as text, one line each, by a template."""

    names = ("ParserComponent", "parser", "Parser")
    display_name = "Parser"
    description = "Extracts text from records or a table with a template."
    fields = (
        Field("input_data", "handle"),
        Field("mode", default="Parser"),
        Field("pattern", "template", default="Text: {text}"),
        Field("sep", default="\n"),
        Field("clean_data", "bool", default=False),
    )
    outputs = (Output("parsed_text", "parse_combined_text"),)
    __slots__ = ()

    @classmethod
    def prepare(cls, draft: Draft) -> Parts | None:
        """Parse the stored template; None when it is only known at run time, or not used."""
        if draft.decided_later("pattern") or draft.literal("mode") == "Stringify":
            return None
        stored = draft.literal("pattern")
        try:
            return parse(stored if isinstance(stored, str) else "Text: {text}", columns=True)
        except ValueError as error:
            raise FlowInvalid(f"The template of {draft.node.display_name} cannot be used: {error}.") from None

    def parse_combined_text(self) -> Message:
        """The filled templates, joined; or everything as text."""
        value = self.values["input_data"]
        if self.text("mode") == "Stringify":
            return Message(display(value))
        if isinstance(value, Message) or not isinstance(value, Data | Table | list):
            raise self.fail("The Parser takes a table, a record or a list of records.")
        parts, separator = self._parts(), self.text("sep")
        if isinstance(value, Table):
            self._check_columns(parts, value)
        lines = [fill(parts, _shown(record)) for record in self._records(value)]
        self.run.room_for(sum(map(len, lines)))
        return Message(separator.join(lines))

    def _parts(self) -> Parts:
        if isinstance(self.step.prepared, tuple):
            return self.step.prepared
        try:
            return parse(self.text("pattern"), columns=True)
        except ValueError as error:
            raise self.fail(f"The template cannot be used: {error}.") from None

    def _check_columns(self, parts: Parts, table: Table) -> None:
        missing = [name for name in names(parts) if table.rows and name not in table.columns()]
        if missing:
            raise self.fail(f"The table has no column {', '.join(missing)}.")

    def _records(self, value: Data | Table | list[object]) -> list[Record]:
        if isinstance(value, Table):
            return value.rows
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, Data) for item in items):
            raise self.fail("The Parser takes a table, a record or a list of records.")
        return [item.data for item in items if isinstance(item, Data)]


def _shown(record: Record) -> dict[str, str]:
    return {name: value if isinstance(value, str) else str(value) for name, value in record.items()}


class CombineText(Component):
    """Two texts with something between them."""

    names = ("CombineText",)
    display_name = "Combine Text"
    description = "Joins two texts with a delimiter."
    fields = (Field("text1", default=""), Field("text2", default=""), Field("delimiter", default=" "))
    outputs = (Output("combined_text", "combine_texts"),)
    __slots__ = ()

    def combine_texts(self) -> Message:
        """The joined text."""
        return Message(self.text("delimiter").join([self.text("text1"), self.text("text2")]))


class TypeConverter(Component):
    """A message, a record or a table as one of the others."""

    names = ("TypeConverterComponent",)
    display_name = "Type Convert"
    description = "Converts between message, JSON and table."
    fields = (
        Field("input_data", "handle"),
        Field("auto_parse", "bool", default=False),
        Field("output_type", default="Message"),
    )
    outputs = (
        Output("message_output", "convert_to_message"),
        Output("data_output", "convert_to_data"),
        Output("dataframe_output", "convert_to_dataframe"),
    )
    __slots__ = ()

    def convert_to_message(self) -> Message:
        """As a message."""
        value = self._value()
        if isinstance(value, Data):
            return Message(text_of(value) if value.text_key in value.data else str(value.data))
        return value if isinstance(value, Message) else Message(display(value))

    def convert_to_data(self) -> Data:
        """As one record; a table goes under ``results``."""
        value = self._value()
        if isinstance(value, Table):
            return Data({"results": value.rows})
        if isinstance(value, Data):
            return value
        if isinstance(value, dict):
            return Data(value)
        return _parsed(text_of(value)) if self.flag("auto_parse") else Data({"text": text_of(value)})

    def convert_to_dataframe(self) -> Table:
        """As a table."""
        value = self._value()
        if isinstance(value, Table):
            return value
        if isinstance(value, Data | dict):
            return Table([value.data if isinstance(value, Data) else value])
        found = _parsed(text_of(value)) if self.flag("auto_parse") else Data({"text": text_of(value)})
        records = found.data.get("records")
        return Table(records if isinstance(records, list) else [found.data])

    def _value(self) -> object:
        value = self.values["input_data"]
        if isinstance(value, list):
            value = value[0] if value else None
        if value is None:
            raise self.fail("There is nothing to convert.")
        return value


def _parsed(text: str) -> Data:
    """JSON objects or CSV in a text; what is neither stays text."""
    bare = text.lstrip("\ufeff").strip()
    try:
        found = json.loads(bare)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return Data(found)
    if isinstance(found, list) and all(isinstance(item, dict) for item in found):
        return Data({"records": found})
    lines = bare.split("\n")
    if len(lines) > 1 and "," in lines[0]:
        return Data({"records": csv_records(bare)})
    return Data({"text": text})


def csv_records(text: str) -> list[Record]:
    """The rows of a CSV text; a column in which every cell is a number becomes one of numbers.

    Raises:
        RunTooLarge: a short row is filled up to the header, so a small text can have any number of cells.
    """
    rows = list(csv.reader(io.StringIO(text)))
    header = rows[0] if rows else []
    if len(header) * (len(rows) - 1) > _MOST_CELLS:
        raise RunTooLarge(f"A table has more than {_MOST_CELLS} cells.")
    columns = [_typed([row[at] if at < len(row) else "" for row in rows[1:]]) for at in range(len(header))]
    return [dict(zip(header, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _typed(cells: list[str]) -> list[object]:
    for kind in (int, float):
        try:
            return [kind(cell) for cell in cells]
        except ValueError:
            continue
    return [cell if cell else None for cell in cells]


class SplitText(Component):
    """Text in pieces of a size, cut at a separator."""

    names = ("SplitText",)
    display_name = "Split Text"
    description = "Splits text into chunks at a separator."
    fields = (
        Field("data_inputs", "handle"),
        Field("chunk_overlap", "int", default=200),
        Field("chunk_size", "int", default=1000),
        Field("separator", default="\n"),
        Field("text_key", default="text"),
        Field("keep_separator", "any", default="False"),
        Field("clean_output", "bool", default=False),
    )
    outputs = (Output("dataframe", "split_text"), Output("chunks", "split_as_list"))
    __slots__ = ()

    def split_text(self) -> Table:
        """One row for each piece, with what else its record holds."""
        key, bare = self.text("text_key") or "text", self.flag("clean_output")
        rows: list[Record] = []
        size, most = 0, self.run.limits.max_output_bytes
        for record in self._records(key):
            rest = {} if bare else {name: value for name, value in record.items() if name != key}
            beside = weight(list(rest.values()), most)
            for piece in self._pieces(_plain(record.get(key))):
                # Pieces overlap, and each of them holds the rest: together they can be far longer than the text.
                size += len(piece) + beside
                self.run.room_for(size)
                rows.append({"text": piece, **rest})
        return Table(rows)

    def split_as_list(self) -> list[Data]:
        """One record for each piece (the output of older exports)."""
        return [Data(row) for row in self.split_text().rows]

    def _records(self, key: str) -> list[Record]:
        value = self.values["data_inputs"]
        items = value if isinstance(value, list) else [value]
        records: list[Record] = []
        for item in items:
            if isinstance(item, Table):
                records.extend(item.rows)
            elif isinstance(item, Data):
                records.append(item.data)
            elif isinstance(item, Message | str):
                records.append({key: text_of(item)})
        if not records:
            raise self.fail("There is no text to split.")
        return records

    def _pieces(self, text: str) -> Iterator[str]:
        size, overlap = self.integer("chunk_size") or 1000, self.integer("chunk_overlap") or 0
        if size < 1 or not 0 <= overlap <= size:
            raise self.fail("The chunk size has to be positive, and the overlap at most as large.")
        separator = _unescaped(self.text("separator"))
        keep = str(self.values["keep_separator"]).lower()
        if not separator:
            splits, glue = list(text), ""
        elif keep in ("true", "start", "end"):
            splits, glue = _split_keeping(text, separator, at_end=keep == "end"), ""
        else:
            splits, glue = [part for part in text.split(separator) if part], separator
        return _merged(splits, glue, size, overlap)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _unescaped(separator: str) -> str:
    named = {"/n": "\n", "/t": "\t"}.get(separator, separator)
    return named.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")


def _split_keeping(text: str, separator: str, *, at_end: bool) -> list[str]:
    """Cut at the separator and leave it at one side of each cut."""
    first, *others = text.split(separator)
    if at_end:
        whole = [first, *others]
        kept = [part + separator for part in whole[:-1]] + [whole[-1]]
    else:
        kept = [first, *(separator + part for part in others)]
    return [part for part in kept if part]


def _merged(splits: Iterable[str], glue: str, size: int, overlap: int) -> Iterator[str]:
    """Put pieces together up to ``size`` characters; each chunk begins with up to ``overlap`` of the one before."""
    window: deque[str] = deque()
    length = 0  # of the window, glue included
    for piece in splits:
        needed = len(piece) + (len(glue) if window else 0)
        if window and length + needed > size:
            if chunk := glue.join(window).strip():
                yield chunk
            while window and (length > overlap or length + len(piece) + len(glue) > size):
                length -= len(window.popleft()) + (len(glue) if window else 0)
        length += len(piece) + (len(glue) if window else 0)
        window.append(piece)
    if chunk := glue.join(window).strip():
        yield chunk


class ParseData(Component):
    """Records as text by a template (older exports)."""

    names = ("ParseData",)
    display_name = "Data to Message"
    description = "Turns records into text with a template."
    fields = (
        Field("data", "handle", many=True),
        Field("template", "template", default="{text}"),
        Field("sep", default="\n"),
    )
    outputs = (Output("text", "parse_data"), Output("data_list", "parse_data_as_list"))
    __slots__ = ()

    def parse_data(self) -> Message:
        """The filled templates, joined."""
        return Message(self.text("sep").join(text for text, _ in self._lines()))

    def parse_data_as_list(self) -> list[Data]:
        """The records with the filled template as their text."""
        return [Data({**item.data, item.text_key: text}, item.text_key) for text, item in self._lines()]

    def _lines(self) -> list[tuple[str, Data]]:
        try:
            parts = parse(self.text("template"), columns=True)
        except ValueError as error:
            raise self.fail(f"The template cannot be used: {error}.") from None
        value = self.values["data"]
        items = value if isinstance(value, list) else [value]
        records = [item if isinstance(item, Data) else Data({"text": text_of(item)}) for item in items if item]
        lines = [(fill(parts, _with_inner(item)), item) for item in records]
        self.run.room_for(sum(len(text) for text, _ in lines))
        return lines


def _with_inner(item: Data) -> dict[str, str]:
    """A record's values; those of an inner ``data`` object count as its own."""
    inner = item.data.get("data")
    found = {**item.data, **(inner if isinstance(inner, dict) else {})}
    if not isinstance(inner, dict) and found.get("error"):
        found["text"] = found["error"]
    return _shown({**found, "data": item.data})


class ParseDataFrame(Component):
    """Rows as text by a template (older exports)."""

    names = ("ParseDataFrame",)
    display_name = "Parse DataFrame"
    description = "Turns the rows of a table into text with a template."
    fields = (
        Field("df", "handle"),
        Field("template", "template", default="{text}"),
        Field("sep", default="\n"),
    )
    outputs = (Output("text", "parse_data"),)
    __slots__ = ()

    def parse_data(self) -> Message:
        """The filled templates, joined."""
        table = self.values["df"]
        if not isinstance(table, Table):
            raise self.fail("A table is needed.")
        try:
            parts = parse(self.text("template") or "{text}", columns=True)
        except ValueError as error:
            raise self.fail(f"The template cannot be used: {error}.") from None
        lines = [fill(parts, _shown(row)) for row in table.rows]
        self.run.room_for(sum(map(len, lines)))
        return Message((self.text("sep") or "\n").join(lines))


class RegexExtractor(Component):
    """Everything in a text that matches a regular expression."""

    names = ("RegexExtractorComponent",)
    display_name = "Regex Extractor"
    description = "Finds everything in a text that matches a regular expression."
    fields = (
        Field("input_text", default="", tool="The text to search in."),
        Field("pattern", "template", default=""),
    )
    outputs = (Output("data", "extract_matches"), Output("text", "get_matches_text"))
    __slots__ = ()

    def extract_matches(self) -> list[Data]:
        """One record for each match."""
        return [Data({"match": match}) for match in self._found()]

    def get_matches_text(self) -> Message:
        """The matches, one a line."""
        return Message("\n".join(self._found()) or "No matches found")

    def _found(self) -> list[str]:
        try:
            return list(self._counted(find_all(self.text("pattern"), self.text("input_text"))))
        except ValueError as error:
            raise self.fail(str(error)) from None

    def _counted(self, matches: Iterable[str]) -> Iterator[str]:
        """Matches may overlap by what they look ahead to, so together they can be far longer than the text."""
        size = 0
        for match in matches:
            size += len(match)
            self.run.room_for(size)
            yield match
