"""Streams, messages and open calls of MCP clients.

Revision: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    prefixes = ["UNLOGGED"] if op.get_bind().dialect.name == "postgresql" else []
    op.create_table(
        "mcp_stream",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("ends", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mcp_stream"),
        prefixes=prefixes,
    )
    op.create_index("ix_mcp_stream_ends", "mcp_stream", ["ends"])
    op.create_table(
        "mcp_mail",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("stream_id", sa.String(64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["mcp_stream.id"], name="fk_mcp_mail_stream_id_mcp_stream", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_mcp_mail"),
        prefixes=prefixes,
    )
    op.create_index("ix_mcp_mail_stream_id", "mcp_mail", ["stream_id"])
    op.create_table(
        "mcp_call",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("stream_id", sa.String(64), nullable=True),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("ends", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["mcp_stream.id"], name="fk_mcp_call_stream_id_mcp_stream", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_mcp_call"),
        prefixes=prefixes,
    )
    op.create_index("ix_mcp_call_stream_id", "mcp_call", ["stream_id"])
    op.create_index("ix_mcp_call_ends", "mcp_call", ["ends"])


def downgrade() -> None:
    op.drop_table("mcp_call")
    op.drop_table("mcp_mail")
    op.drop_table("mcp_stream")
