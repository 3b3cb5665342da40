"""Files that a flow names: the owner's uploads, and nothing of the server's disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from service.domain.errors import NotFound
from service.domain.ports import Image, UploadedFile
from service.engine.component import Component
from service.engine.graph import Graph
from service.engine.values import Message

#: What an upload answers with: the id of a flow or a user, and a name.
_REFERENCE = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}/[^/\\]{1,250}")
_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF87a": "image/gif", b"GIF89a": "image/gif",
}  # fmt: skip
_MOST_IMAGES = 20


def is_reference(value: object) -> bool:
    """Whether a value can be nothing but uploads' references: one, or a list of them."""
    items = value if isinstance(value, list) else [value]
    return all(isinstance(item, str) and _REFERENCE.fullmatch(item) for item in items) and ".." not in str(value)


def references(value: object) -> tuple[str, ...]:
    """The references in a stored file field, which holds one, several, or nothing."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(item for item in items if isinstance(item, str) and item)


def names_file(graph: Graph, reference: str) -> bool:
    """Whether a field of the stored flow holds the reference, alone or in a list or a table."""
    rest: list[object] = [field.value for node in graph.nodes for field in node.fields.values()]
    while rest:
        value = rest.pop()
        if value == reference:
            return True
        rest.extend(value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ())
    return False


def read(component: Component, reference: str) -> UploadedFile:
    """One of the owner's files.

    Raises:
        ComponentFailed: there is none such; that it may be somebody else's is not told.
    """
    uploads = component.run.context.uploads
    try:
        if uploads is None:
            raise NotFound
        return uploads.read(reference)
    except NotFound:
        name = reference.rpartition("/")[2][:80]
        raise component.fail(f"There is no uploaded file {name}. Upload it and choose it again.") from None


def images_of(component: Component, messages: Iterable[object]) -> tuple[Image, ...]:
    """The pictures that messages carry, by what their bytes are, not by their names."""
    names = [name for message in messages if isinstance(message, Message) for name in message.files]
    found = []
    for name in names[:_MOST_IMAGES]:
        content = read(component, name).content
        kind = next((kind for start, kind in _IMAGES.items() if content.startswith(start)), None)
        if kind is None and content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            kind = "image/webp"
        if kind is not None:
            found.append(Image(kind, content))
    return tuple(found)
