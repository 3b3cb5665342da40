"""Chat messages and sessions (contract 1.7, Langflow's monitor)."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response, jsonify, request
from sqlalchemy.orm import Session

from service.domain import messages
from service.domain.errors import Invalid, Rejected
from service.http.db import catch_up, services, session
from service.http.parsing import Blueprint, path_id, read_json
from service.http.policy import caller
from service.http.schemas.messages import MessageReadSchema, MessageSchema, MessageUpdateSchema
from service.storage.messages import StoredChatMessage

blueprint = Blueprint("messages", __name__, url_prefix="/api/v1/monitor", description="Chat messages and sessions")


@blueprint.get("/messages", endpoint="list")
@blueprint.response(200, MessageSchema(many=True))
def list_messages() -> list[StoredChatMessage]:
    """List one's messages, the newest page of them in the asked order."""
    args = request.args
    order = args.get("order", "ASC").upper()
    if order not in ("ASC", "DESC"):
        raise Rejected(f"Invalid order direction: {args['order']}")
    return messages.list_of(
        _seen(),
        caller().user_id,
        flow_id=_optional_id("flow_id"),
        session_id=args.get("session_id", ""),
        sender=args.get("sender", ""),
        sender_name=args.get("sender_name", ""),
        order_by=args.get("order_by") or "timestamp",
        descending=order == "DESC",
        limit=_count("limit"),
        offset=_count("offset"),
    )


@blueprint.get("/messages/sessions", endpoint="sessions")
@blueprint.response(200)
def sessions() -> Response:
    """List the ids of one's sessions."""
    return jsonify(messages.sessions_of(_seen(), caller().user_id, _optional_id("flow_id")))


@blueprint.put("/messages/<message_id>", endpoint="update")
@blueprint.arguments(MessageUpdateSchema)
@blueprint.response(200, MessageReadSchema)
def update(body: dict[str, Any], message_id: str) -> StoredChatMessage:
    """Edit a message."""
    return messages.change(_seen(), caller().user_id, path_id(message_id, "message_id"), body)


@blueprint.patch("/messages/session/<path:session_id>", endpoint="rename_session")
@blueprint.response(200, MessageReadSchema(many=True))
def rename_session(session_id: str) -> Any:
    """Move the messages of a session to another session id."""
    if "new_session_id" not in request.args:
        raise Invalid.field("Field required", "query", "new_session_id", kind="missing")
    return messages.rename_session(_seen(), caller().user_id, session_id, request.args["new_session_id"])


@blueprint.delete("/messages", endpoint="delete")
@blueprint.response(204)
def delete() -> None:
    """Delete messages by id."""
    messages.remove(_seen(), caller().user_id, [_id(item) for item in _listed()])


@blueprint.delete("/messages/session/<path:session_id>", endpoint="delete_session")
@blueprint.response(204)
def delete_session(session_id: str) -> None:
    """Delete the messages of a session."""
    messages.remove_sessions(_seen(), caller().user_id, [session_id])


@blueprint.delete("/messages/sessions", endpoint="delete_sessions")
@blueprint.response(200)
def delete_sessions() -> Response:
    """Delete the messages of several sessions."""
    count = messages.remove_sessions(_seen(), caller().user_id, [_text(item) for item in _listed()])
    if not count:
        return jsonify({"message": "No sessions to delete", "deleted_count": 0})
    plural = "" if count == 1 else "s"
    return jsonify({"message": f"Messages deleted successfully for {count} session{plural}", "deleted_count": count})


def _seen() -> Session:
    """The session, after what this process still has in memory is written."""
    catch_up(services().messages)
    return session()


def _listed() -> list[Any]:
    body = read_json(request)
    if not isinstance(body, list) or len(body) > messages.MOST_SESSIONS:
        raise Invalid.field("Input should be a valid list", "body", kind="list_type")
    return body


def _text(item: object) -> str:
    if not isinstance(item, str):
        raise Invalid.field("Input should be a valid string", "body", kind="string_type")
    return item


def _id(item: object) -> uuid.UUID:
    try:
        return uuid.UUID(str(item))
    except ValueError:
        raise Invalid.field("Input should be a valid UUID", "body", kind="uuid_parsing") from None


def _optional_id(name: str) -> uuid.UUID | None:
    text = request.args.get(name)
    if not text:
        return None
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Invalid.field("Input should be a valid UUID", "query", name, kind="uuid_parsing") from None


def _count(name: str) -> int:
    text = request.args.get(name) or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Invalid.field("Input should be greater than or equal to 0", "query", name, kind="greater_than_equal")
    return int(text)
