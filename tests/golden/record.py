"""Record the golden answers: run every recipe with ``lfx``, Langflow's own executor.

``make golden`` runs this in an environment of its own, which holds lfx and the model SDKs but not Keyturn. The nodes'
templates come from lfx's catalogue (1.13) and from the starter projects of Langflow 1.5.1; what is written to
``cases/`` is the export without stored code and without texts that only an editor shows, the request, and the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.golden.normal import comparable  # noqa: E402
from tests.golden.recipes import RECIPES, Recipe  # noqa: E402
from tests.support.provider import serving  # noqa: E402

Json = dict[str, Any]
FLOW_ID, USER_ID, RUN_ID = (str(UUID(int=number)) for number in (1, 2, 3))

#: What a server reads of a field; the rest is for editors.
KEPT = ("type", "_input_type", "value", "load_from_db", "list", "show", "password", "file_path", "override_skip")


def templates_of_1_13() -> dict[str, Json]:
    """Node bodies by type, from lfx's catalogue."""
    import lfx

    path = Path(lfx.__file__).parent / "_assets" / "component_index.json"
    return {name: body for _, found in json.loads(path.read_text())["entries"] for name, body in found.items()}


def templates_of_1_5(starters: Path) -> dict[str, Json]:
    """Node bodies by type, the first of each, from the starter projects of 1.5.1."""
    found: dict[str, Json] = {}
    for path in sorted(starters.glob("*.json")):
        for node in json.loads(path.read_text())["data"]["nodes"]:
            body = node["data"].get("node", {})
            if "type" in node["data"] and body.get("template") and not body.get("tool_mode"):
                found.setdefault(node["data"]["type"], body)
            if node["data"].get("type") == "CalculatorComponent":
                found.setdefault("CalculatorComponent", body)
    return found


def node(name: str, kind: str, values: Json, bodies: dict[str, Json], *, as_tool: bool) -> Json:
    """One exported node."""
    body = copy.deepcopy(bodies[kind])
    template = body["template"]
    for field, value in values.items():
        template[field]["value"] = value
    if kind in ("Prompt", "Prompt Template"):
        _add_variables(body)
    if as_tool and not body.get("tool_mode"):
        _as_tool(body)
    node_id = f"{kind.replace(' ', '')}-{name}"
    return {"id": node_id, "type": "genericNode", "position": {"x": 0, "y": 0},
            "data": {"id": node_id, "type": kind, "node": body}}  # fmt: skip


def _add_variables(body: Json) -> None:
    template = body["template"]
    names = re.findall(r"(?<!\{)\{(\w+)\}(?!\})", template["template"]["value"])
    for old in body.get("custom_fields", {}).get("template", []):
        template.pop(old, None)
    body["custom_fields"] = {"template": names}
    for name in names:
        template[name] = {
            "type": "str", "_input_type": "DefaultPromptField", "name": name, "display_name": name, "value": "",
            "show": True, "list": False, "required": False, "input_types": ["Message"], "load_from_db": False,
        }  # fmt: skip


def _as_tool(body: Json) -> None:
    method = body["outputs"][0]["method"]
    body["tool_mode"] = True
    body["outputs"] = [{"name": "component_as_tool", "display_name": "Toolset", "method": "to_toolkit",
                        "types": ["Tool"], "selected": "Tool", "value": "__UNDEFINED__", "tool_mode": True,
                        "cache": True}]  # fmt: skip
    row = {"name": method, "description": "A tool.", "tags": [method], "status": True, "args": {}}
    body["template"]["tools_metadata"] = {
        "type": "tools", "_input_type": "ToolsInput", "name": "tools_metadata", "value": [row], "show": True,
        "list": True, "load_from_db": False, "display_name": "Actions",
    }  # fmt: skip


def edge(text: str, nodes: dict[str, Json]) -> Json:
    """One exported edge."""
    (start, output), (end, field) = (part.split(".") for part in text.split(" > "))
    source, target = nodes[start], nodes[end]
    outputs = {item["name"]: item for item in source["data"]["node"]["outputs"]}
    types = outputs.get(output, {}).get("types") or ["Data"]
    known = target["data"]["node"]["template"].get(field)
    one = {"dataType": source["data"]["type"], "id": source["id"], "name": output, "output_types": types}
    if known is None:  # the way back into a loop leads to an output
        other = {
            "dataType": target["data"]["type"],
            "id": target["id"],
            "name": field,
            "output_types": ["Data", "Message"],
        }
    else:
        inputs = known.get("input_types") or types
        other = {"fieldName": field, "id": target["id"], "inputTypes": inputs, "type": known["type"]}
    return {"id": f"{source['id']}-{output}-{target['id']}-{field}", "source": source["id"], "target": target["id"],
            "data": {"sourceHandle": one, "targetHandle": other}, "sourceHandle": _handle(one),
            "targetHandle": _handle(other)}  # fmt: skip


def _handle(end: Json) -> str:
    return json.dumps(end).replace('"', "œ")


def export(recipe: Recipe, bodies: dict[str, Json]) -> Json:
    """The flow as Langflow would export it, code included."""
    nodes = {
        name: node(name, kind, values, bodies, as_tool=name in recipe.tools)
        for name, (kind, values) in recipe.nodes.items()
    }
    for name, (kind, values) in recipe.nodes.items():
        if kind == "TypeConverterComponent":
            wanted = {"Message": "message_output", "JSON": "data_output", "Table": "dataframe_output"}
            body = nodes[name]["data"]["node"]
            body["outputs"] = [o for o in body["outputs"] if o["name"] == wanted[values["output_type"]]] or body[
                "outputs"
            ]
    return {"nodes": list(nodes.values()), "edges": [edge(text, nodes) for text in recipe.edges]}


def stripped(data: Json) -> Json:
    """The export without code and without what only an editor shows."""
    slim = copy.deepcopy(data)
    for item in slim["nodes"]:
        body = item["data"]["node"]
        template = {
            name: {key: field[key] for key in KEPT if key in field}
            for name, field in body["template"].items()
            if isinstance(field, dict) and name != "code"
        }
        item["data"]["node"] = {
            "display_name": body["display_name"],
            "icon": body.get("icon"),
            "template": template,
            "outputs": [{"name": output["name"], "types": output.get("types", [])} for output in body["outputs"]],
        }
        item.pop("position")
    for item in slim["edges"]:
        item.pop("sourceHandle")
        item.pop("targetHandle")
    return slim


async def answer(data: Json, request: Json) -> Any:
    """What lfx answers, chosen the way Langflow's run endpoint chooses inputs and outputs."""
    from lfx.graph.graph.base import Graph
    from lfx.processing.process import process_tweaks

    data = process_tweaks(copy.deepcopy(data), request.get("tweaks") or {})
    graph = Graph.from_payload(data, flow_id=FLOW_ID, user_id=USER_ID)
    session = request.get("session_id") or FLOW_ID
    graph.session_id = session
    graph.set_run_id(RUN_ID)
    kind = request.get("output_type", "chat")
    wanted = [
        vertex.id
        for vertex in graph.vertices
        if kind == "debug" or (vertex.is_output and (kind == "any" or kind in vertex.id.lower()))
    ]
    if request.get("output_component"):
        wanted = [request["output_component"]]
    inputs = {} if request.get("input_value") is None else {"input_value": request["input_value"]}
    results = await graph.arun(
        inputs=[inputs], inputs_components=[[]], types=[request.get("input_type", "chat")], outputs=wanted,
        stream=False, session_id=session, fallback_to_env_vars=True,
    )  # fmt: skip
    return [json.loads(item.model_dump_json()) for item in results]


def _stay_on_loopback(url: str) -> None:
    """Point lfx at the loopback provider, and keep it from rewriting the address for containers."""
    os.environ.update(
        OPENAI_API_KEY="sk-golden", OPENAI_BASE_URL=url, OPENAI_API_BASE=url, LANGFLOW_SSRF_ALLOWED_HOSTS="127.0.0.1",
        DO_NOT_TRACK="true",
    )  # fmt: skip
    import lfx.base.models.model_input_constants as models
    import lfx.utils.util as addresses

    for name in ("Anthropic", "Google Generative AI", "Groq", "OpenAI"):
        models.MODELS_METADATA.setdefault(name, {"icon": name})  # 1.5's agent looks up all four
    addresses.transform_localhost_url = lambda url, *_: url


def main() -> None:
    """Record all recipes, or those whose names are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("starters", type=Path, help="folder with the starter projects of Langflow 1.5.1")
    parser.add_argument("names", nargs="*", help="recipes to record; all of them without one")
    options = parser.parse_args()
    with serving() as provider, asyncio.Runner() as loop:
        _stay_on_loopback(provider.url)
        bodies = {"1.13": templates_of_1_13(), "1.5": templates_of_1_5(options.starters)}
        for recipe in RECIPES:
            if not options.names or recipe.name in options.names:
                _record(recipe, bodies[recipe.version], loop)


def _record(recipe: Recipe, bodies: dict[str, Json], loop: asyncio.Runner) -> None:
    try:
        data = export(recipe, bodies)
        found = comparable(loop.run(answer(data, recipe.request)))
    except Exception as error:  # one that fails must not hide what the others give
        print(f"FAILED {recipe.name}: {type(error).__name__}: {str(error)[-300:]}")
        return
    case = {
        "name": recipe.name,
        "version": recipe.version,
        "uncounted": recipe.uncounted,
        "request": recipe.request,
        "flow": stripped(data),
        "answer": found,
    }
    path = HERE / "cases" / f"{recipe.name.replace(' ', '_').replace('.', '_')}.json"
    path.write_text(json.dumps(case, indent=1, ensure_ascii=False) + "\n")
    print(f"recorded {recipe.name}")


if __name__ == "__main__":
    main()
