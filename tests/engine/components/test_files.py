from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import docx
import pytest
from pypdf import PdfWriter

from service.domain.errors import ComponentFailed, NotFound
from service.domain.ports import RunContext, UploadedFile
from tests.engine.conftest import Runs
from tests.support import flows
from tests.support.flows import Json, edge, field, node


class Shelf:
    """Uploads by reference."""

    def __init__(self, **files: bytes) -> None:
        self.files = files

    def read(self, reference: str) -> UploadedFile:
        if reference not in self.files:
            raise NotFound("File not found")
        return UploadedFile(reference.replace("__", "."), self.files[reference])


def reading(output: str, *names: str, **more: Any) -> Json:
    path = field("path", "", kind="file", file_path=list(names), list=True)
    extra = [field(name, value, kind="bool" if isinstance(value, bool) else "str") for name, value in more.items()]
    read, end = node("File-f", "File", "File", [path, *extra], {output: output}), flows.chat_output()
    return flows.flow([read, end], [edge(read, output, end, "input_value")])


def made(runs: Runs, output: str, *names: str, shelf: Shelf, **more: Any) -> Any:
    data, context = reading(output, *names, **more), RunContext(uploads=shelf)
    answer: Any = runs.answer(data, None, output_type="debug", context=context)
    return next(r for r in answer["outputs"] if r["component_id"] == "File-f")["results"][output]


def word(*lines: str) -> bytes:
    document, stream = docx.Document(), io.BytesIO()
    for line in lines:
        document.add_paragraph(line)
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    document.save(stream)
    return stream.getvalue()


def pdf(pages: int = 1) -> bytes:
    writer, stream = PdfWriter(), io.BytesIO()
    for _ in range(pages):
        writer.add_blank_page(100, 100)
    writer.write(stream)
    return stream.getvalue()


def test_texts_are_joined_with_the_separator(runs: Runs) -> None:
    shelf = Shelf(a__txt="grün".encode(), b__md=b"# two", c__py="caf\xe9".encode("latin-1"))
    assert made(runs, "message", "a__txt", "b__md", "c__py", shelf=shelf, separator="|")["text"] == "grün|# two|café"


def test_a_csv_file_becomes_rows_with_numbers(runs: Runs) -> None:
    rows = made(runs, "dataframe", "a__csv", shelf=Shelf(a__csv=b"name,age\nAda,36\nAlan,\n"))
    assert rows == [{"name": "Ada", "age": "36"}, {"name": "Alan", "age": None}]
    rows = made(runs, "dataframe", "a__csv", shelf=Shelf(a__csv=b"n,x\n1,1.5\n2,2\n"))
    assert rows == [{"n": 1, "x": 1.5}, {"n": 2, "x": 2.0}]


def test_a_json_file_becomes_a_record_or_rows(runs: Runs) -> None:
    shelf = Shelf(a__json=b'{"a": 1}', b__json=b'[{"a": 1}, {"a": 2}]')
    assert made(runs, "json", "a__json", shelf=shelf)["data"] == {"a": 1}
    assert made(runs, "dataframe", "b__json", shelf=shelf) == [{"a": 1}, {"a": 2}]
    assert json.loads(made(runs, "message", "a__json", shelf=shelf)["text"]) == {"a": 1}


def test_a_word_document_is_read_with_its_tables(runs: Runs) -> None:
    assert made(runs, "message", "a__docx", shelf=Shelf(a__docx=word("One", "Two")))["text"] == (
        "One\n\nTwo\n\nleft | right"
    )


def test_a_pdf_is_read(runs: Runs) -> None:
    assert made(runs, "message", "a__pdf", shelf=Shelf(a__pdf=pdf(2)))["text"] == "\n\n"


@pytest.mark.parametrize("name", ["a__pdf", "a__docx", "a__json"])
def test_a_broken_file_fails_the_component_and_quotes_nothing_of_it(runs: Runs, name: str) -> None:
    with pytest.raises(ComponentFailed, match="cannot be read") as failed:
        made(runs, "message", name, shelf=Shelf(**{name: b"canary {"}))
    assert "canary" not in str(failed.value)


def test_a_document_that_unpacks_to_far_too_much_is_not_read(runs: Runs) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"word/{number}.xml", b"\0" * 80_000_000)
    with pytest.raises(ComponentFailed, match="too large when it is unpacked"):
        made(runs, "message", "a__docx", shelf=Shelf(a__docx=stream.getvalue()))


def test_an_unknown_kind_is_told(runs: Runs) -> None:
    with pytest.raises(ComponentFailed, match="Files of type exe cannot be read"):
        made(runs, "message", "a__exe", shelf=Shelf(a__exe=b"MZ"))


def test_errors_are_silent_where_the_author_wants_it_so(runs: Runs) -> None:
    shelf = Shelf(a__exe=b"MZ", b__txt=b"two")
    assert made(runs, "message", "a__exe", "gone", "b__txt", shelf=shelf, silent_errors=True)["text"] == "two"


def test_no_chosen_file_is_told(runs: Runs) -> None:
    with pytest.raises(ComponentFailed, match="No file is chosen"):
        made(runs, "message", shelf=Shelf())


def test_without_uploads_there_is_no_file(runs: Runs) -> None:
    with pytest.raises(ComponentFailed, match="There is no uploaded file passwd"):
        runs.answer(reading("message", "/etc/passwd"), None)
