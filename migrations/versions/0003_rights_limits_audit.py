"""Rights and rotation of keys, their usage by day, limits over all workers, and the audit trail.

Revision: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_RIGHTS = ("scopes", "flows", "networks")
_NUMBERS = ("rate_requests", "rate_seconds", "max_parallel")
_INSTANTS = ("rotated_at", "former_until")
_DIGESTS = ("former_digest", "rotation_digest")


def upgrade() -> None:
    # SQLite adds a constraint only by copying the table, which batch mode does.
    with op.batch_alter_table("api_key") as table:
        for name in _RIGHTS:
            table.add_column(sa.Column(name, sa.JSON(), nullable=True))
        for name in _NUMBERS:
            table.add_column(sa.Column(name, sa.Integer(), nullable=True))
        for name in _INSTANTS:
            table.add_column(sa.Column(name, sa.DateTime(timezone=True), nullable=True))
        for name in _DIGESTS:
            table.add_column(sa.Column(name, sa.String(64), nullable=True))
        table.add_column(sa.Column("rotations", sa.Integer(), nullable=False, server_default="0"))
        table.create_unique_constraint("uq_api_key_former_digest", ["former_digest"])
    with op.batch_alter_table("api_key") as table:
        table.alter_column("rotations", server_default=None)
    op.create_table(
        "key_usage",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"], name="fk_key_usage_key_id_api_key", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("key_id", "day", "status", name="pk_key_usage"),
    )
    _limits()
    _audit()


def _limits() -> None:
    prefixes = ["UNLOGGED"] if op.get_bind().dialect.name == "postgresql" else []
    op.create_table(
        "limit_window",
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("ends", sa.Float(53), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_limit_window"),
        prefixes=prefixes,
    )
    op.create_index("ix_limit_window_ends", "limit_window", ["ends"])
    op.create_table(
        "limit_lease",
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("ends", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_limit_lease"),
        prefixes=prefixes,
    )
    op.create_index("ix_limit_lease_subject", "limit_lease", ["subject"])


def _audit() -> None:
    op.create_table(
        "audit_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("outcome", sa.String(10), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.String(150), nullable=True),
        sa.Column("via", sa.String(12), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("address", sa.String(64), nullable=True),
        sa.Column("subject_type", sa.String(20), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("subject_name", sa.String(255), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_event"),
    )
    op.create_index("ix_audit_event_at", "audit_event", ["at"])
    op.create_index("ix_audit_event_action_id", "audit_event", ["action", "id"])
    op.create_index("ix_audit_event_actor_id_action_at", "audit_event", ["actor_id", "action", "at"])
    op.create_index("ix_audit_event_subject_id_id", "audit_event", ["subject_id", "id"])
    # Append-only by the database's own hand: code that could rewrite the trail would be no proof of anything.
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION audit_event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'audit_event is append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_event_is_append_only()"
        )
    else:
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_event_no_{act.lower()} BEFORE {act} ON audit_event "
                "BEGIN SELECT RAISE(ABORT, 'audit_event is append-only'); END"
            )


def downgrade() -> None:
    for table in ("audit_event", "limit_lease", "limit_window", "key_usage"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_event_is_append_only()")
    with op.batch_alter_table("api_key") as table:
        table.drop_constraint("uq_api_key_former_digest", type_="unique")
        for name in (*_RIGHTS, *_NUMBERS, *_INSTANTS, *_DIGESTS, "rotations"):
            table.drop_column(name)
