"""Jobs: their states, the service's view of them, and their streams."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import AliasChoices, Field

from prefect_qiskit_runtime.models._wire import Wire


class ReasonCode:
    """Codes for why a job ended. Four-digit codes are IBM's, five-digit codes are ours."""

    RAN_TOO_LONG = 1305
    INTERRUPTED = 1500
    PROGRAM_RAISED = 90001
    PROGRAM_EXITED = 90002
    KILLED_BY_SIGNAL = 90003
    MEMORY_LIMIT = 90004
    START_FAILED = 90005
    RESULT_NOT_ENCODABLE = 90006
    SESSION_CLOSED = 90007
    CREDENTIALS_MISSING = 90008
    HARDWARE_BUDGET = 90009
    MESSAGE_LIMIT = 90010


class JobStatus(StrEnum):
    """States of a job, in order. A job ends in one of the last three.

    Qiskit's names are aliases: `JobStatus.DONE is JobStatus.COMPLETED`.
    """

    QUEUED = "Queued"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    INITIALIZING = "Queued"  # no service has an earlier state
    DONE = "Completed"
    ERROR = "Failed"

    @property
    def qiskit_name(self) -> str:
        """Qiskit's name for the state: QUEUED, RUNNING, DONE, ERROR or CANCELLED."""
        return {"COMPLETED": "DONE", "FAILED": "ERROR"}.get(self.name, self.name)

    @classmethod
    def _missing_(cls, value: object) -> JobStatus | None:
        # Older and newer services differ in upper and lower case.
        return next((one for one in cls if one.value.lower() == str(value).lower()), None)

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class JobState(Wire):
    """A job's state, why it ended, and what to do about it."""

    status: JobStatus
    reason: str | None = None
    reason_code: int | None = Field(
        default=None, validation_alias=AliasChoices("reason_code", "reasonCode")
    )
    reason_solution: str | None = None

    @property
    def ran_too_long(self) -> bool:
        """Whether the service ended the job because of its time limit."""
        # Older services report this as text only, without a code.
        return self.reason_code == ReasonCode.RAN_TOO_LONG or (
            self.reason_code is None and "ran too long" in (self.reason or "").lower()
        )


class JobProgram(Wire):
    """The program, and its version, that a job runs."""

    id: str
    version: int | None = None


class JobInfo(Wire):
    """The service's view of a job, without its inputs.

    Attributes:
        runtime: The image: the Python environment that the job runs in.
        cost: The job's max_execution_time in seconds.
        attempt: Number of this attempt at its evaluation, from 1.
        idempotency_key: The key of the submission, if the service supports keys.
        usage: As in `JobMetrics`; None if the service reports it only there.
        versions: As in `JobMetrics`; None if reported only there, or before the job has ended.
        interim_count: Number of interim results published so far.
        estimated_running_time_seconds: The service's estimate of the longest running time.
    """

    id: str
    backend: str
    state: JobState
    program: JobProgram
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    tags: list[str] = Field(default_factory=list)
    runtime: str | None = None
    cost: int | None = None
    session_id: str | None = None
    private: bool = False
    attempt: int = 1
    idempotency_key: str | None = None
    usage: dict[str, float] | None = None
    versions: dict[str, str] | None = None
    interim_count: int = 0
    estimated_running_time_seconds: float | None = None


class JobSubmitted(Wire):
    """Answer to a submission.

    Attributes:
        created: When the job was created; None if the service does not report it.
        runtime: The image that the job runs in; None if not reported.
        session_id: The session that the job belongs to, if any.
        tags: The job's tags; None if not reported.
        messages: Warnings from the service, each `{"data": text}`.
        replayed: Whether the service already knew the idempotency key, so that this is the job
            of the first submission. The client reads it from the header `Idempotent-Replayed`.
    """

    id: str
    backend: str
    created: datetime | None = None
    runtime: str | None = None
    session_id: str | None = None
    tags: list[str] | None = None
    messages: list[dict[str, Any]] = Field(default_factory=list)
    replayed: bool = Field(default=False, exclude=True)


class JobMetrics(Wire):
    """Times and usage of a job.

    Attributes:
        timestamps: `created`, `running`, `finished` as ISO 8601 UTC, or None.
        usage: `seconds` (wall-clock time while running) and `quantum_seconds` (device time;
            0 on a simulator).
    """

    timestamps: dict[str, datetime | None] = Field(default_factory=dict)
    usage: dict[str, float] = Field(default_factory=dict)
    qiskit_version: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)


class InterimEvent(Wire):
    """One interim result in the stream; `data` is its encoded text."""

    type: Literal["interim"] = "interim"
    seq: int
    data: str


class StatusEvent(Wire):
    """The job moved to another state."""

    type: Literal["status"] = "status"
    status: JobStatus


class EndEvent(Wire):
    """The job has ended in `state`. This is the last event."""

    type: Literal["end"] = "end"
    state: JobState
    interim_count: int = 0


class Heartbeat(Wire):
    """Nothing has happened, but the connection is alive."""

    type: Literal["heartbeat"] = "heartbeat"


StreamEvent = InterimEvent | StatusEvent | EndEvent | Heartbeat
