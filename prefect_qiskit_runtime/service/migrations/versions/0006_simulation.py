"""How the circuits of jobs are simulated."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("jobs", sa.Column("simulation", sa.JSON(), nullable=True))
    op.add_column("jobs", sa.Column("simulation_methods", sa.JSON(), nullable=True))
