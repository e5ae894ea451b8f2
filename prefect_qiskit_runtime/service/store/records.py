"""Rows of the store as typed values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prefect_qiskit_runtime.models import JobStatus, SessionMode, SessionState


@dataclass(frozen=True)
class Owner:
    """Whose something is: a user within an instance. Nothing is seen across two of them."""

    user: str
    instance: str


PRIMITIVES_OWNER = Owner(user="", instance="primitives")
"""Owner of the programs `sampler` and `estimator`: no user's name is empty."""

PROGRAMS_OWNER = Owner(user="", instance="programs")
"""Owner of the public programs that every service has."""

SERVICE_OWNERS = (PRIMITIVES_OWNER, PROGRAMS_OWNER)


@dataclass(frozen=True)
class ProgramContent:
    """What one immutable version of a program consists of."""

    description: str
    cost: int
    spec: dict[str, Any]
    source: str
    content_hash: str


@dataclass(frozen=True)
class Program:
    """A program with its current version."""

    id: str
    owner: Owner
    name: str
    is_public: bool
    version: int
    created_at: datetime
    updated_at: datetime
    content: ProgramContent


@dataclass(frozen=True)
class NewJob:
    """A job about to be queued."""

    id: str
    owner: Owner
    program_id: str
    program_version: int
    backend: str
    image: str
    session_id: str | None
    log_level: str
    max_execution_seconds: int
    private: bool
    attempt: int
    idempotency_key: str | None
    request_hash: str
    tags: tuple[str, ...]
    params: bytes
    created_at: datetime
    hardware: dict[str, Any] | None = None


@dataclass(frozen=True)
class Job:
    """A job, without its inputs and results."""

    id: str
    owner: Owner
    program_id: str
    program_version: int
    backend: str
    image: str
    session_id: str | None
    log_level: str
    max_execution_seconds: int
    private: bool
    attempt: int
    idempotency_key: str | None
    request_hash: str
    state: JobStatus
    reason: str | None
    reason_code: int | None
    reason_solution: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    usage_seconds: float | None
    quantum_seconds: float | None
    versions: dict[str, str] | None
    interim_count: int
    tags: tuple[str, ...]
    hardware: dict[str, Any] | None = None


@dataclass(frozen=True)
class ClaimedJob:
    """A job that has just become Running, with all that is needed to run it."""

    job: Job
    source: str
    params: bytes


@dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    Attributes:
        reason_solution: What to do about it, in words.
        data: The encoded result, or the text of the error; None where there is neither.
        versions: The libraries that the job ran with, where it got so far.
    """

    state: JobStatus
    reason: str | None = None
    reason_code: int | None = None
    reason_solution: str | None = None
    data: str | None = None
    usage_seconds: float | None = None
    quantum_seconds: float | None = None
    versions: dict[str, str] | None = None


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a listing shows, and which part of it."""

    limit: int = 200
    offset: int = 0
    oldest_first: bool = False
    pending: bool | None = None
    program_id: str | None = None
    backend: str | None = None
    session_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    tags: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class InterimPage:
    """Some interim results of a job, in order, with the job as it was at that moment.

    Attributes:
        job: The job; None if there is no such job any more.
        results: Pairs of sequence number and encoded text.
        complete: Whether these were all that there were.
    """

    job: Job | None
    results: list[tuple[int, str]]
    complete: bool


@dataclass(frozen=True)
class NewSession:
    """A session about to be opened."""

    id: str
    owner: Owner
    backend: str
    mode: SessionMode
    max_ttl_seconds: int
    interactive_ttl_seconds: int
    created_at: datetime


@dataclass(frozen=True)
class Session:
    """A session or batch.

    Attributes:
        started_at: When its first job started.
        activated_at: When it last became active.
        used_seconds: Without the time since `activated_at` of a dedicated one that is active.
        changes: Each change of its state, with its time as ISO 8601.
    """

    id: str
    owner: Owner
    backend: str
    mode: SessionMode
    state: SessionState
    accepting_jobs: bool
    max_ttl_seconds: int
    interactive_ttl_seconds: int
    created_at: datetime
    started_at: datetime | None
    activated_at: datetime | None
    closed_at: datetime | None
    last_job_started_at: datetime | None
    last_job_ended_at: datetime | None
    used_seconds: float
    changes: tuple[tuple[str, str], ...]

    def used_until(self, now: datetime) -> float:
        """Return the seconds used so far: a dedicated session uses its slot while active."""
        holds_slot = self.mode == "dedicated" and self.state is SessionState.ACTIVE
        if not holds_slot or self.activated_at is None:
            return self.used_seconds
        return self.used_seconds + (now - self.activated_at).total_seconds()
