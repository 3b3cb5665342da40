"""Flows as files: what an upload holds, and what a download gives."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

from flask import Response, request
from marshmallow import ValidationError
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from service.domain import flows
from service.domain.errors import Invalid, Problem, Rejected
from service.http.db import services
from service.http.parsing import loads, problems_of
from service.http.schemas.flows import NewFlowSchema
from service.http.schemas.projects import NewProjectSchema

MOST_FILES = 500
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_RAW = frozenset({"application/octet-stream", "application/zip"})
_new_flow, _new_project = NewFlowSchema(), NewProjectSchema()


def uploaded() -> tuple[str, bytes]:
    """Return the name and the content of the request's file.

    It is the part "file" of a form, or the whole body, as Langflow's SDK sends projects.

    Raises:
        Rejected: there is none.
    """
    file = request.files.get("file")
    if file is not None:
        return file.filename or "", file.stream.read()
    if request.mimetype in _RAW and (raw := request.get_data()):
        return "", raw
    raise Rejected("No file provided")


def read_upload(raw: bytes) -> list[dict[str, Any]]:
    """Read the flows of an uploaded file: one flow, ``{"flows": [...]}``, or a zip of such files.

    Raises:
        Invalid: it is no JSON, or a flow has the wrong shape.
        Rejected: the zip cannot be read.
    """
    return [_loaded(one) for one in _documents(raw)]


def read_chosen(file: FileStorage) -> list[dict[str, Any]]:
    """Read the flows of a file that a person has chosen: as ``read_upload``, and what is wrong names the file.

    Raises:
        Rejected: it holds no flows.
        Invalid: a flow has the wrong shape.
        RequestEntityTooLarge: as a zip, it holds too much.
    """
    name, raw = file.filename or "The file", file.stream.read()
    try:
        documents = _documents(raw)
    except Invalid:
        raise Rejected(f"{name} is not JSON") from None
    flows.check_exported(documents, name)
    return [_loaded(one) for one in documents]


def project_upload(filename: str, raw: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read a project of an uploaded file: what it is called, and its flows.

    Args:
        filename: of the file; a zip is a project of that name.
        raw: the file.

    Raises:
        Rejected: a part is missing, in Langflow's words.
        Invalid: as for ``read_upload``.
    """
    if raw.startswith(b"PK\x03\x04"):
        return _named(filename.rpartition("/")[2].rsplit(".", 1)[0] or "Imported Project", ""), read_upload(raw)
    content = _json(raw)
    if not isinstance(content, dict):
        raise Rejected("Invalid project data: expected a JSON object with 'folder_name' and 'flows' fields")
    if missing := [name for name in ("folder_name", "flows") if name not in content]:
        raise Rejected(f"Missing required field(s): {', '.join(missing)}")
    if not isinstance(content["flows"], list):
        raise Invalid.field("Input should be a valid list", "body", "flows", kind="list_type")
    named = _named(content["folder_name"], content.get("folder_description"))
    return named, [_loaded(one) for one in content["flows"]]


def _named(name: Any, description: Any) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = _new_project.load({"name": name, "description": description})
    except ValidationError as error:
        raise Invalid(problems_of({"json": error.messages_dict})) from None
    return loaded


def archive(bodies: list[dict[str, Any]], of: str) -> Response:
    """Return a zip with a file for each flow; ``of`` stands in its name."""
    name = f"{services().now():%Y%m%d_%H%M%S}_{of}_flows.zip"
    response = Response(_zipped(bodies), mimetype="application/x-zip-compressed")
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


def given(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the export wrote as null for "nothing chosen"."""
    return without_circles({name: value for name, value in body.items() if value is not None})


def without_circles(body: dict[str, Any]) -> dict[str, Any]:
    """Refuse what could never run here or elsewhere; everything else is stored as it comes."""
    if body.get("data"):
        services().runner.check(body["data"])
    return body


def _documents(raw: bytes) -> list[Any]:
    if not raw.startswith(b"PK\x03\x04"):
        return _flows_in(raw)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = [one for one in archive.infolist() if one.filename.lower().endswith(".json")]
            # Judged by what the archive says it unpacks to: a zip bomb is small only while packed.
            if (
                len(members) > MOST_FILES
                or sum(one.file_size for one in members) > services().settings.max_body_bytes
            ):
                raise RequestEntityTooLarge
            return [flow for one in members for flow in _flows_in(archive.read(one))]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        raise Rejected("The file is not a zip that can be read") from None


def _flows_in(raw: bytes) -> list[Any]:
    content = _json(raw)
    if isinstance(content, dict) and isinstance(content.get("flows"), list):
        return list(content["flows"])
    return [content]


def _json(raw: bytes) -> Any:
    try:
        return loads(raw)
    except (ValueError, RecursionError):
        problem = Problem(("body", "file"), "json_invalid", "The file is not JSON")
        raise Invalid([problem]) from None


def _loaded(document: Any) -> dict[str, Any]:
    try:
        loaded = _new_flow.load(document)
    except ValidationError as error:
        raise Invalid(problems_of({"json": error.messages_dict})) from None
    # The folder named in a file is one of the server that wrote it.
    return {name: value for name, value in given(dict(loaded)).items() if name != "folder_id"}


def _zipped(bodies: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    names: set[str] = set()
    with zipfile.ZipFile(buffer, "w") as archive:
        for body in bodies:
            stem = re.sub(r"[^\w .()-]", "_", body["name"]).strip(". ") or "flow"
            name = stem if stem not in names else f"{stem} {body['id']}"
            names.add(name)
            # Without the time of day: the same flows make the same file.
            entry = zipfile.ZipInfo(f"{name}.json", _NO_TIME)
            archive.writestr(entry, json.dumps(body, indent=2, ensure_ascii=False), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
