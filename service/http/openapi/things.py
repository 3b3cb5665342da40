"""Operations on what users own: keys, variables, flows, projects, files, messages, users."""

from __future__ import annotations

from typing import Any

from service.domain.files import MOST_AT_ONCE
from service.domain.flows import FLOW_TYPES
from service.domain.flows import MOST_AT_ONCE as MOST_FLOWS
from service.domain.messages import MOST_SESSIONS
from service.http.openapi.shapes import BYTES, FLAG, NUMBER, TEXT, UUID, Json, exactly, listed, or_null, ref
from service.http.openapi.table import NAME, PRINTABLE, Operation, to

_KEY = {"api_key_id": "$response.body#/id"}
_FLOW = {"flow_id": "$response.body#/id"}
_FILE_KINDS = (
    "application/octet-stream",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/bmp",
    "application/pdf",
)
_MESSAGE = exactly(message=TEXT)
#: How an empty parameter is read: as none.
_ID_OR_NOTHING: Json = {"anyOf": [UUID, {"const": ""}]}
_FLAG: Json = FLAG | {"description": "also 1, 0, yes, no, on, off, t, f, y, n; empty: the default"}


def _json(schema: Json) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _form(schema: Json) -> dict[str, Any]:
    return {"multipart/form-data": {"schema": schema}}


_UPLOAD = _form({"type": "object", "properties": {"file": BYTES}, "required": ["file"]})


def _file_or_body(kind: str) -> dict[str, Any]:
    """A file as the part of a form, or as the whole body."""
    content = BYTES | {"format": kind, "contentMediaType": "application/octet-stream"}
    form = _form({"type": "object", "properties": {"file": content}, "required": ["file"]})
    return form | {"application/octet-stream": {"schema": content}}


_PAGE: dict[str, Json] = {
    "page": NUMBER | {"minimum": 1, "maximum": 2**31},
    "size": NUMBER | {"minimum": 1, "maximum": 100},
}
_PAGE_OF_FLOWS = exactly(items=listed(ref("Flow")), total=NUMBER, page=NUMBER, size=NUMBER, pages=NUMBER)
_PAGE_OF_HEADERS = exactly(items=listed(ref("FlowHeader")), total=NUMBER, page=NUMBER, size=NUMBER, pages=NUMBER)
_FLOW_LINKS = {
    "showFlow": to("flows.get", **_FLOW),
    "changeFlow": to("flows.update", **_FLOW),
    "replaceFlow": to("flows.put", **_FLOW),
    "deleteFlow": to("flows.delete", **_FLOW),
    "runFlow": to("runs.run", **_FLOW),
    "runFlowOften": to("runs.advanced", **_FLOW),
    "callFlow": to("runs.webhook", **_FLOW),
    "uploadToFlow": to("files.upload", **_FLOW),
    "listFilesOfFlow": to("files.list", **_FLOW),
    "askModel": to("openai.model", model_id="$response.body#/id"),
}

OPERATIONS: dict[str, Operation] = {
    "keys.list": Operation((422,)),
    "keys.create": Operation(
        links={
            "showKey": to("keys.get", **_KEY),
            "changeKey": to("keys.update", **_KEY),
            "rotateKey": to("keys.rotate", **_KEY),
            "countKey": to("keys.usage", **_KEY),
            "deleteKey": to("keys.delete", **_KEY),
        }
    ),
    "keys.get": Operation((404, 422)),
    "keys.update": Operation((400, 404)),
    "keys.rotate": Operation(
        (400, 404, 409),
        headers={"Idempotency-Key": TEXT | {"minLength": 16, "maxLength": 255, "pattern": "^[!-~]+$"}},
    ),
    "keys.usage": Operation((404, 422)),
    # Langflow says 400 for a missing key here.
    "keys.delete": Operation((400, 422)),
    "keys.store": Operation(),
    "users.whoami": Operation(),
    "users.create": Operation(
        (400,),
        location=True,
        links={
            "showUser": to("users.get", user_id="$response.body#/id"),
            "changeUser": to("users.update", user_id="$response.body#/id"),
            "deleteUser": to("users.delete", user_id="$response.body#/id"),
        },
    ),
    "users.list": Operation((422,)),
    "users.get": Operation((404, 422)),
    "users.update": Operation((400, 404)),
    "users.reset_password": Operation((400, 404)),
    "users.delete": Operation((400, 404, 422), answers={202: exactly(detail=TEXT, request_id=UUID)}),
    "audit.list": Operation((422,)),
    "variables.list": Operation(),
    "variables.explain": Operation((404, 422), query={"flow": NAME}, required_query=("flow",), shape="NotRunnable"),
    "variables.create": Operation(
        (400,),
        links={
            "changeVariable": to("variables.update", variable_id="$response.body#/id"),
            "deleteVariable": to("variables.delete", variable_id="$response.body#/id"),
        },
    ),
    "variables.update": Operation((400, 404)),
    "variables.delete": Operation((404, 422)),
    "flows.create": Operation((404,), shape="NotRunnable", links=_FLOW_LINKS),
    "flows.list": Operation(
        (422,),
        answers={200: {"anyOf": [listed(ref("Flow")), listed(ref("FlowHeader")), _PAGE_OF_FLOWS, _PAGE_OF_HEADERS]}},
        query={
            "folder_id": _ID_OR_NOTHING,
            "components_only": _FLAG,
            "header_flows": _FLAG,
            "get_all": _FLAG,
            "flow_type": {"enum": list(FLOW_TYPES)},
            **_PAGE,
        },
    ),
    "flows.get": Operation((404, 422)),
    "flows.update": Operation(
        (404, 409, 412, 423), shape="NotRunnable", headers={"If-Match": TEXT | {"description": "the version_token"}}
    ),
    "flows.put": Operation((404, 409, 423), answers={201: ref("Flow")}, shape="NotRunnable"),
    "flows.delete": Operation((404, 422), answers={200: _MESSAGE}),
    "flows.delete_many": Operation(
        (413, 415, 422),
        answers={200: exactly(deleted=NUMBER)},
        body=_json(listed(UUID, maxItems=MOST_FLOWS)),
        body_required=True,
    ),
    "flows.batch": Operation((404,), shape="NotRunnable"),
    "flows.upload": Operation(
        (400, 404, 413, 422),
        query={"folder_id": _ID_OR_NOTHING},
        body=_file_or_body("flow-file"),
        body_required=True,
        shape="NotRunnable",
    ),
    "flows.download": Operation(
        (404, 413, 415, 422),
        answers={200: ref("FlowDownload")},
        kinds=("application/json", "application/x-zip-compressed"),
        body=_json(listed(UUID, maxItems=MOST_FLOWS)),
        body_required=True,
    ),
    "flows.basic_examples": Operation(answers={200: listed(ref("FlowOfServer"))}),
    "flows.public_flow": Operation((404, 422), answers={200: ref("PublicFlow")}),
    "projects.list": Operation(),
    "projects.create": Operation(
        links={
            "showProject": to("projects.get", project_id="$response.body#/id"),
            "changeProject": to("projects.update", project_id="$response.body#/id"),
            "replaceProject": to("projects.put", project_id="$response.body#/id"),
            "downloadProject": to("projects.download", project_id="$response.body#/id"),
            "showTools": to("mcp_projects.get", project_id="$response.body#/id"),
            "deleteProject": to("projects.delete", project_id="$response.body#/id"),
        },
    ),
    "projects.get": Operation(
        (404, 422),
        answers={200: {"anyOf": [ref("ProjectWithFlows"), exactly(folder=ref("Project"), flows=_PAGE_OF_FLOWS)]}},
        query={**_PAGE, "is_component": _FLAG, "is_flow": _FLAG, "search": TEXT | {"maxLength": 255}},
    ),
    "projects.update": Operation((404, 409)),
    "projects.put": Operation((400, 404, 409), answers={201: ref("Project")}),
    "projects.delete": Operation((404, 422)),
    "projects.download": Operation((404, 422), answers={200: BYTES}, kinds=("application/x-zip-compressed",)),
    "projects.upload": Operation(
        (400, 413, 422), body=_file_or_body("project-file"), body_required=True, shape="NotRunnable"
    ),
    "mcp_projects.get": Operation((404, 422), query={"mcp_enabled": _FLAG}),
    "mcp_projects.update": Operation((400, 404), answers={200: _MESSAGE}),
    "files.upload": Operation(
        (400, 404, 413, 422), answers={201: exactly(flowId=UUID, file_path=TEXT)}, body=_UPLOAD, body_required=True
    ),
    "files.download": Operation((404, 422), answers={200: BYTES}, kinds=_FILE_KINDS, path={"file_name": NAME}),
    "files.image": Operation(
        (400, 404, 422), answers={200: BYTES}, kinds=_FILE_KINDS[1:-1], path={"file_name": NAME}
    ),
    "files.list": Operation((404, 422), answers={200: exactly(files=listed(TEXT))}),
    "files.delete": Operation((404, 422), answers={200: _MESSAGE}, path={"file_name": NAME}),
    "files_v2.upload": Operation(
        (400, 413, 422),
        body=_UPLOAD,
        body_required=True,
        links={
            "getFile": to("files_v2.get", file_id="$response.body#/id"),
            "renameFile": to("files_v2.rename", file_id="$response.body#/id"),
            "deleteFile": to("files_v2.delete", file_id="$response.body#/id"),
        },
    ),
    "files_v2.list": Operation(),
    "files_v2.delete_all": Operation(answers={200: _MESSAGE}),
    "files_v2.download_many": Operation(
        (404, 413, 415, 422),
        answers={200: BYTES},
        kinds=("application/zip",),
        body=_json(listed(UUID, maxItems=MOST_AT_ONCE)),
        body_required=True,
    ),
    "files_v2.delete_many": Operation(
        (404, 413, 415, 422),
        answers={200: _MESSAGE},
        body=_json(listed(UUID, maxItems=MOST_AT_ONCE)),
        body_required=True,
    ),
    "files_v2.get": Operation((404, 422), answers={200: BYTES}, kinds=_FILE_KINDS),
    "files_v2.rename": Operation((404, 422), query={"name": NAME}, required_query=("name",)),
    "files_v2.delete": Operation((404, 422), answers={200: exactly(detail=TEXT)}),
    "messages.list": Operation(
        (400, 422),
        query={
            "flow_id": _ID_OR_NOTHING,
            "session_id": TEXT,
            "sender": TEXT,
            "sender_name": TEXT,
            "order_by": {"enum": ["timestamp", "sender", "sender_name", "session_id", "text"]},
            "order": {"enum": ["ASC", "DESC", "asc", "desc"]},
            "limit": NUMBER | {"minimum": 0, "maximum": 999_999_999},
            "offset": NUMBER | {"minimum": 0, "maximum": 999_999_999},
        },
    ),
    "messages.sessions": Operation((422,), answers={200: listed(TEXT)}, query={"flow_id": _ID_OR_NOTHING}),
    "messages.update": Operation((404,)),
    "messages.rename_session": Operation(
        (404, 422),
        query={"new_session_id": NAME | {"maxLength": 1000, "pattern": "^[^\\u0000]*$"}},
        required_query=("new_session_id",),
        path={"session_id": NAME},
    ),
    "messages.delete": Operation(
        (413, 415, 422), body=_json(listed(UUID, maxItems=MOST_SESSIONS)), body_required=True
    ),
    "messages.delete_session": Operation(path={"session_id": NAME}),
    "messages.delete_sessions": Operation(
        (413, 415, 422),
        answers={200: exactly(message=TEXT, deleted_count=NUMBER)},
        body=_json(listed(TEXT, maxItems=MOST_SESSIONS)),
        body_required=True,
    ),
    "mcp_servers.list": Operation(
        answers={200: listed(exactly(name=TEXT, mode={"type": "null"}, toolsCount={"type": "null"}))}
    ),
    "mcp_servers.get": Operation((404,), answers={200: or_null({"type": "object"})}, path={"server_name": PRINTABLE}),
    "mcp_servers.create": Operation(
        (400, 404, 409, 413), answers={200: {"type": "object"}}, path={"server_name": PRINTABLE}
    ),
    "mcp_servers.update": Operation(
        (400, 404, 409, 413), answers={200: {"type": "object"}}, path={"server_name": PRINTABLE}
    ),
    "mcp_servers.delete": Operation((404,), answers={200: {"type": "null"}}, path={"server_name": PRINTABLE}),
}
