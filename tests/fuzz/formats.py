"""What the document's own formats look like, for schemathesis."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import schemathesis
from hypothesis import strategies as st

from tests.support import flows

#: Neither NUL nor half of a surrogate pair: no database holds them.
TEXT = st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=40)
NAMES = TEXT.filter(lambda text: bool(text.strip()))
USERNAMES = TEXT.filter(lambda text: bool(text) and text.isprintable() and text == text.strip())
PROJECT_NAMES = TEXT.filter(lambda text: any(letter.isalnum() for letter in text))
NETWORKS = st.ip_addresses().map(str) | st.builds(
    lambda address, bits: f"{address}/{bits}", st.ip_addresses(v=4), st.just(32)
)


@st.composite
def flow_files(draw: st.DrawFn) -> bytes:
    """A flow, several of them, or a zip of them."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3))
    bodies: list[dict[str, Any]] = [{"name": name, "data": flows.echo()} for name in names]
    if draw(st.booleans()):
        return json.dumps(bodies[0] if len(bodies) == 1 else {"flows": bodies}).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, body in enumerate(bodies):
            archive.writestr(f"{number}.json", json.dumps(body))
    return packed.getvalue()


PROJECT_FILES = st.builds(
    lambda name, flow: json.dumps({"folder_name": name, "flows": [{"name": flow, "data": None}]}).encode(),
    PROJECT_NAMES,
    NAMES,
)

for name, strategy in {
    "name": NAMES,
    "username": USERNAMES,
    "printable": USERNAMES.filter(lambda text: "/" not in text and text not in (".", "..")),
    "project-name": PROJECT_NAMES,
    "network": NETWORKS,
    "flow-file": flow_files(),
    "project-file": PROJECT_FILES,
}.items():
    schemathesis.openapi.format(name, strategy)
