"""Flows that the embedded engine cannot run, run by lfx: the same answers on every way in."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from service.adapters.providers import Providers
from service.domain.ports import RunInput, RunSpec
from service.engine import Limits, Outside
from service.engine.elsewhere import ElsewhereEngine
from tests.golden.normal import comparable
from tests.golden.recipes import CHAT
from tests.lfx.conftest import result_of, store, text_of
from tests.support import flows, lfx
from tests.support.client import Api
from tests.support.waiting import until

FLOW_ID = "00000000-0000-0000-0000-000000000001"
GOLDEN = Path(__file__).parents[1] / "golden" / "cases"
CANARY = "open('/dev/shm/lfx-canary', 'w').close()\nraise SystemExit('stored code was executed')\n"


def joined(kind: str, output: str) -> flows.Json:
    """A chat that answers with the message and what a component of a type says, through one that only lfx has."""
    nodes = {**CHAT, "more": (kind, {}), "join": ("CombineText", {"delimiter": " "}),
             "alter": ("AlterMetadata", {"metadata": {"a": "b"}})}  # fmt: skip
    edges = ["in.message > join.text1", f"more.{output} > join.text2", "join.combined_text > alter.input_value",
             "alter.data > out.input_value"]  # fmt: skip
    return lfx.exported(nodes, edges)


def test_a_flow_with_a_component_that_only_lfx_has_is_run(mine: Api) -> None:
    store(mine, lfx.altered())
    found = result_of(mine.post("/run/flow", json={"input_value": "hello"}))
    assert found["results"]["message"]["text"] == "hello"
    assert found["component_id"] == "ChatOutput-out"


def test_a_component_of_lfx_does_its_work(mine: Api) -> None:
    store(mine, lfx.altered())
    body = {"input_value": "hello", "output_component": "AlterMetadata-alter"}
    assert "'seen': 'yes'" in result_of(mine.post("/run/flow", json=body))["artifacts"]["data"]["repr"]


@pytest.mark.parametrize("name", ["chat_in_a_session", "every_result", "loop", "prompt", "webhook", "tweak_by_id"])
def test_the_answer_is_what_the_embedded_engine_answers(app: Flask, name: str) -> None:
    case = json.loads((GOLDEN / f"{name}.json").read_text())
    request = case["request"]
    engine = ElsewhereEngine(app.extensions["keyturn"].lfx, Outside(Providers({})), Limits(), "nobody has")
    spec = RunSpec(
        FLOW_ID,
        request.get("session_id", FLOW_ID),
        RunInput(request.get("input_value"), request.get("input_type", "chat")),
        request.get("output_type", "chat"),
    )
    *_, last = engine.compile(case["flow"]).bind(request.get("tweaks", {})).run(spec, {})
    assert comparable(last.data["outputs"]) == case["answer"]


def test_a_stream_has_the_messages_and_the_end(mine: Api) -> None:
    store(mine, lfx.altered())
    answer = mine.post("/run/flow?stream=true", json={"input_value": "hello", "session_id": "s"})
    events = [json.loads(line) for line in answer.text.split("\n\n") if line.strip()]
    assert [event["event"] for event in events] == ["add_message", "add_message", "end"]
    assert [event["data"]["sender"] for event in events[:2]] == ["User", "Machine"]
    assert events[-1]["data"]["result"]["outputs"][0]["outputs"][0]["results"]["message"]["text"] == "hello"


def test_openais_clients_are_answered(mine: Api) -> None:
    flow_id = store(mine, lfx.altered())
    body = {"model": flow_id, "messages": [{"role": "user", "content": "hello"}]}
    answer = mine.post("/v1/chat/completions", json=body)
    assert answer.json["choices"][0]["message"]["content"] == "hello"


def test_a_job_is_run(mine: Api) -> None:
    store(mine, lfx.altered())
    job = mine.post("/run/flow", json={"input_value": "hello", "background": True}).json["id"]
    done = until(lambda: mine.get(f"/jobs/{job}").json, lambda one: one["status"] not in ("queued", "running"), 60)
    assert done["result"]["outputs"][0]["outputs"][0]["results"]["message"]["text"] == "hello"


def test_an_mcp_tool_is_run(mine: Api) -> None:
    flow_id = store(mine, lfx.altered())
    mine.patch(f"/flows/{flow_id}", json={"mcp_enabled": True, "action_name": "alter"})
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "alter", "arguments": {"input_value": "hello"}}}  # fmt: skip
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
    answer = mine.post("/mcp/streamable", json=call, headers=headers)
    assert "hello" in answer.text


def test_messages_are_kept_in_the_history_of_the_flow(mine: Api) -> None:
    flow_id = store(mine, lfx.altered())
    mine.post("/run/flow", json={"input_value": "hello", "session_id": "kept"})
    found = mine.get(f"/monitor/messages?flow_id={flow_id}&session_id=kept").json
    assert [(one["sender"], one["text"]) for one in found] == [("User", "hello"), ("Machine", "hello")]


def test_a_memory_reads_what_was_said_before_in_this_session_only(mine: Api) -> None:
    store(mine, joined("Memory", "messages_text"))
    for session in ("one", "two"):
        mine.post("/run/flow", json={"input_value": f"said in {session}", "session_id": session})
    said = text_of(mine.post("/run/flow", json={"input_value": "now", "session_id": "one"}))
    assert "User: said in one" in said
    assert "two" not in said


def test_a_field_gets_the_value_of_the_owners_variable(mine: Api) -> None:
    body = {"name": "GREETING", "value": "good morning", "type": "Generic", "default_fields": []}
    mine.post("/variables/", json=body)
    data = joined("TextInput", "text")
    wanting = next(node for node in data["nodes"] if node["data"]["type"] == "TextInput")
    wanting["data"]["node"]["template"]["input_value"] |= {"value": "GREETING", "load_from_db": True}
    store(mine, data)
    assert text_of(mine.post("/run/flow", json={"input_value": "hi"})) == "hi good morning"


def test_an_empty_field_gets_the_value_of_the_variable_that_lists_it(mine: Api) -> None:
    body = {"name": "GREETING", "value": "good morning", "type": "Generic", "default_fields": ["A greeting"]}
    mine.post("/variables/", json=body)
    data = joined("TextInput", "text")
    wanting = next(node for node in data["nodes"] if node["data"]["type"] == "TextInput")
    wanting["data"]["node"]["template"]["input_value"] |= {"value": "", "display_name": "A greeting"}
    store(mine, data)
    assert text_of(mine.post("/run/flow", json={"input_value": "hi"})) == "hi good morning"


def test_a_variable_that_nobody_has_set_is_told_before_anything_runs(mine: Api) -> None:
    data = lfx.altered()
    field = data["nodes"][-1]["data"]["node"]["template"]["text_in"]
    field |= {"value": "NOBODY_HAS_IT", "load_from_db": True}
    store(mine, data)
    answer = mine.post("/run/flow", json={"input_value": "hi"})
    assert answer.status_code == 400
    assert "NOBODY_HAS_IT" in answer.json["detail"]


def test_an_upload_is_read_and_a_path_of_the_server_is_not(mine: Api, tmp_path: Path) -> None:
    upload = {"file": (io.BytesIO(b"name,age\nAda,36\n"), "people.csv")}
    flow_id = store(mine, lfx.altered(), "other")
    path = mine.post(f"/files/upload/{flow_id}", data=upload).json["file_path"]
    on_disk = tmp_path / "secrets.csv"
    on_disk.write_text("name\nsecret\n")
    for number, (named, wanted) in enumerate([(path, 200), (str(on_disk), 500)]):
        data = lfx.exported(
            {"csv": ("CSVtoData", {}), "out": ("ChatOutput", {})}, ["csv.data_list > out.input_value"]
        )
        next(n for n in data["nodes"] if n["id"].startswith("CSV"))["data"]["node"]["template"]["csv_file"][
            "file_path"
        ] = named
        store(mine, data, f"csv{number}")
        answer = mine.post(f"/run/csv{number}", json={"input_value": ""})
        assert answer.status_code == wanted, answer.json
        assert ("Ada" in answer.text) == (wanted == 200)


def test_a_callers_tweak_is_applied(mine: Api) -> None:
    store(mine, lfx.altered())
    body = {"input_value": "hello", "tweaks": {"ChatOutput-out": {"sender_name": "Robo"}}}
    assert result_of(mine.post("/run/flow", json=body))["results"]["message"]["sender_name"] == "Robo"


@pytest.mark.parametrize("tweaks", [{"AlterMetadata-alter": {"code": CANARY}}, {"code": CANARY}], ids=str)
def test_a_tweak_of_code_is_refused(mine: Api, tweaks: flows.Json) -> None:
    store(mine, lfx.altered())
    assert mine.post("/run/flow", json={"input_value": "x", "tweaks": tweaks}).json["detail"]["fields"] == ["code"]


def test_a_components_failure_names_it_and_tells_nothing_of_its_text(mine: Api) -> None:
    data = lfx.exported(
        {**CHAT, "select": ("ParseJSONData", {"query": "{broken"})},
        ["in.message > select.input_value", "select.filtered_data > out.input_value"],
    )
    store(mine, data)
    answer = mine.post("/run/flow", json={"input_value": '{"secret": "sk-in-the-input"}'})
    assert answer.status_code == 500
    assert "Error building Component" in answer.json["detail"]
    assert "sk-in-the-input" not in answer.text
    assert "/" not in json.loads(answer.json["detail"])["message"]


def test_a_component_that_no_engine_has_is_named(mine: Api) -> None:
    data = lfx.altered()
    data["nodes"][-1]["data"]["type"] = "NobodyHasThis"
    store(mine, data)
    answer = mine.post("/run/flow?stream=true", json={"input_value": "hi"})
    assert answer.status_code == 422
    assert "the embedded engine or lfx does not have: NobodyHasThis" in answer.json["detail"]


@pytest.mark.parametrize(
    "kind", ["PythonREPLComponent", "PythonFunction", "Smart Transform", "MCPTools", "CSVAgent", "CustomComponent"]
)
def test_a_component_that_runs_code_or_programs_is_refused(mine: Api, kind: str) -> None:
    data = lfx.exported({**CHAT, "bad": (kind, {})}, ["in.message > out.input_value"])
    store(mine, data)
    answer = mine.post("/run/flow", json={"input_value": "hi"})
    assert (answer.status_code, kind in answer.json["detail"]) == (422, True)


def test_code_in_the_nodes_of_a_flow_is_not_run(mine: Api) -> None:
    data = lfx.altered()
    for kind in ("AlterMetadata", "ChatInput", "ChatOutput"):
        lfx.with_code(data, kind, CANARY)
    store(mine, data)
    assert text_of(mine.post("/run/flow", json={"input_value": "hello"})) == "hello"
    assert not Path("/dev/shm/lfx-canary").exists()


def test_code_in_a_node_inside_a_group_is_not_run(mine: Api) -> None:
    inner = lfx.with_code(lfx.altered(), "AlterMetadata", CANARY)
    middle = next(node for node in inner["nodes"] if node["data"]["type"] == "AlterMetadata")
    start, end = (node for node in inner["nodes"] if node is not middle)
    proxy = {"id": middle["id"], "field": "input_value"}
    body = {
        "display_name": "Group",
        "flow": {"data": {"nodes": [middle], "edges": []}},
        "template": {"input_value": {"type": "other", "name": "input_value", "proxy": proxy, "show": True}},
        "outputs": [{"name": "data", "types": ["JSON"], "proxy": {"id": middle["id"], "name": "data"}}],
    }
    group = {"id": "Group-g", "type": "genericNode", "data": {"id": "Group-g", "type": "GroupNode", "node": body}}
    edges = [flows.edge(start, "message", group, "input_value"), flows.edge(group, "data", end, "input_value")]
    store(mine, {"nodes": [start, group, end], "edges": edges})
    assert text_of(mine.post("/run/flow", json={"input_value": "hello"})) == "hello"


def test_a_flow_that_the_embedded_engine_can_run_does_not_start_lfx(start: Callable[..., Flask]) -> None:
    second = start()
    api = Api.of_superuser(second)
    store(api, lfx.exported(CHAT, ["in.message > out.input_value"]))
    assert text_of(api.post("/run/flow", json={"input_value": "hello"})) == "hello"
    assert second.extensions["keyturn"].lfx.forker is None


def test_without_lfx_the_unknown_component_is_named(start: Callable[..., Flask]) -> None:
    api = Api.of_superuser(start(flow_engine="embedded"))
    store(api, lfx.altered())
    answer = api.post("/run/flow", json={"input_value": "hello"})
    assert answer.status_code == 422
    assert "the embedded engine does not have: AlterMetadata" in answer.json["detail"]
