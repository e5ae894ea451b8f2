"""The limit of QPU time that ended a job, as fields."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column."""
    op.add_column("jobs", sa.Column("used_up_limit", sa.JSON(), nullable=True))
