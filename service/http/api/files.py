"""Uploaded files: Langflow's ``/api/v1/files`` (with a flow) and ``/api/v2/files`` (of a user)."""

from __future__ import annotations

import io
import mimetypes
import uuid
import zipfile
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from flask import Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from service.domain import files
from service.domain.errors import Invalid, NotFound, Rejected, TooLarge
from service.http.db import services, session
from service.http.parsing import Blueprint, path_id, read_json
from service.http.policy import caller
from service.http.schemas.files import FileSchema, ListedFileSchema
from service.storage.files import UploadedFileRow

blueprint = Blueprint("files", __name__, url_prefix="/api/v1/files", description="Files of a flow")
of_users = Blueprint("files_v2", __name__, url_prefix="/api/v2/files", description="Files of a user")

#: What a browser may show. Everything else could hold script and is only ever downloaded as bytes.
_SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "application/pdf"})
_ENVELOPE = 64 * 1024


@blueprint.post("/upload/<flow_id>", endpoint="upload")
@blueprint.response(201)
def upload(flow_id: str) -> Response:
    """Store a file with a flow."""
    row_id = path_id(flow_id, "flow_id")
    name, content = _received()
    row = files.store_for_flow(session(), caller().user_id, row_id, name, content, services().now())
    answer = jsonify({"flowId": str(row_id), "file_path": row.reference})
    answer.status_code = 201
    return answer


@blueprint.get("/download/<flow_id>/<file_name>", endpoint="download")
@blueprint.response(200)
def download(flow_id: str, file_name: str) -> Response:
    """Give a file of a flow back."""
    return _sent(_of_flow(flow_id, file_name))


@blueprint.get("/images/<flow_id>/<file_name>", endpoint="image")
@blueprint.response(200)
def image(flow_id: str, file_name: str) -> Response:
    """Show an image of a flow; to its owner only, unlike in Langflow."""
    row = _of_flow(flow_id, file_name)
    if not _kind(row.name).startswith("image/"):
        raise Rejected("This file is not an image that can be shown.")
    return _sent(row, inline=True)


@blueprint.get("/list/<flow_id>", endpoint="list")
@blueprint.response(200)
def list_files(flow_id: str) -> Response:
    """List the files of a flow."""
    return jsonify({"files": files.of_flow(session(), caller().user_id, path_id(flow_id, "flow_id"))})


@blueprint.delete("/delete/<flow_id>/<file_name>", endpoint="delete")
@blueprint.response(200)
def delete(flow_id: str, file_name: str) -> Response:
    """Delete a file of a flow."""
    files.check_flow(session(), caller().user_id, path_id(flow_id, "flow_id"))
    files.remove_reference(session(), caller().user_id, f"{flow_id}/{file_name}")
    return jsonify({"message": f"File {file_name} deleted successfully"})


@of_users.post("/", endpoint="upload")
@of_users.response(201, FileSchema)
def upload_for_user() -> UploadedFileRow:
    """Store a file."""
    name, content = _received()
    return files.store_for_user(session(), caller().user_id, name, content, services().now())


@of_users.get("/", endpoint="list")
@of_users.response(200, ListedFileSchema(many=True))
def list_of_user() -> Sequence[UploadedFileRow]:
    """List one's files, the newest first."""
    return files.of_user(session(), caller().user_id)


@of_users.delete("/", endpoint="delete_all")
@of_users.response(200)
def delete_all() -> Response:
    """Delete all of one's files."""
    count = files.remove_all(session(), caller().user_id)
    return jsonify({"message": f"All files deleted successfully ({count} deleted)"})


@of_users.post("/batch/", endpoint="download_many")
@of_users.response(200)
def download_many() -> Response:
    """Give several files back as one archive."""
    found = files.several(session(), caller().user_id, _ids())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for row in found:
            packed.writestr(row.reference.partition("/")[2], row.content)
    return _attachment(archive.getvalue(), "files.zip", "application/zip")


@of_users.delete("/batch/", endpoint="delete_many")
@of_users.response(200)
def delete_many() -> Response:
    """Delete several files."""
    found = files.several(session(), caller().user_id, _ids())
    for row in found:
        session().delete(row)
    return jsonify({"message": f"{len(found)} files deleted successfully"})


@of_users.get("/<file_id>", endpoint="get")
@of_users.response(200)
def get(file_id: str) -> Response:
    """Give a file back."""
    return _sent(files.get(session(), caller().user_id, path_id(file_id, "file_id")))


@of_users.put("/<file_id>", endpoint="rename")
@of_users.response(200, FileSchema)
def rename(file_id: str) -> UploadedFileRow:
    """Give a file another name; what flows call it stays."""
    name = request.args.get("name", "")
    return files.rename(session(), caller().user_id, path_id(file_id, "file_id"), name, services().now())


@of_users.delete("/<file_id>", endpoint="delete")
@of_users.response(200)
def delete_of_user(file_id: str) -> Response:
    """Delete a file."""
    row = files.get(session(), caller().user_id, path_id(file_id, "file_id"))
    name = row.name
    files.remove(session(), caller().user_id, row.id)
    return jsonify({"detail": f"File {name} deleted successfully"})


def _received() -> tuple[str, bytes]:
    """Name and content of the uploaded file.

    Raises:
        TooLarge: it is larger than this server takes.
        Rejected: there is no file.
    """
    megabytes = services().settings.max_file_size_upload_mb
    most = megabytes * 1024 * 1024
    too_large = TooLarge(f"File size is larger than the maximum file size {megabytes}MB.")
    if (request.content_length or 0) > most + _ENVELOPE:
        raise too_large  # before anything of it is written to a temporary file
    request.max_content_length = most + _ENVELOPE
    try:
        sent = request.files.get("file")
    except RequestEntityTooLarge:
        raise too_large from None
    if sent is None or not sent.filename:
        raise Rejected("No file provided")
    with closing(sent):
        content = sent.stream.read(most + 1)
    if len(content) > most:
        raise too_large
    return sent.filename, content


def _of_flow(flow_id: str, file_name: str) -> UploadedFileRow:
    wanted = path_id(flow_id, "flow_id")
    row = files.by_reference(session(), caller().user_id, f"{wanted}/{file_name}")
    if row.flow_id != wanted:
        raise NotFound("File not found")
    return row


def _kind(name: str) -> str:
    guessed = mimetypes.guess_type(name)[0] or ""
    return guessed if guessed in _SHOWN else "application/octet-stream"


def _sent(row: UploadedFileRow, *, inline: bool = False) -> Response:
    if inline:
        return Response(row.content, mimetype=_kind(row.name))
    return _attachment(row.content, row.name, _kind(row.name))


def _attachment(content: bytes, name: str, kind: str) -> Response:
    answer = Response(content, mimetype=kind)
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


def _ids() -> list[uuid.UUID]:
    body: Any = read_json(request)
    if not isinstance(body, list) or len(body) > files.MOST_AT_ONCE:
        raise Invalid.field("Input should be a valid list", "body", kind="list_type")
    try:
        return [uuid.UUID(str(item)) for item in body]
    except ValueError:
        raise Invalid.field("Input should be a valid UUID", "body", kind="uuid_parsing") from None
