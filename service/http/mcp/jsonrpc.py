"""JSON-RPC 2.0, as far as MCP uses it: https://www.jsonrpc.org/specification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND = -32700, -32600, -32601
INVALID_PARAMS, INTERNAL_ERROR = -32602, -32603
#: From the range that is left to implementations.
CANCELLED, LIMITED = -32000, -32001

_LONGEST, _LARGEST = 200, 2**53
Id = int | str
Json = dict[str, Any]


class Fault(Exception):
    """A request that is answered with a JSON-RPC error.

    Args:
        code: a JSON-RPC error code.
        message: fit for the client.
        data: more about it.
        id: of the request, where it could be read.
    """

    def __init__(self, code: int, message: str, data: object = None, id: Id | None = None) -> None:
        super().__init__(message)
        self.code, self.data, self.id = code, data, id


@dataclass(frozen=True, slots=True)
class Message:
    """A request, or a notification, which has no id and gets no answer."""

    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    id: Id | None = None

    @property
    def meta(self) -> Mapping[str, Any]:
        """What the caller says about the request."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}


def message_of(content: object) -> Message | None:
    """Return the message that a parsed body is; None for an answer, which nobody here waits for.

    Raises:
        Fault: it is none.
    """
    if not isinstance(content, dict) or content.get("jsonrpc") != "2.0":
        raise Fault(INVALID_REQUEST, 'Invalid request: a message is an object with "jsonrpc": "2.0"')
    number = id_of(content.get("id"))
    if "id" in content and number is None:
        raise Fault(INVALID_REQUEST, "Invalid request: the id has to be a string or a whole number")
    if "method" not in content and ("result" in content or "error" in content):
        return None
    method, params = content.get("method"), content.get("params")
    if not isinstance(method, str) or len(method) > _LONGEST:
        raise Fault(INVALID_REQUEST, "Invalid request: the method has to be a string", id=number)
    if params is not None and not isinstance(params, dict):
        raise Fault(INVALID_REQUEST, "Invalid request: params have to be an object", id=number)
    return Message(method, params or {}, number)


def id_of(value: object) -> Id | None:
    """Return an id of a request, or None where the value cannot be one."""
    if isinstance(value, str) and len(value) <= _LONGEST:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return value
    return None


def result(id: Id | None, content: Json) -> Json:
    """Return the answer to a request."""
    return {"jsonrpc": "2.0", "id": id, "result": content}


def failure(fault: Fault) -> Json:
    """Return the answer to a request that failed."""
    error: Json = {"code": fault.code, "message": str(fault)}
    if fault.data is not None:
        error["data"] = fault.data
    return {"jsonrpc": "2.0", "id": fault.id, "error": error}


def notification(method: str, params: Json) -> Json:
    """Return a message that wants no answer."""
    return {"jsonrpc": "2.0", "method": method, "params": params}
