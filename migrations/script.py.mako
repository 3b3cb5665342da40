"""${message}

Rules of a migration:
- It runs against yesterday's code: add columns with a default or nullable, drop them one release later.
- It imports nothing of ``service``: models change, a migration does not.
- Large tables: no rewrite under a lock; on PostgreSQL set lock_timeout, create indexes concurrently.
- Names: ${up_revision}_what_it_does.py, numbered in order.

Revision: ${up_revision}
Revises: ${down_revision | comma,n}
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
