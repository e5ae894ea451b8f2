"""Rows of the store as typed values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prefect_qiskit_runtime.models import JobStatus, SessionMode, SessionState, UsedUpLimit


@dataclass(frozen=True)
class Owner:
    """The owner of an object: a user within an instance. Owners do not see each other's objects."""

    user: str
    instance: str


PRIMITIVES_OWNER = Owner(user="", instance="primitives")
"""Owner of the primitives; distinct from all users, whose names are never empty."""

PROGRAMS_OWNER = Owner(user="", instance="programs")
"""Owner of the public programs that are part of every service."""

SERVICE_OWNERS = (PRIMITIVES_OWNER, PROGRAMS_OWNER)


@dataclass(frozen=True)
class ProgramContent:
    """The content of one immutable version of a program."""

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
    """A job that is about to be queued."""

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
    simulation: dict[str, Any] | None = None


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
    limit: UsedUpLimit | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    usage_seconds: float | None
    quantum_seconds: float | None
    versions: dict[str, str] | None
    interim_count: int
    tags: tuple[str, ...]
    hardware: dict[str, Any] | None = None
    simulation: dict[str, Any] | None = None
    simulation_methods: list[str] | None = None


@dataclass(frozen=True)
class DeletedJob:
    """The remains of a deleted job: its id, and the request that its key belongs to."""

    id: str
    request_hash: str
    deleted_at: datetime


@dataclass(frozen=True)
class ClaimedJob:
    """A job that has just become Running, with everything needed to run it."""

    job: Job
    source: str
    params: bytes


@dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    Attributes:
        reason_solution: Advice in words.
        limit: The limit of QPU time that ended it, if one did.
        data: The encoded result, or the text of the error; None if there is neither.
        versions: Versions of the libraries that the job ran with, if it started.
        simulation_methods: Methods by which its primitives simulated circuits.
    """

    state: JobStatus
    reason: str | None = None
    reason_code: int | None = None
    reason_solution: str | None = None
    limit: UsedUpLimit | None = None
    data: str | None = None
    usage_seconds: float | None = None
    quantum_seconds: float | None = None
    versions: dict[str, str] | None = None
    simulation_methods: list[str] | None = None


@dataclass(frozen=True)
class JobFilter:
    """The filter and the page of a listing of jobs."""

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
    """A page of a job's interim results, in order, with the job at that moment.

    Attributes:
        job: The job; None if it no longer exists.
        results: Pairs of sequence number and encoded text; None for a text that is too large.
        complete: Whether no further results were stored.
    """

    job: Job | None
    results: list[tuple[int, str | None]]
    complete: bool


@dataclass(frozen=True)
class NewSession:
    """A session that is about to be opened."""

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
        used_seconds: Seconds used, except the time since `activated_at` of an active dedicated
            session.
        changes: Every change of state, with its time as ISO 8601.
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
        """Return the seconds used so far; a dedicated session uses its slot while it is active."""
        holds_slot = self.mode == "dedicated" and self.state is SessionState.ACTIVE
        if not holds_slot or self.activated_at is None:
            return self.used_seconds
        return self.used_seconds + (now - self.activated_at).total_seconds()
