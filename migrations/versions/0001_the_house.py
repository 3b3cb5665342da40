"""Users, sessions, keys, variables, flows and the proof of the secret.

Revision: 0001
Revises: nothing
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _id() -> sa.Column[object]:
    return sa.Column("id", sa.Uuid(), nullable=False)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _owner(table: str) -> tuple[sa.Column[object], sa.ForeignKeyConstraint]:
    return (
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=f"fk_{table}_user_id_user", ondelete="CASCADE"),
    )


def upgrade() -> None:
    op.create_table(
        "user",
        _id(),
        sa.Column("username", sa.String(150), nullable=False),
        sa.Column("username_key", sa.String(300), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("is_superuser", sa.Boolean(), nullable=False),
        sa.Column("profile_image", sa.String(255), nullable=True),
        sa.Column("optins", sa.JSON(), nullable=False),
        _instant("created_at"),
        _instant("updated_at"),
        _instant("last_login_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_user"),
        sa.UniqueConstraint("username_key", name="uq_user_username_key"),
    )
    op.create_table(
        "session_token",
        _id(),
        *_owner("session_token"),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("family", sa.Uuid(), nullable=False),
        _instant("created_at"),
        _instant("expires_at"),
        _instant("used_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_session_token"),
        sa.UniqueConstraint("digest", name="uq_session_token_digest"),
    )
    op.create_index("ix_session_token_user_id", "session_token", ["user_id"])
    op.create_index("ix_session_token_family", "session_token", ["family"])
    op.create_index("ix_session_token_expires_at", "session_token", ["expires_at"])
    op.create_table(
        "api_key",
        _id(),
        *_owner("api_key"),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("prefix", sa.String(8), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        _instant("created_at"),
        _instant("expires_at", nullable=True),
        _instant("last_used_at", nullable=True),
        sa.Column("total_uses", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("digest", name="uq_api_key_digest"),
    )
    op.create_index("ix_api_key_user_id", "api_key", ["user_id"])
    op.create_table(
        "variable",
        _id(),
        *_owner("variable"),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("type", sa.String(50), nullable=False),
        sa.Column("ciphertext", sa.Text(), nullable=False),
        sa.Column("default_fields", sa.JSON(), nullable=False),
        sa.Column("source", sa.String(10), nullable=False),
        _instant("created_at"),
        _instant("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_variable"),
        sa.UniqueConstraint("user_id", "name", name="uq_variable_user_id_name"),
    )
    op.create_table(
        "project",
        _id(),
        *_owner("project"),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        _instant("created_at"),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["project.id"], name="fk_project_parent_id_project", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
        sa.UniqueConstraint("user_id", "name", name="uq_project_user_id_name"),
    )
    op.create_table(
        "flow",
        _id(),
        *_owner("flow"),
        sa.Column("folder_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("endpoint_name", sa.String(255), nullable=True),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.Column("version_token", sa.Uuid(), nullable=True),
        sa.Column("icon", sa.String(255), nullable=True),
        sa.Column("icon_bg_color", sa.String(64), nullable=True),
        sa.Column("gradient", sa.String(255), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=True),
        sa.Column("is_component", sa.Boolean(), nullable=False),
        sa.Column("webhook", sa.Boolean(), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("mcp_enabled", sa.Boolean(), nullable=False),
        sa.Column("action_name", sa.String(255), nullable=True),
        sa.Column("action_description", sa.Text(), nullable=True),
        sa.Column("access_type", sa.String(20), nullable=False),
        sa.Column("flow_type", sa.String(50), nullable=False),
        _instant("created_at"),
        _instant("updated_at"),
        sa.ForeignKeyConstraint(["folder_id"], ["project.id"], name="fk_flow_folder_id_project", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_flow"),
        sa.UniqueConstraint("user_id", "name", name="uq_flow_user_id_name"),
        sa.UniqueConstraint("user_id", "endpoint_name", name="uq_flow_user_id_endpoint_name"),
    )
    op.create_index("ix_flow_folder_id", "flow", ["folder_id"])
    op.create_table(
        "secret_check",
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("ciphertext", sa.Text(), nullable=False),
        _instant("created_at"),
        sa.PrimaryKeyConstraint("key_id", name="pk_secret_check"),
    )


def downgrade() -> None:
    for table in ("secret_check", "flow", "project", "variable", "api_key", "session_token", "user"):
        op.drop_table(table)
