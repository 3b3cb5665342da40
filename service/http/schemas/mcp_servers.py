"""Configurations of MCP servers on the wire (contract 1.9)."""

from __future__ import annotations

from marshmallow import INCLUDE, Schema, fields

from service.http.schemas.fields import Text, Texts


class McpServerSchema(Schema):
    """How a server is reached; further fields are kept as they come, as Langflow does."""

    class Meta:
        unknown = INCLUDE

    command = Text(allow_none=True)
    args = fields.List(Text(), allow_none=True)
    env = Texts(allow_none=True)
    headers = Texts(allow_none=True)
    url = Text(allow_none=True)
