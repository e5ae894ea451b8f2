"""Advice about the end of a job, in addition to the reason."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("jobs", sa.Column("reason_solution", sa.Text(), nullable=True))
