"""The use of a quantum device by jobs, and its limits."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("jobs", sa.Column("hardware", sa.JSON(), nullable=True))
