"""The tables. The migrations are authoritative; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect

metadata = MetaData()


class UtcTimestamp(TypeDecorator[datetime]):
    """An aware time, stored in UTC."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Convert to UTC and drop the zone, which SQLite's column cannot store."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Add the zone again."""
        return None if value is None else value.replace(tzinfo=UTC)


programs = Table(
    "programs",
    metadata,
    # Counts uploads, so that "the newest" is exact even if two times are equal.
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("owner", String, nullable=False),
    Column("instance", String, nullable=False),
    Column("name", String, nullable=False),
    Column("is_public", Boolean, nullable=False),
    Column("current_version", Integer, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("updated_at", UtcTimestamp, nullable=False),
    # Set instead of deleting the row while jobs refer to its versions.
    Column("deleted_at", UtcTimestamp),
    Index("programs_by_owner_and_name", "owner", "instance", "name"),
    sqlite_autoincrement=True,
)

program_versions = Table(
    "program_versions",
    metadata,
    Column("program_id", String, ForeignKey("programs.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("description", Text, nullable=False),
    Column("cost", Integer, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("source", Text, nullable=False),
    Column("content_hash", String, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    # The position in the queue.
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("owner", String, nullable=False),
    Column("instance", String, nullable=False),
    Column("program_id", String, nullable=False),
    Column("program_version", Integer, nullable=False),
    Column("backend", String, nullable=False),
    Column("image", String, nullable=False),
    Column("session_id", String),
    Column("log_level", String, nullable=False),
    Column("max_execution_seconds", Integer, nullable=False),
    Column("private", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("idempotency_key", String),
    Column("request_hash", String, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", Text),
    Column("reason_code", Integer),
    Column("reason_solution", Text),
    # The limit of QPU time that ended it: `models.UsedUpLimit`.
    Column("used_up_limit", JSON(none_as_null=True)),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("started_at", UtcTimestamp),
    Column("ended_at", UtcTimestamp),
    Column("usage_seconds", Float),
    Column("quantum_seconds", Float),
    Column("versions", JSON),
    # Only for a job whose program uses a quantum device: `jobs.HardwareRequest`. No credentials.
    Column("hardware", JSON(none_as_null=True)),
    # The settings of the simulation that were requested, and the methods that were used.
    Column("simulation", JSON(none_as_null=True)),
    Column("simulation_methods", JSON(none_as_null=True)),
    ForeignKeyConstraint(
        ["program_id", "program_version"],
        ["program_versions.program_id", "program_versions.version"],
    ),
    UniqueConstraint("owner", "instance", "idempotency_key", name="jobs_idempotency_key"),
    Index("jobs_by_state", "state", "number"),
    Index("jobs_by_owner", "owner", "instance", "number"),
    Index("jobs_by_program", "program_id"),
    Index("jobs_by_session", "session_id"),
    sqlite_autoincrement=True,
)

job_tags = Table(
    "job_tags",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("tag", String, nullable=False),
    Index("job_tags_by_tag", "tag"),
)

# Inputs and results have separate tables, so that listing jobs never reads them.
job_inputs = Table(
    "job_inputs",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("params", LargeBinary, nullable=False),
)

job_results = Table(
    "job_results",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    # The encoded result of a completed job, or the error's text of a failed one.
    Column("data", Text, nullable=False),
)

interim_results = Table(
    "interim_results",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("data", Text, nullable=False),
)

# The idempotency keys of deleted jobs: a repeated submission finds its key here.
deleted_keys = Table(
    "deleted_keys",
    metadata,
    Column("owner", String, primary_key=True),
    Column("instance", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("job_id", String, nullable=False),
    Column("request_hash", String, nullable=False),
    Column("deleted_at", UtcTimestamp, nullable=False),
    Index("deleted_keys_by_job", "job_id"),
    Index("deleted_keys_by_time", "deleted_at"),
)

# Values of the service itself, by name.
service_state = Table(
    "service_state",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", JSON, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("instance", String, nullable=False),
    Column("backend", String, nullable=False),
    Column("mode", String, nullable=False),
    Column("state", String, nullable=False),
    Column("accepting_jobs", Boolean, nullable=False),
    Column("max_ttl_seconds", Integer, nullable=False),
    Column("interactive_ttl_seconds", Integer, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("started_at", UtcTimestamp),
    Column("activated_at", UtcTimestamp),
    Column("closed_at", UtcTimestamp),
    Column("last_job_started_at", UtcTimestamp),
    Column("last_job_ended_at", UtcTimestamp),
    # Excludes the time since an active dedicated session became active.
    Column("used_seconds", Float, nullable=False),
    # Every change of state: pairs of state and time.
    Column("changes", JSON, nullable=False),
    Index("sessions_by_state", "state"),
    Index("sessions_by_owner", "owner", "instance", "created_at"),
)
