"""Flows for MCP clients (contract 1.9): streamable HTTP, and the older HTTP+SSE."""

from __future__ import annotations

from flask import Blueprint, Request, Response, request
from werkzeug.exceptions import MethodNotAllowed, NotAcceptable

from service.domain import mcp
from service.domain.errors import NotFound
from service.http.db import reads_only, services, session
from service.http.identity import lasting
from service.http.mcp import legacy, revisions, streamable
from service.http.mcp.exchange import Exchange, session_id_of
from service.http.mcp.jsonrpc import Fault
from service.http.parsing import global_variables
from service.http.policy import visitor
from service.http.streaming import departed

blueprint = Blueprint("mcp", __name__, url_prefix="/api/v1")

_ALL, _PROJECT, _ALIAS = "/mcp", "/mcp/project/<project_id>", "/mcp-projects/<project_id>"


@blueprint.post(f"{_ALL}/streamable/", endpoint="message")
@blueprint.post(f"{_PROJECT}/streamable/", endpoint="project_message")
@blueprint.post(f"{_ALIAS}/streamable/", endpoint="project_message")
def message(project_id: str | None = None) -> Response:
    """Answer a message."""
    return _answered(request, project_id)


@blueprint.post(f"{_ALL}/", endpoint="post")
@blueprint.post(f"{_PROJECT}/", endpoint="project_post")
@blueprint.post(f"{_ALIAS}/", endpoint="project_post")
def post(project_id: str | None = None) -> Response:
    """Take a message for an open stream; one that names none is answered as on ``/streamable``."""
    token = request.args.get("session_id")
    if token is None:
        return _answered(request, project_id)
    _check_legacy()
    return legacy.posted(_exchange(project_id, legacy.REVISION, token), request)


@blueprint.get(f"{_ALL}/sse", endpoint="stream")
@blueprint.get(f"{_PROJECT}/sse", endpoint="project_stream")
@blueprint.get(f"{_ALIAS}/sse", endpoint="project_stream")
def stream(project_id: str | None = None) -> Response:
    """Open a stream out of which the answers to POSTs come."""
    _check_legacy()
    exchange = _exchange(project_id, legacy.REVISION)
    if request.method == "HEAD":
        return Response(mimetype="text/event-stream")
    if request.accept_mimetypes and not request.accept_mimetypes.quality("text/event-stream"):
        raise NotAcceptable
    endpoint = services().settings.root_path + request.path.rstrip("/").removesuffix("sse")
    return legacy.opened(exchange, endpoint, departed(request), lasting(request, exchange.own))


@blueprint.route(f"{_ALL}/streamable/", methods=["GET", "DELETE"], endpoint="nothing")
@blueprint.route(f"{_PROJECT}/streamable/", methods=["GET", "DELETE"], endpoint="project_nothing")
@blueprint.route(f"{_ALIAS}/streamable/", methods=["GET", "DELETE"], endpoint="project_nothing")
def nothing(project_id: str | None = None) -> Response:
    """Say that this server sends nothing unasked and remembers no session; a HEAD asks whether it is there."""
    _exchange(project_id, revisions.ASSUMED)
    if request.method == "HEAD":
        return Response()
    raise MethodNotAllowed(["POST"])


@blueprint.errorhandler(Fault)
def _refused(fault: Fault) -> Response:
    return streamable.refused(fault, request.headers.get("MCP-Protocol-Version", revisions.ASSUMED))


def _answered(request: Request, project_id: str | None) -> Response:
    sent = session_id_of(request.headers.get("Mcp-Session-Id"))
    exchange = _exchange(project_id, revisions.spoken(request), sent)
    return streamable.answer(exchange, request, streamable.body_of(request))


def _exchange(project_id: str | None, revision: str, session_id: str | None = None) -> Exchange:
    own, identity = services(), visitor()
    request.max_content_length = min(streamable.MOST_BODY, own.settings.max_body_bytes)
    reads_only()
    whom = mcp.audience(session, identity, project_id)
    return Exchange(whom, identity, own, request.remote_addr, revision, session_id, global_variables(request))


def _check_legacy() -> None:
    if not services().settings.mcp_sse_enabled:
        raise NotFound("SSE transport is disabled. Use the Streamable HTTP endpoint.")
