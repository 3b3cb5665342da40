"""Chat messages and uploaded files.

Revision: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _owned(table: str) -> tuple[sa.Column[object] | sa.ForeignKeyConstraint, ...]:
    return (
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=f"fk_{table}_user_id_user", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["flow_id"], ["flow.id"], name=f"fk_{table}_flow_id_flow", ondelete="CASCADE"),
    )


def upgrade() -> None:
    op.create_table(
        "message",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_owned("message"),
        sa.Column("flow_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.String(1000), nullable=False),
        sa.Column("context_id", sa.String(1000), nullable=False),
        sa.Column("sender", sa.String(255), nullable=False),
        sa.Column("sender_name", sa.String(1000), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.Boolean(), nullable=False),
        sa.Column("edit", sa.Boolean(), nullable=False),
        sa.Column("category", sa.String(64), nullable=False),
        sa.Column("properties", sa.JSON(), nullable=False),
        sa.Column("content_blocks", sa.JSON(), nullable=False),
        sa.Column("session_metadata", sa.JSON(), nullable=True),
        sa.Column("duration", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_message"),
    )
    op.create_index("ix_message_flow_id_session_id_timestamp", "message", ["flow_id", "session_id", "timestamp"])
    op.create_index("ix_message_user_id_timestamp", "message", ["user_id", "timestamp"])
    op.create_table(
        "file",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_owned("file"),
        sa.Column("flow_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("reference", sa.String(600), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_file"),
        sa.UniqueConstraint("user_id", "reference", name="uq_file_user_id_reference"),
    )
    op.create_index("ix_file_flow_id", "file", ["flow_id"])


def downgrade() -> None:
    op.drop_table("file")
    op.drop_table("message")
