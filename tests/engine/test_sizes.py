"""Small inputs stay small: what a run makes is counted before it is put together."""

from __future__ import annotations

import io
from typing import Any

import docx
import pytest

from service.domain.errors import ComponentFailed, RunTimedOut, RunTooLarge
from service.domain.ports import RunContext, UploadedFile
from service.engine import Limits, Outside
from service.engine.component import Run
from service.engine.components.files import text_in
from service.engine.components.processing import csv_records
from service.engine.patterns import find_all, matches
from service.engine.values import Data, Table, as_json, to_markdown, weight
from tests.engine.components.test_files import Shelf, made, pdf, word
from tests.engine.components.test_records import fielded, record, through
from tests.engine.conftest import Model, Runs
from tests.support import flows
from tests.support.flows import edge, node


@pytest.fixture
def small() -> Runs:
    """Runs that may produce two thousand characters."""
    return Runs(Model(), Limits(max_output_bytes=2000))


def split(runs: Runs, values: dict[str, Any], **how: Any) -> Any:
    return through(runs, "SplitText", "data_inputs", [record(**values)], "dataframe", **how)


def test_a_csv_whose_rows_are_shorter_than_its_header_has_a_limit_on_cells() -> None:
    assert len(csv_records("a,b\n" + "1\n" * 1000)) == 1000
    with pytest.raises(RunTooLarge, match="more than 1000000 cells"):
        csv_records("a," * 2000 + "b\n" + "1\n" * 1000)


def test_pieces_that_overlap_count_each_for_itself(small: Runs) -> None:
    how = {"chunk_size": 100, "separator": " "}
    assert len(split(small, {"text": "ab " * 100}, chunk_overlap=0, **how)) == 4
    with pytest.raises(RunTooLarge):
        split(small, {"text": "ab " * 100}, chunk_overlap=99, **how)


def test_pieces_count_with_what_each_of_them_carries(small: Runs) -> None:
    values, how = {"text": "ab " * 20, "about": "x" * 300}, {"chunk_size": 4, "chunk_overlap": 0, "separator": " "}
    with pytest.raises(RunTooLarge):
        split(small, values, **how)
    assert len(split(small, values, clean_output=True, **how)) == 20


def test_a_record_counts_with_all_its_texts(small: Runs) -> None:
    sources = [record("one", a="x" * 600), record("two", b="y" * 600)]
    with pytest.raises(RunTooLarge):
        through(small, "MergeDataComponent", "data_inputs", sources, "combined_data", operation="Append")


def test_texts_that_are_held_many_times_over_count_each_time() -> None:
    inner: list[object] = ["x" * 10]
    for _ in range(60):
        inner = [inner, inner]
    assert weight(Data({"all": inner}), 1000) > 1000
    assert weight(Table([{"a": "xx", "b": 1}]), 1000) < 20


def test_a_merge_of_many_records_gathers_their_texts_in_one_list(runs: Runs) -> None:
    sources = [record(str(number), a=str(number), b=[0]) for number in range(3)]
    rows = through(runs, "MergeDataComponent", "data_inputs", sources, "combined_data", operation="Merge")
    assert rows == [{"a": ["0", "1", "2"], "b": [0]}]


def test_matches_that_look_ahead_count_together(small: Runs) -> None:
    fields = fielded({"input_text": "x" * 200, "pattern": "(?=(.*))"})
    find = node("Regex-r", "RegexExtractorComponent", "Regex", fields, {"data": "extract_matches"})
    end = flows.chat_output()
    with pytest.raises(RunTooLarge):
        small.answer(flows.flow([find, end], [edge(find, "data", end, "input_value")]), None)


def test_a_pattern_of_any_length_is_not_read() -> None:
    with pytest.raises(ValueError, match="more than 10000 characters"):
        list(find_all("a?" * 6000, "a"))
    with pytest.raises(ValueError, match="more than 10000 characters"):
        matches("a?" * 6000, "a")


def test_groups_of_one_match_are_told_together() -> None:
    assert list(find_all("(a)(b)?", "abac")) == ["ab", "a"]


def test_a_table_with_one_long_cell_is_written_without_padding() -> None:
    table = Table([{"a": "x" * 10_000}, *({"a": "y"} for _ in range(1000))])
    assert len(to_markdown(table)) < 30_000
    assert to_markdown(Table(table.rows[:2])).splitlines()[3] == f"| y{' ' * 9_999} |"


def test_deep_json_is_written_as_long_as_a_run_may_be() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep, *([0] * 200)]
    assert as_json([1, {"a": "ä"}]) == '[\n  1,\n  {\n    "a": "ä"\n  }\n]'
    with pytest.raises(RunTooLarge, match="characters as JSON"):
        as_json(deep)


def test_a_cell_over_any_number_of_columns_is_refused(runs: Runs) -> None:
    document, stream = docx.Document(), io.BytesIO()
    document.add_table(1, 2).cell(0, 0)._tc.grid_span = 200_000
    document.save(stream)
    with pytest.raises(ComponentFailed, match="more than 63 columns"):
        made(runs, "message", "a__docx", shelf=Shelf(a__docx=stream.getvalue()))


@pytest.mark.parametrize("file", [UploadedFile("a.docx", word("One")), UploadedFile("a.pdf", pdf(2))])
def test_a_file_is_read_no_longer_than_the_run_may_last(file: UploadedFile) -> None:
    limits = Limits(wall_seconds=0)
    run = Run("flow", "session", "run", stream=False, outside=Outside({}), limits=limits, context=RunContext())
    with pytest.raises(RunTimedOut):
        text_in(file, run)
