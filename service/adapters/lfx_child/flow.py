"""One run, in a process of its own: from a document on a socket to lines of JSON on the same socket."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lfx.events.event_manager import create_stream_tokens_event_manager
from lfx.graph.graph.base import Graph
from lfx.graph.vertex.base import Vertex
from lfx.memory import stubs
from lfx.schema.message import Message

from service.adapters.lfx_child.stock import Stock

Json = dict[str, Any]
Tell = Callable[[Json], None]

#: Whoever owns the flow: lfx wants an id before it keeps messages, and nobody's name belongs here.
_NOBODY = str(uuid.UUID(int=0))
_BUILD = Vertex.build
_SHOWN = ("add_message", "token")


class Failed(Exception):
    """A component's own failure, with the id of its node."""

    def __init__(self, node: str | None, error: BaseException) -> None:
        super().__init__(node)
        self.node, self.error = node, error


def run(order: Json, stock: Stock, tell: Tell, folder: Path) -> None:
    """Run a flow and tell what happens; the last line is ``end`` or ``failed``."""
    try:
        tell({"end": asyncio.run(_answer(order, stock, tell, folder))})
    except MemoryError:
        tell({"failed": {"kind": "memory"}})
    except Failed as failure:
        tell({"failed": {"kind": "component", "node": failure.node, **_described(failure.error)}})
    except Exception as error:
        tell({"failed": {"kind": "flow", **_described(error)}})


def warm_up(stock: Stock, folder: Path) -> None:
    """Run a chat of lfx's own components once, so that what lfx loads late is there before anybody waits for it."""
    start, end = stock.node("ChatInput", "in"), stock.node("ChatOutput", "out")
    source = {"dataType": "ChatInput", "id": "in", "name": "message", "output_types": ["Message"]}
    target = {"fieldName": "input_value", "id": "out", "inputTypes": ["Message"], "type": "other"}
    edge = {"id": "e", "source": "in", "target": "out", "data": {"sourceHandle": source, "targetHandle": target}}
    order: Json = {
        "flow": {"nodes": [start, end], "edges": [edge]}, "flow_id": _NOBODY, "session_id": _NOBODY,
        "run_id": _NOBODY, "input": {"value": "hello", "type": "chat", "components": []}, "output_type": "chat",
        "outputs": None, "stream": True, "trace": False, "history": [], "files": {}, "allow_code": False,
    }  # fmt: skip
    run(order, stock, lambda _: None, folder)


async def _answer(order: Json, stock: Stock, tell: Tell, folder: Path) -> Json:
    _place_files(order, folder)
    graph = Graph.from_payload(_prepared(order, stock), flow_id=order["flow_id"], user_id=_NOBODY)
    graph.session_id = order["session_id"]
    graph.set_run_id(order["run_id"])
    graph.context["no_env_fallback"] = True
    _remember(order, tell)
    _watch(tell, traced=order["trace"])
    events = create_stream_tokens_event_manager(_Wire(tell)) if order["stream"] else None
    given = order["input"]
    try:
        results = await graph.arun(
            inputs=[{} if given["value"] is None else {"input_value": given["value"]}],
            inputs_components=[given["components"]],
            types=[given["type"]],
            outputs=_wanted(graph, order),
            stream=order["stream"],
            session_id=order["session_id"],
            fallback_to_env_vars=False,
            event_manager=events,
        )
    except MemoryError:
        raise
    except Exception as error:
        raise _blamed(error) from None
    outputs = [json.loads(result.model_dump_json()) for result in results]
    return {"outputs": outputs, "tokens": _tokens(graph)}


def _prepared(order: Json, stock: Stock) -> Json:
    """The flow with lfx's own source in every node; a flow's own only where the operator allows it."""
    for node in order["flow"]["nodes"]:
        data = node["data"]
        if order["allow_code"] and data["node"]["template"].get("code", {}).get("value"):
            continue
        stock.complete(data["type"], data["node"])
        data["type"] = stock.name(data["type"])
    return dict(order["flow"])


def _place_files(order: Json, folder: Path) -> None:
    """Write the uploads that fields name into the run's folder, and let the fields name the copies."""
    for node in order["flow"]["nodes"]:
        for field in node["data"]["node"]["template"].values():
            names = field.pop("uploads", None) if isinstance(field, dict) else None
            if names is None:
                continue
            paths = [str(_written(order["files"][name], folder)) for name in names]
            field["file_path"] = paths if field.get("list") else (paths[0] if paths else "")


def _written(upload: Json, folder: Path) -> Path:
    place = folder / uuid.uuid4().hex
    place.mkdir()
    path = place / str(upload["name"])
    path.write_bytes(base64.b64decode(upload["content"]))
    return path


def _wanted(graph: Graph, order: Json) -> list[str]:
    """Which results are asked for, as Langflow's run endpoint chooses."""
    asked, kind = order["outputs"], order["output_type"]
    if asked:
        return [v.id for v in graph.vertices if v.id in asked or v.display_name in asked]
    if asked is None and kind == "debug":
        return [vertex.id for vertex in graph.vertices]
    ends = [vertex.id for vertex in graph.vertices if vertex.is_output]
    if asked is None and kind != "any":
        return [one for one in ends if kind in one.lower()] or ends
    return ends


class _Wire:
    """Takes what lfx puts into an event queue."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def put_nowait(self, item: tuple[str, bytes, float]) -> None:
        event = json.loads(item[1])
        data = event["data"]
        # What a failed component says may hold anything; the failure itself is told apart from this.
        if event["event"] in _SHOWN and not (isinstance(data, dict) and (data.get("error") or _is_error(data))):
            self._tell({"event": event["event"], "data": data})

    def __bool__(self) -> bool:
        return True


def _is_error(message: Json) -> bool:
    return message.get("category") == "error"


def _remember(order: Json, tell: Tell) -> None:
    """Put the history that came with the order where lfx looks for its own, and tell what is added to it."""
    history = [Message(**one) for one in order["history"]]

    async def store(message: Message, flow_id: Any = None, run_id: Any = None, user_id: Any = None) -> list[Message]:
        del user_id
        if not message.session_id or not message.sender or not message.sender_name:
            raise ValueError("A message to be stored needs a session_id, a sender and a sender_name.")
        if not message.has_id():
            message.id = str(uuid.uuid4())
        message.flow_id, message.run_id = str(flow_id or order["flow_id"]), str(run_id or order["run_id"])
        _keep(message)
        return [message]

    async def update(messages: Message | list[Message]) -> list[Message]:
        changed = messages if isinstance(messages, list) else [messages]
        for message in changed:
            _keep(message)
        return changed

    async def load(sender: str | None = None, sender_name: str | None = None, session_id: Any = None,
                   context_id: Any = None, order_by: str | None = "timestamp", order: str | None = "DESC",
                   flow_id: Any = None, limit: int | None = None, user_id: Any = None) -> list[Message]:  # fmt: skip
        del order_by, flow_id, user_id
        wanted = {"sender": sender, "sender_name": sender_name, "session_id": session_id, "context_id": context_id}
        filters = {name: str(value) for name, value in wanted.items() if value}
        found = [m for m in history if all(str(getattr(m, name)) == value for name, value in filters.items())]
        newest_first = found[::-1][:limit]
        return newest_first if (order or "DESC").upper() == "DESC" else newest_first[::-1]

    async def forget(id_: str) -> None:
        history[:] = [message for message in history if message.get_id() != id_]

    def _keep(message: Message) -> None:
        if getattr(message, "error", False) or getattr(message, "category", "") == "error":
            return
        history[:] = [one for one in history if one.get_id() != message.get_id()] + [message]
        tell({"store": json.loads(message.model_dump_json())})

    stubs.astore_message, stubs.aupdate_messages = store, update
    stubs.aget_messages, stubs.delete_message = load, forget


def _watch(tell: Tell, *, traced: bool) -> None:
    """Have each component's time told, and its failures carry its id."""

    async def watched(self: Vertex, *positional: Any, **named: Any) -> Any:
        began = time.monotonic()
        try:
            result = await _BUILD(self, *positional, **named)
        except (MemoryError, Failed, asyncio.CancelledError):
            raise
        # SystemExit and what libraries in other languages panic with are failures of the component, too.
        except BaseException as error:
            raise Failed(self.id, error) from error
        if traced:
            tell({"step": [self.id, time.monotonic() - began]})
        return result

    Vertex.build = watched


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _blamed(error: Exception) -> Exception:
    """The first failure of a component among the causes; lfx wraps errors in errors."""
    chain = list(_causes(error))
    for one in chain:
        if isinstance(one, MemoryError):
            return one
    return next((one for one in chain if isinstance(one, Failed)), Failed(None, error))


def _described(error: BaseException) -> Json:
    """The kind and the place of an error and a module that is missing; its text may hold a secret."""
    root = list(_causes(error))[-1]
    frames = traceback.extract_tb(root.__traceback__)
    where = f"{frames[-1].name}:{frames[-1].lineno}" if frames else "unknown"
    missing = root.name if isinstance(root, ModuleNotFoundError) else None
    return {"type": type(root).__name__, "where": where, "missing": missing}


def _tokens(graph: Graph) -> list[int] | None:
    """What all models of the run have used: read, written; None where none told."""
    used = [vertex.result.token_usage for vertex in graph.vertices if getattr(vertex, "result", None) is not None]
    counts = [(one.input_tokens or 0, one.output_tokens or 0) for one in used if one is not None]
    return [sum(one[0] for one in counts), sum(one[1] for one in counts)] if counts else None
