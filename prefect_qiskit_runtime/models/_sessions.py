"""Sessions and batches."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from prefect_qiskit_runtime.models._wire import Wire

SessionMode = Literal["dedicated", "batch"]
"""A dedicated session holds a slot of the service for its jobs; a batch only groups jobs."""


class SessionState(StrEnum):
    """States of a session, in IBM's words.

    It is open until its first job starts. After that it is active, or inactive while it has
    had nothing to do for a time, until it is closed for good.
    """

    OPEN = "open"
    ACTIVE = "active"
    INACTIVE = "inactive"
    CLOSED = "closed"


class SessionInfo(Wire):
    """A session or batch as the service shows it, under IBM's names.

    Attributes:
        mode: "dedicated" or "batch".
        max_ttl: Seconds after its first job's start at which it closes.
        interactive_ttl: Seconds without a job after which it becomes inactive.
        active_ttl: Seconds for which it can be active at most.
        started_at: When its first job started.
        activated_at: When it last became active.
        elapsed_time: Seconds used: of a dedicated session those in which it held its slot, of
            a batch those that its ended jobs ran.
        timestamps: Each change of its state, as `{"status", "timestamp"}`.
    """

    id: str
    backend_name: str
    mode: SessionMode
    state: SessionState
    accepting_jobs: bool
    max_ttl: int | None = None
    interactive_ttl: int | None = None
    active_ttl: int | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    activated_at: datetime | None = None
    closed_at: datetime | None = None
    last_job_started: datetime | None = None
    last_job_completed: datetime | None = None
    elapsed_time: float | None = None
    timestamps: list[dict[str, Any]] = Field(default_factory=list)
