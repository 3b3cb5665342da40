"""What MCP's workers have to tell each other: messages for streams that another worker holds, and calls to stop.

Worth nothing after a crash, so PostgreSQL keeps them in unlogged tables. Ids are digests: whoever reads the database
can neither write to a stream nor stop a call.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Float, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from service.storage.base import Base


class McpStream(Base):
    """An open stream of the HTTP+SSE transport; it ends by itself when whoever holds it has died."""

    __tablename__ = "mcp_stream"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: Seconds since 1970.
    ends: Mapped[float] = mapped_column(Float(53), index=True)


class McpMail(Base):
    """A message that waits for its stream."""

    __tablename__ = "mcp_mail"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    stream_id: Mapped[str] = mapped_column(ForeignKey("mcp_stream.id", ondelete="CASCADE"), index=True)
    #: JSON.
    body: Mapped[str] = mapped_column(Text)


class McpCall(Base):
    """A tool call that runs and may be cancelled."""

    __tablename__ = "mcp_call"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: NULL: its answer goes out with the request that made it.
    stream_id: Mapped[str | None] = mapped_column(ForeignKey("mcp_stream.id", ondelete="CASCADE"), index=True)
    cancelled: Mapped[bool] = mapped_column(default=False)
    #: Seconds since 1970.
    ends: Mapped[float] = mapped_column(Float(53), index=True)
