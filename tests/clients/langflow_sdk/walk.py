"""Langflow's own SDK for Python: URL KEY FLOW.json FOLDER; prints what it got as JSON."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import langflow_sdk as sdk

URL, KEY, FILE, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
ECHO = json.loads(FILE.read_text())


def failure(act: Any) -> str | None:
    """The kind of error that an act ends with."""
    try:
        act()
    except Exception as error:  # which one it is, is the question
        return type(error).__name__
    return None


def flows(client: sdk.Client) -> dict[str, Any]:
    """Make, read, change and list flows."""
    project = client.create_project(sdk.ProjectCreate(name="Of the SDK", description="d"))
    made = client.create_flow(sdk.FlowCreate(name="made", data=ECHO["data"], folder_id=project.id, tags=["a"]))
    changed = client.update_flow(made.id, sdk.FlowUpdate(description="changed", endpoint_name="made-by-sdk"))
    chosen = uuid4()
    upserts = [client.upsert_flow(chosen, sdk.FlowCreate(name=name, data=ECHO["data"])) for name in ("new", "newer")]
    client.delete_flow(chosen)
    return {
        "made": [made.name, made.tags, made.folder_id == project.id, made.data == ECHO["data"]],
        "changed": [changed.description, changed.endpoint_name],
        "upserts": [[flow.name, created] for flow, created in upserts],
        "listed": [flow.name for flow in client.list_flows(get_all=True, folder_id=project.id)],
        "headers": [flow.data for flow in client.list_flows(get_all=True, header_flows=True, folder_id=project.id)],
        "gone": failure(lambda: client.get_flow(chosen)),
    }


def projects(client: sdk.Client) -> dict[str, Any]:
    """The same for projects, and their way to files and back."""
    project = next(one for one in client.list_projects() if one.name == "Of the SDK")
    renamed = client.update_project(project.id, sdk.ProjectUpdate(name="Renamed"))
    shown = client.get_project(project.id)
    archive = client.download_project(project.id)
    written = client.pull_project(project.id, output_dir=FOLDER / "project")
    pushed = client.push_project(FOLDER / "project")
    doomed = client.create_project(sdk.ProjectCreate(name="Doomed", flows_list=[shown.flows[0].id]))
    moved = [one.name for one in client.get_project(doomed.id).flows]
    client.delete_project(doomed.id)
    return {
        "default": client.list_projects()[0].name,
        "renamed": renamed.name,
        "flows": [one.name for one in shown.flows],
        "archive": list(archive),
        "written": list(written),
        "pushed": [[flow.name, created] for flow, created in pushed],
        "moved": moved,
        "gone": failure(lambda: client.get_project(doomed.id)),
        "uploaded": [one.name for one in client.upload_project(_zipped(archive))],
    }


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def runs(client: sdk.Client) -> dict[str, Any]:
    """Run flows: plain, with tweaks, streamed, and those that fail."""
    flow, created = client.push(FILE)
    tweaked = client.run(flow.id, "Hello", tweaks={"ChatOutput-kt003": {"sender_name": "Robo"}})
    chunks = list(client.stream("keyturn-chat", "Hi"))
    final = chunks[-1].final_response()
    stranger = sdk.Client(URL, api_key="sk-nobody")
    return {
        "pushed": [flow.name, created, str(flow.id) == ECHO["id"]],
        "text": client.run(flow.id, "Hello").get_chat_output(),
        "session": client.run(flow.id, "Hello").session_id == str(flow.id),
        "sender": tweaked.outputs[0].outputs[0]["results"]["message"]["sender_name"],
        "tokens": [one.text for one in chunks if one.is_token],
        "streamed": final.first_text_output() if final else None,
        "missing": failure(lambda: client.run("no-such-flow", "Hello")),
        "missing stream": failure(lambda: list(client.stream("no-such-flow", "Hello"))),
        "refused": failure(lambda: client.run(flow.id, "x", tweaks={"ChatOutput-kt003": {"code": "x"}})),
        "stranger": failure(lambda: stranger.run(flow.id, "Hello")),
        "provider": failure(lambda: client.run("keyturn-chat", "!401")),
        "away": failure(lambda: sdk.Client("http://127.0.0.1:9").list_projects()),
    }


async def meanwhile() -> dict[str, Any]:
    """The asynchronous client, and a run in its background."""
    async with sdk.AsyncClient(URL, api_key=KEY) as client:
        job = await client.run_background(ECHO["id"], input_value="Hello")
        answer = await job.wait_for_completion(timeout=30)
        streamed = [chunk.event async for chunk in client.stream(ECHO["id"], "Hello")]
        return {"text": answer.get_chat_output(), "done": job.is_completed(), "streamed": streamed}


def environment() -> str | None:
    """A client by the name of an environment."""
    place = FOLDER / "langflow-environments.toml"
    place.write_text(f'[environments.keyturn]\nurl = "{URL}"\napi_key_env = "THE_KEY"\n')
    return sdk.get_client("keyturn", config_file=place).run(ECHO["id"], "Hello").first_text_output()


with sdk.Client(URL, api_key=KEY) as own:
    found = {"flows": flows(own), "projects": projects(own), "runs": runs(own)}
found |= {"meanwhile": asyncio.run(meanwhile()), "environment": environment()}
print(json.dumps(found))
