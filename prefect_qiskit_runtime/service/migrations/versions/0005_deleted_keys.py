"""Keys that outlive their jobs, and values of the service such as the latest time that it saw."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables. The keys of jobs that were deleted before are unknown."""
    op.create_table(
        "deleted_keys",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("instance", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("request_hash", sa.String(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "instance", "key"),
    )
    op.create_index("deleted_keys_by_job", "deleted_keys", ["job_id"])
    op.create_index("deleted_keys_by_time", "deleted_keys", ["deleted_at"])
    op.create_table(
        "service_state",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
