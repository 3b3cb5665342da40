"""Making, choosing and joining records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from service.engine.component import Component, Draft, Output
from service.engine.fields import Field
from service.engine.patterns import COMPARISONS
from service.engine.values import Data, Message, Table, text_of

Record = dict[str, object]

_OWN = frozenset({"number_of_fields", "text_key", "text_key_validator", "old_data", "tools_metadata", "code"})


class CreateData(Component):
    """A record out of the fields that the author has added to the node."""

    names: ClassVar[tuple[str, ...]] = ("CreateData", "CreateDataComponent")
    display_name = "Create Data"
    description = "Makes a record out of fields."
    fields: ClassVar[tuple[Field, ...]] = (
        Field("number_of_fields", "int", default=1),
        Field("text_key", default=""),
        Field("text_key_validator", "bool", default=False),
    )
    outputs = (Output("data", "build_data"),)
    __slots__ = ()

    @classmethod
    def dynamic_fields(cls, draft: Draft) -> Iterable[Field]:
        """Every other field of the stored node."""
        return (Field(name, "any") for name in draft.node.fields if name not in _OWN)

    def build_data(self) -> Data:
        """The record."""
        record, key = self._record(), self.text("text_key")
        if self.flag("text_key_validator") and key and key not in record:
            raise self.fail(f"The text key {key} is not in the record.")
        return Data(record, key or "text")

    def _record(self) -> Record:
        record: Record = {}
        for name, value in self.values.items():
            if name not in _OWN and isinstance(value, dict):
                record.update({key: _bare(inner) for key, inner in value.items()})
        return record


def _bare(value: object) -> object:
    return text_of(value) if isinstance(value, Message | Data) else value


class UpdateData(CreateData):
    """A record, or each of several, with more fields."""

    names = ("UpdateData",)
    display_name = "Update Data"
    description = "Adds fields to a record, or changes them."
    fields = (Field("old_data", "handle"), *CreateData.fields)
    __slots__ = ()

    def build_data(self) -> object:  # type: ignore[override]  # a list in, a list out
        """The changed records; the ones that came in are left as they are."""
        old, new, key = self.values["old_data"], self._record(), self.text("text_key")
        items = old if isinstance(old, list) else [old]
        records = [item for item in items if isinstance(item, Data)]
        if not records:
            raise self.fail("There is no record to update.")
        changed = [Data({**item.data, **new}, key or item.text_key) for item in records]
        return changed if isinstance(old, list) else changed[0]


class FilterData(Component):
    """A record with only the chosen keys."""

    names = ("FilterData",)
    display_name = "Filter Data"
    description = "Keeps the chosen keys of a record."
    fields = (Field("data", "handle"), Field("filter_criteria", "any", many=True))
    outputs = (Output("filtered_data", "filter_data"),)
    __slots__ = ()

    def filter_data(self) -> Data:
        """The smaller record."""
        value, wanted = self.values["data"], self.values["filter_criteria"]
        keys = [text_of(key) for key in (wanted if isinstance(wanted, list) else [wanted])]
        record = value.data if isinstance(value, Data) else {}
        return Data({name: item for name, item in record.items() if name in keys})


class FilterDataValues(Component):
    """The records in which one key has a value."""

    names = ("FilterDataValues",)
    display_name = "Filter Values"
    description = "Keeps the records in which a key has a value."
    fields = (
        Field("input_data", "handle", many=True),
        Field("filter_key", default="route"),
        Field("filter_value", default="CMIP"),
        Field("operator", default="equals"),
    )
    outputs = (Output("filtered_data", "filter_data"),)
    __slots__ = ()

    def filter_data(self) -> list[object]:
        """The records that fit; all of them when there is nothing to compare."""
        value = self.values["input_data"]
        items = value if isinstance(value, list) else [] if value is None else [value]
        key, wanted = self.text("filter_key"), self.text("filter_value")
        if not key or not wanted:
            return items
        compare = COMPARISONS.get(self.text("operator"))
        if compare is None:
            raise self.fail(f"There is no operator {self.text('operator')[:80]}.")
        return [
            item
            for item in items
            if isinstance(item, Data) and key in item.data and compare(str(item.data[key]), wanted)
        ]


class SelectData(Component):
    """One record of a list."""

    names = ("SelectData",)
    display_name = "Select Data"
    description = "Picks one record of a list by its place."
    fields = (Field("data_list", "handle", many=True), Field("data_index", "int", default=0))
    outputs = (Output("selected_data", "select_data"),)
    __slots__ = ()

    def select_data(self) -> object:
        """The record at the place, counted from 0."""
        value, at = self.values["data_list"], self.integer("data_index") or 0
        items = value if isinstance(value, list) else [] if value is None else [value]
        if not 0 <= at < len(items):
            raise self.fail(f"There is no record at place {at} of {len(items)}.")
        return items[at]


class ExtractKey(Component):
    """One key of a record, as a record of its own."""

    names = ("ExtractaKey",)
    display_name = "Extract Key"
    description = "Takes one key out of a record."
    fields = (Field("data_input", "handle"), Field("key", default=""))
    outputs = (Output("extracted_data", "extract_key"),)
    __slots__ = ()

    def extract_key(self) -> object:
        """The record with that key; of a list, those that have it."""
        value, key = self.values["data_input"], self.text("key")
        if isinstance(value, list):
            return [Data({key: item.data[key]}) for item in value if isinstance(item, Data) and key in item.data]
        if not isinstance(value, Data):
            return Data({"error": "Invalid input. Expected Data object or list of Data objects."})
        if key not in value.data:
            return Data({"error": f"Key '{key}' not found in Data object."})
        return Data({key: value.data[key]})


class MessageToData(Component):
    """A message as a record."""

    names = ("MessagetoData",)
    display_name = "Message to Data"
    description = "Turns a message into a record."
    fields = (Field("message", "handle"),)
    outputs = (Output("data", "convert_message_to_data"),)
    __slots__ = ()

    def convert_message_to_data(self) -> Data:
        """What the message holds."""
        value = self.values["message"]
        if not isinstance(value, Message):
            return Data({"error": "Error converting Message to Data: Input must be a Message object"})
        return Data({
            **(value.extra or {}), "text": value.text, "files": list(value.files), "sender": value.sender,
            "sender_name": value.sender_name, "session_id": value.session_id, "context_id": value.context_id,
            "timestamp": value.stamp(),
        })  # fmt: skip


class DataToDataFrame(Component):
    """Records as the rows of a table."""

    names = ("DataToDataFrame", "DataToDataFrameComponent")
    display_name = "Data → DataFrame"
    description = "Turns records into a table."
    fields = (Field("data_list", "handle", many=True),)
    outputs = (Output("dataframe", "build_dataframe"),)
    __slots__ = ()

    def build_dataframe(self) -> Table:
        """One row for each record."""
        value = self.values["data_list"]
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, Data) for item in items):
            raise self.fail("Only records can become rows.")
        return Table([_row(item) for item in items if isinstance(item, Data)])


def _row(item: Data) -> Record:
    text = item.data.get(item.text_key)
    return {**item.data, "text": text} if text else dict(item.data)


class CreateList(Component):
    """A list of texts as records."""

    names = ("CreateList",)
    display_name = "Create List"
    description = "Makes a list of records out of texts."
    fields = (Field("texts", "any", many=True),)
    outputs = (Output("list", "create_list"), Output("dataframe", "as_dataframe"))
    __slots__ = ()

    def create_list(self) -> list[Data]:
        """One record for each text."""
        value = self.values["texts"]
        return [Data({"text": text_of(item)}) for item in (value if isinstance(value, list) else [value])]

    def as_dataframe(self) -> Table:
        """One row for each text."""
        return Table([item.data for item in self.create_list()])


class MergeData(Component):
    """Several records in one table."""

    names = ("MergeDataComponent",)
    display_name = "Combine Data"
    description = "Joins several records."
    fields = (Field("data_inputs", "handle", many=True), Field("operation", default="Concatenate"))
    outputs = (Output("combined_data", "combine_data"),)
    __slots__ = ()

    def combine_data(self) -> Table:
        """The joined table; empty with fewer than two records."""
        value = self.values["data_inputs"]
        records = [item.data for item in (value if isinstance(value, list) else [value]) if isinstance(item, Data)]
        join = _JOINS.get(self.text("operation"))
        if join is None:
            raise self.fail(f"There is no operation {self.text('operation')[:80]}.")
        return Table(join(records)) if len(records) > 1 else Table([])


def _concatenated(records: list[Record]) -> list[Record]:
    """One record; texts under one key are put below each other, of other values the last counts."""
    joined: Record = {}
    texts: dict[str, list[str]] = {}
    for key, value in (pair for record in records for pair in record.items()):
        joined[key] = value
        if isinstance(value, str):
            texts.setdefault(key, []).append(value)
        else:
            texts.pop(key, None)
    return [joined | {key: "\n".join(parts) for key, parts in texts.items()}]


def _gathered(records: list[Record]) -> list[Record]:
    """One record; texts under one key become a list."""
    joined: Record = {}
    lists: dict[str, list[object]] = {}
    for key, value in (pair for record in records for pair in record.items()):
        if key not in joined or not isinstance(value, str):
            joined[key] = value
            lists.pop(key, None)
        elif key in lists:
            lists[key].append(value)
        else:
            before = joined[key]
            joined[key] = lists[key] = [*before, value] if isinstance(before, list) else [before, value]
    return [joined]


def _side_by_side(records: list[Record]) -> list[Record]:
    """One record; from the second on, keys end in the number of their record."""
    first, *others = records
    joined = dict(first)
    for number, record in enumerate(others, 2):
        joined.update({f"{key}_doc{number}": value for key, value in record.items()})
    return [joined]


_JOINS: dict[str, Callable[[list[Record]], list[Record]]] = {
    "Concatenate": _concatenated,
    "Append": list,
    "Merge": _gathered,
    "Join": _side_by_side,
}
