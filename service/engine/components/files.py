"""Files that the flow's owner has uploaded: text, tables, PDF and Word documents."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from service.domain.errors import ComponentFailed, RunFailed
from service.domain.ports import UploadedFile
from service.engine.component import Component, Output, Run
from service.engine.components.processing import csv_records
from service.engine.fields import Field
from service.engine.uploads import read, references
from service.engine.values import Data, Message, Table, as_json, text_of

Record = dict[str, object]

_MOST_PAGES = 2000
_MOST_UNPACKED = 50_000_000
#: Columns that one cell of a Word table may span; Word itself allows 63.
_WIDEST_CELL = 63
_TEXT = frozenset(
    "txt md mdx csv json yaml yml xml html htm rst log ini cfg toml py js ts tsx sh sql css tsv".split()  # noqa: SIM905
)


class File(Component):
    """Reads uploaded files. A path of the server means nothing here."""

    names = ("File", "FileComponent")
    display_name = "Read File"
    description = "Reads the chosen files."
    fields = (
        Field("path", "file"),
        Field("file_path", "handle", many=True),
        Field("separator", default="\n\n"),
        Field("silent_errors", "bool", default=False),
        Field("ignore_unsupported_extensions", "bool", default=True),
    )
    outputs = (
        Output("message", "load_files_message"),
        Output("dataframe", "load_files_structured"),
        Output("json", "load_files_json"),
        Output("data", "load_files_core"),
    )
    __slots__ = ()

    def load_files_message(self) -> Message:
        """The texts of all files, with the separator between them."""
        texts = [text for _, text in self._texts()]
        return Message((self.text("separator") or "\n\n").join(texts))

    def load_files_core(self) -> list[Data]:
        """One record for each file: ``text`` and ``file_path``."""
        return [Data({"file_path": file.name, "text": text}) for file, text in self._texts()]

    def load_files_structured(self) -> Table:
        """The rows of CSV and JSON files; other files give one row with their text."""
        rows: list[Record] = []
        for file, text in self._texts():
            rows.extend(_rows(file, text))
        return Table(rows)

    def load_files_json(self) -> Data:
        """The content of a JSON file; of other files, and of several, their rows under ``results``."""
        files = self._texts()
        if len(files) == 1 and _suffix(files[0][0].name) == "json":
            content = json.loads(files[0][1])
            return Data(content if isinstance(content, dict) else {"results": content})
        return Data({"results": [row for file, text in files for row in _rows(file, text)]})

    def _texts(self) -> list[tuple[UploadedFile, str]]:
        """The files with their texts; what cannot be read is left out where the author wants it so."""
        chosen = self._chosen()
        if not chosen:
            raise self.fail("No file is chosen.")
        found, size = [], 0
        for reference in chosen:
            self.run.tick()
            try:
                file = read(self, reference)
                text = text_in(file, self.run)
            except ComponentFailed as error:
                if not self.flag("silent_errors"):
                    raise self.fail(error.reason) from None
                continue
            size += len(text)
            self.run.room_for(size)
            found.append((file, text))
        return found

    def _chosen(self) -> tuple[str, ...]:
        connected = self.values.get("file_path")
        named = [_path_in(item) for item in (connected if isinstance(connected, list) else [connected])]
        return references([name for name in named if name]) or references(self.values.get("path"))


def _path_in(value: object) -> str:
    if isinstance(value, Data):
        return text_of(value.data.get("file_path") or value.data.get("text"))
    return text_of(value) if isinstance(value, Message | str) else ""


def _suffix(name: str) -> str:
    return name.rpartition(".")[2].lower()


def text_in(file: UploadedFile, run: Run) -> str:
    """The text of a file, by its suffix.

    Raises:
        ComponentFailed: a kind that cannot be read, or a broken or hostile file.
        RunTooLarge, RunTimedOut: a small file can hold any amount of text, and of work.
    """
    suffix = _suffix(file.name)
    reader = _READERS.get(suffix, _plain if suffix in _TEXT or "." not in file.name else None)
    if reader is None:
        raise ComponentFailed(f"Files of type {suffix[:20]} cannot be read.")
    try:
        return reader(file.content, run)
    except RunFailed:
        raise
    except Exception as error:
        # The libraries raise all kinds of errors for broken files, and their texts may quote the content.
        raise ComponentFailed(f"The file {file.name[:80]} cannot be read ({type(error).__name__}).") from None


def _plain(content: bytes, _run: Run) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _json(content: bytes, run: Run) -> str:
    """JSON on one line for each value, so that a broken file is found here."""
    return as_json(json.loads(_plain(content, run)))


def _pdf(content: bytes, run: Run) -> str:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(content))
    if len(reader.pages) > _MOST_PAGES:
        raise ComponentFailed(f"A PDF with more than {_MOST_PAGES} pages is not read.")
    return "\n\n".join(_watched((page.extract_text() for page in reader.pages), run))


def _docx(content: bytes, run: Run) -> str:
    import docx
    from docx.oxml.ns import qn

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # What a document unpacks to can be a thousand times its size.
        if sum(item.file_size for item in archive.infolist()) > _MOST_UNPACKED:
            raise ComponentFailed("The document is too large when it is unpacked.")
    document = docx.Document(io.BytesIO(content))
    if any(span.val > _WIDEST_CELL for span in document.element.body.iter(qn("w:gridSpan"))):
        raise ComponentFailed(f"The document has a table with a cell over more than {_WIDEST_CELL} columns.")
    paragraphs = (paragraph.text for paragraph in document.paragraphs)
    rows = (" | ".join(cell.text for cell in row.cells) for table in document.tables for row in table.rows)
    return "\n\n".join(text for text in _watched(chain(paragraphs, rows), run) if text)


def _watched(texts: Iterable[str], run: Run) -> Iterator[str]:
    """Pages, paragraphs or rows, as long as the run has time and room for them."""
    size = 0
    for text in texts:
        run.seconds_left()
        size += len(text)
        run.room_for(size)
        yield text


_READERS: dict[str, Callable[[bytes, Run], str]] = {"pdf": _pdf, "docx": _docx, "json": _json}


def _rows(file: UploadedFile, text: str) -> list[Record]:
    suffix = _suffix(file.name)
    if suffix == "csv":
        return csv_records(text)
    if suffix == "json":
        content = json.loads(text)
        items = content if isinstance(content, list) else [content]
        return [item if isinstance(item, dict) else {"text": text_of(item)} for item in items]
    return [{"file_path": file.name, "text": text}]
