"""Lfx in an environment of its own, flows for it, and code that tries to get out."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from tests.clients.environments import python_of
from tests.golden.recipes import CHAT, Recipe
from tests.golden.record import export
from tests.support import flows

Json = dict[str, Any]

#: Keeps in ``found`` what came of an attempt.
TRY = """
def attempt(name, work):
    try:
        found[name] = repr(work())[:200]
    except BaseException as error:
        found[name] = "refused: " + type(error).__name__
"""

#: What a component that does not exist here, or anywhere, is called.
PROBE = "EscapeProbe"

_PROBE_CODE = """
import json
from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class EscapeProbe(Component):
    display_name = "Escape Probe"
    name = "EscapeProbe"
    inputs = [MessageTextInput(name="input_value", display_name="Input")]
    outputs = [Output(name="text", display_name="Text", method="go")]

    def go(self) -> Message:
        found = {}
        given = self.input_value
%s
        return Message(text=json.dumps(found))
"""


@cache
def place() -> tuple[Path, str]:
    """An interpreter with lfx in it, and the least user of this machine that can run it.

    Root changes to ``nobody``, where the interpreter does not lie in a folder that only root can enter; then another
    one of the same version stands in, or else root stays root.
    """
    python = python_of("lfx")
    if os.getuid() != 0:
        return python, pwd.getpwuid(os.getuid()).pw_name
    for candidate in (python, _open_copy(python)):
        if candidate is not None and _nobody_can_run(candidate):
            return candidate, "nobody"
    return python, "root"


def _nobody_can_run(python: Path) -> bool:
    nobody = pwd.getpwnam("nobody")
    try:
        done = subprocess.run(
            [python, "-I", "-c", "import lfx"], user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=(), env={},
            cwd="/", capture_output=True, timeout=120, check=False,
        )  # fmt: skip
    except OSError:
        return False
    return done.returncode == 0


def _open_copy(python: Path) -> Path | None:
    """An environment of the system's own Python that looks into the other one's packages."""
    system = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    folder = python.parents[1].with_name("lfx-open")
    packages = next((python.parents[1] / "lib").glob("python*/site-packages"))
    if not system.exists():
        return None
    command = [system, "-m", "venv", "--without-pip", folder]
    made = subprocess.run(command, capture_output=True, timeout=120, check=False)
    if made.returncode != 0:
        return None
    (folder / "lib" / packages.parent.name / "site-packages" / "lfx.pth").write_text(f"{packages}\n")
    return folder / "bin" / "python"


@cache
def stock() -> dict[str, Json]:
    """The nodes of lfx's own catalogue, by type."""
    packages = next((python_of("lfx").parents[1] / "lib").glob("python*/site-packages"))
    index = json.loads((packages / "lfx" / "_assets" / "component_index.json").read_text())
    return {name: body for _, found in index["entries"] for name, body in found.items()}


def exported(nodes: dict[str, tuple[str, Json]], edges: list[str]) -> Json:
    """A flow as Langflow 1.13 exports it, with the code of every component."""
    return export(Recipe("test", nodes, edges), stock())


def altered() -> Json:
    """A chat through a component that only lfx has: it adds ``{"seen": "yes"}`` to the message's fields."""
    nodes = {**CHAT, "alter": ("AlterMetadata", {"metadata": {"seen": "yes"}})}
    return exported(nodes, ["in.message > alter.input_value", "alter.data > out.input_value"])


def with_code(data: Json, kind: str, code: str) -> Json:
    """The flow with other code in the nodes of a type."""
    for node in data["nodes"]:
        if node["data"]["type"] == kind:
            node["data"]["node"]["template"]["code"]["value"] = code
    return data


def probe(*lines: str) -> Json:
    """A chat whose middle runs these lines; ``given`` is the input, and what is put into ``found`` is the answer."""
    code = _PROBE_CODE % "\n".join(f"        {line}" for text in lines for line in text.splitlines())
    middle = flows.node(f"{PROBE}-p", PROBE, "Escape Probe", [flows.field("input_value", input_types=["Message"])],
                        {"text": "go"})  # fmt: skip
    middle["data"]["node"]["template"]["code"] = flows.code_field(code)
    start, end = exported(CHAT, [])["nodes"]
    return {
        "nodes": [start, middle, end],
        "edges": [
            flows.edge(start, "message", middle, "input_value"),
            flows.edge(middle, "text", end, "input_value"),
        ],
    }
